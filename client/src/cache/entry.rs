//! What is kept of one image of one origin.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use formats::digest::FileDigest;
use formats::image::ImageId;
use formats::index::BuildName;
use formats::time::Timestamp;
use fs_err as fs;
use serde::{Deserialize, Serialize, de};

use super::CacheError;
use crate::files::{self, Lock, Owner};

/// The directory of one image of one origin.
#[derive(Debug)]
pub struct Entry {
    directory: PathBuf,
    owner: Owner,
    /// Where the address of the server is written down, and what it is.
    server: Option<(PathBuf, String)>,
}

/// Which build of an image is current.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CurrentBuild {
    /// The image.
    pub image: ImageId,
    /// What else it is called, so that it is found by these names without the server.
    pub aliases: Vec<String>,
    /// The build.
    #[serde(serialize_with = "write_build", deserialize_with = "read_build")]
    pub build: BuildName,
    /// Until when nobody needs to ask the server for a newer one.
    pub fresh_until: Timestamp,
}

/// What one build consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CachedBuild {
    /// The image.
    pub image: ImageId,
    /// What else the image was called when this build was fetched, so that a pinned build is found by these names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// The build.
    #[serde(serialize_with = "write_build", deserialize_with = "read_build")]
    pub build: BuildName,
    /// When it was fetched.
    pub fetched: Timestamp,
    /// The root file system.
    pub rootfs: FileDigest,
    /// The LXC metadata.
    pub metadata: FileDigest,
    /// The tar archive in the root file system: as the server says, or as it was found by decoding. It is in the cache
    /// once somebody has decoded it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tar: Option<FileDigest>,
}

/// For people: `9f2c41d0a7be  debian/trixie/amd64/default  20261123_0522`.
impl fmt::Display for CachedBuild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}  {}", self.rootfs.sha256.short(), self.image, self.build.as_str())
    }
}

impl Entry {
    pub(super) fn at(directory: PathBuf, owner: Owner) -> Self {
        Self { directory, owner, server: None }
    }

    /// The same entry, which tells what server it is of.
    pub(super) fn of_server(self, server: (PathBuf, String)) -> Self {
        Self { server: Some(server), ..self }
    }

    /// Keeps other processes from fetching this image. `waiting` is called when one does.
    pub fn lock(&self, waiting: impl FnOnce()) -> Result<Lock, CacheError> {
        files::make_directories(&self.builds(), self.owner).map_err(self.failed())?;
        if let Some((path, address)) = &self.server
            && !path.exists()
        {
            files::write_whole(path, format!("{address}\n").as_bytes(), 0o644, self.owner).map_err(self.failed())?;
        }
        Lock::exclusive(&self.directory.join("lock"), self.owner, waiting).map_err(self.failed())
    }

    /// Which build is current. What cannot be read is not there: a cache can be filled again.
    pub fn current(&self) -> Option<CurrentBuild> {
        read(&self.directory.join(CURRENT))
    }

    /// What a build consists of, if it is cached.
    pub fn build(&self, name: &BuildName) -> Option<CachedBuild> {
        let build: CachedBuild = read(&self.build_path(name))?;
        (build.build == *name).then_some(build)
    }

    /// Every build that is cached.
    pub fn all(&self) -> Vec<CachedBuild> {
        let Ok(entries) = fs::read_dir(self.builds()) else { return Vec::new() };
        let build = |path: PathBuf| read(&path).filter(|build: &CachedBuild| self.build_path(&build.build) == path);
        entries.filter_map(|entry| build(entry.ok()?.path())).collect()
    }

    /// Stores what a build consists of. Its files are in the cache already.
    pub fn store(&self, build: &CachedBuild) -> Result<(), CacheError> {
        self.write(&self.build_path(&build.build), build)
    }

    /// Makes a stored build the current one.
    pub fn set_current(&self, current: &CurrentBuild) -> Result<(), CacheError> {
        self.write(&self.directory.join(CURRENT), current)
    }

    /// Forgets every build; their files stay until the cache is pruned.
    pub fn flush(&self) -> Result<(), CacheError> {
        files::remove_if_there(&self.directory.join(CURRENT)).map_err(self.failed())?;
        for build in self.all() {
            self.forget(&build.build)?;
        }
        Ok(())
    }

    /// Forgets one build.
    pub fn forget(&self, name: &BuildName) -> Result<(), CacheError> {
        files::remove_if_there(&self.build_path(name)).map_err(self.failed())
    }

    /// Where killed processes may have left files that they did not get to rename.
    pub(super) fn directories(&self) -> [PathBuf; 2] {
        [self.directory.clone(), self.builds()]
    }

    fn write(&self, path: &Path, value: &impl Serialize) -> Result<(), CacheError> {
        let json = serde_json::to_vec_pretty(value).map_err(io::Error::from).map_err(self.failed())?;
        files::write_whole(path, &json, 0o644, self.owner).map_err(self.failed())
    }

    fn builds(&self) -> PathBuf {
        self.directory.join("builds")
    }

    fn build_path(&self, name: &BuildName) -> PathBuf {
        self.builds().join(format!("{}.json", name.as_str()))
    }

    fn failed(&self) -> impl Fn(io::Error) -> CacheError {
        let path = self.directory.clone();
        move |source| CacheError::Storage { path: path.clone(), source }
    }
}

/// The entries below a directory, four levels deep as an image id is.
pub(super) fn below(directory: &Path, owner: Owner) -> Result<Vec<Entry>, CacheError> {
    let mut level = vec![directory.to_owned()];
    for _ in 0..4 {
        let mut next = Vec::new();
        for directory in level {
            next.extend(subdirectories(&directory).map_err(|source| CacheError::Storage { path: directory, source })?);
        }
        level = next;
    }
    level.sort();
    Ok(level.into_iter().map(|directory| Entry::at(directory, owner)).collect())
}

pub(super) fn subdirectories(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn read<T: de::DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&files::read_if_there(path).ok()??).ok()
}

fn write_build<S: serde::Serializer>(name: &BuildName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(name.as_str())
}

fn read_build<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<BuildName, D::Error> {
    let text = String::deserialize(deserializer)?;
    BuildName::new(&text).ok_or_else(|| de::Error::custom("not the name of a build"))
}

const CURRENT: &str = "current.json";

#[cfg(test)]
mod tests {
    use super::*;

    fn build(name: &str) -> CachedBuild {
        CachedBuild {
            image: "debian/bookworm/amd64/default".parse().unwrap(),
            aliases: vec![],
            build: BuildName::new(name).unwrap(),
            fetched: Timestamp::from_unix(0),
            rootfs: FileDigest::of(b"rootfs"),
            metadata: FileDigest::of(b"metadata"),
            tar: None,
        }
    }

    #[test]
    fn builds_are_kept_until_they_are_flushed() {
        let directory = tempfile::tempdir().unwrap();
        let entry = Entry::at(directory.path().join("a/b"), Owner::SELF);
        let _lock = entry.lock(|| ()).unwrap();
        let (one, other) = (build("20261123_0522"), build("20261124_07:42"));
        entry.store(&one).unwrap();
        entry.store(&other).unwrap();
        assert_eq!(entry.build(&other.build), Some(other));
        assert_eq!(entry.all().len(), 2);
        entry.flush().unwrap();
        assert_eq!((entry.all().len(), entry.current()), (0, None));
    }

    #[test]
    fn a_damaged_pointer_is_no_pointer() {
        let directory = tempfile::tempdir().unwrap();
        let entry = Entry::at(directory.path().to_owned(), Owner::SELF);
        let _lock = entry.lock(|| ()).unwrap();
        for damaged in ["", "{", "null", r#"{"image": "../../etc"}"#] {
            std::fs::write(directory.path().join(CURRENT), damaged).unwrap();
            assert_eq!(entry.current(), None, "{damaged}");
        }
    }

    #[test]
    fn a_build_under_a_foreign_name_is_not_taken_for_another() {
        let directory = tempfile::tempdir().unwrap();
        let entry = Entry::at(directory.path().to_owned(), Owner::SELF);
        let _lock = entry.lock(|| ()).unwrap();
        entry.store(&build("1")).unwrap();
        std::fs::rename(directory.path().join("builds/1.json"), directory.path().join("builds/2.json")).unwrap();
        assert_eq!(entry.build(&BuildName::new("2").unwrap()), None);
    }
}
