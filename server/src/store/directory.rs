//! Builds in a directory of this machine, each in the directory it is served from.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use formats::image::ImageId;
use formats::layout;
use fs_err as fs;
use rustix::fs::{CWD, Mode, OFlags, RenameFlags, open, renameat_with};

use super::backend::{Backend, Opened};
use super::id::BuildId;
use crate::files;

/// The default backend: `images/<distribution>/<release>/<arch>/<variant>/<serial>/…` below the top.
#[derive(Debug)]
pub(crate) struct Directory {
    top: PathBuf,
}

impl Directory {
    pub(crate) fn new(top: &Path) -> Self {
        Self { top: top.to_path_buf() }
    }

    fn directory(&self, build: &BuildId) -> PathBuf {
        self.top.join(layout::build_dir(&build.image, &build.serial))
    }

    fn images(&self) -> PathBuf {
        self.top.join("images")
    }
}

impl Backend for Directory {
    fn builds(&self) -> io::Result<Vec<BuildId>> {
        let mut paths = vec![String::new()];
        for _ in 0..LEVELS {
            let mut deeper = Vec::new();
            for path in paths {
                for name in names(&self.images().join(&path), Kind::Directory)? {
                    deeper.push(if path.is_empty() { name } else { format!("{path}/{name}") });
                }
            }
            paths = deeper;
        }
        Ok(paths.iter().filter_map(|path| BuildId::from_path(path)).collect())
    }

    fn builds_of(&self, image: &ImageId) -> io::Result<Vec<BuildId>> {
        let directory = self.images().join(image.to_string());
        if !directory.is_dir() {
            return Ok(Vec::new());
        }
        let serials = names(&directory, Kind::Directory)?.into_iter().filter_map(|name| name.parse().ok());
        Ok(serials.map(|serial| BuildId { image: image.clone(), serial }).collect())
    }

    fn names(&self, build: &BuildId) -> io::Result<Vec<String>> {
        names(&self.directory(build), Kind::File)
    }

    fn read(&self, build: &BuildId, name: &str, limit_bytes: u64) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        match fs::File::open(self.directory(build).join(name)) {
            Ok(file) => file.take(limit_bytes + 1).read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(bytes))
    }

    fn open(&self, build: &BuildId, name: &str) -> io::Result<Option<Opened>> {
        let path = self.directory(build).join(name);
        let file = match open(&path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
            Ok(file) => std::fs::File::from(file),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let metadata = file.metadata()?;
        Ok(Some(Opened::File { size_bytes: metadata.len(), modified: metadata.modified()?, file }))
    }

    fn path(&self, build: &BuildId, name: &str) -> Option<PathBuf> {
        Some(self.directory(build).join(name))
    }

    fn place(&self, build: &BuildId, staged: PathBuf) -> io::Result<()> {
        let place = self.directory(build);
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent)?;
        }
        renameat_with(CWD, &staged, CWD, &place, RenameFlags::NOREPLACE)?;
        let parents = place.ancestors().skip(1).take_while(|parent| parent.starts_with(self.images()));
        parents.into_iter().try_for_each(files::sync_directory)
    }

    fn add(&self, build: &BuildId, name: &str, made: &Path) -> io::Result<()> {
        let place = self.directory(build).join(name);
        fs::rename(made, &place)?;
        files::sync_parent(&place)
    }

    fn discard(&self, build: &BuildId, name: &str) -> io::Result<()> {
        match fs::remove_file(self.directory(build).join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// It is moved aside by one rename and then removed.
    fn remove(&self, build: &BuildId, staging: &Path) -> io::Result<()> {
        let place = self.directory(build);
        let aside = tempfile::Builder::new().prefix("removed-").tempdir_in(staging)?;
        fs::rename(&place, aside.path().join("build"))?;
        files::sync_parent(&place)?;
        for parent in place.ancestors().skip(1).take_while(|parent| *parent != self.images()) {
            // It fails where another build or image is, and that is right.
            if fs::remove_dir(parent).is_err() {
                break;
            }
        }
        aside.close()
    }

    fn set_aside(&self, build: &BuildId, quarantine: &Path) -> io::Result<Option<String>> {
        let place = self.directory(build);
        let parent = quarantine.join(build.image.to_string());
        fs::create_dir_all(&parent)?;
        let numbered = |number: u32| {
            let suffix = if number == 1 { String::new() } else { format!(".{number}") };
            parent.join(format!("{}{suffix}", build.serial))
        };
        let Some(aside) = (1..super::MOST_COPIES).map(numbered).find(|aside| !aside.exists()) else {
            let reason = format!("`{}` holds too many copies of one build", parent.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, reason));
        };
        match fs::rename(&place, &aside) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
        files::sync_parent(&place)?;
        files::sync_parent(&aside)?;
        Ok(Some(aside.display().to_string()))
    }

    /// A build comes by one rename, so nothing is ever left of half a one. A directory without a record is a damaged
    /// build, and `verify` deals with it.
    fn sweep(&self) -> io::Result<usize> {
        Ok(0)
    }
}

/// Distribution, release, architecture, variant, serial.
const LEVELS: usize = 5;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Directory,
    File,
}

fn names(directory: &Path, kind: Kind) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() == (kind == Kind::Directory) {
            names.extend(entry.file_name().into_string());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::super::RECORD;
    use super::*;

    #[test]
    fn only_directories_named_like_a_build_are_builds() {
        let top = tempfile::tempdir().unwrap();
        for path in [
            "debian/trixie/amd64/default/20261123_0522",
            "debian/trixie/amd64/default/lost+found",
            "debian/trixie/x86_64/default/20261123_0522",
            "debian/trixie/amd64/.hidden/20261123_0522",
        ] {
            fs::create_dir_all(top.path().join("images").join(path)).unwrap();
        }
        fs::write(top.path().join("images/README"), "").unwrap();
        let builds = Directory::new(top.path()).builds().unwrap();
        let builds: Vec<_> = builds.iter().map(ToString::to_string).collect();
        assert_eq!(builds, ["debian/trixie/amd64/default@20261123_0522"]);
    }

    #[test]
    fn a_build_that_is_there_is_not_replaced() {
        let top = tempfile::tempdir().unwrap();
        let directory = Directory::new(top.path());
        let build: BuildId = "debian/trixie/amd64/default@20261123_0522".parse().unwrap();
        for (content, is_new) in [("first", true), ("second", false)] {
            let staged = top.path().join(content);
            fs::create_dir(&staged).unwrap();
            fs::write(staged.join(RECORD), content).unwrap();
            assert_eq!(directory.place(&build, staged).is_ok(), is_new);
        }
        assert_eq!(directory.read(&build, RECORD, 10).unwrap().unwrap(), b"first");
    }
}
