//! A generation that is being made.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use formats::time::Timestamp;
use fs_err as fs;
use tempfile::TempDir;

use super::{Generation, name_of, remove_after_current};
use crate::checkpoint::checkpoint;
use crate::data::Writer;
use crate::documents::{Content, Documents, is_products};
use crate::files;

/// The documents of the next generation, in the staging directory until they are complete.
#[derive(Debug)]
pub struct Draft<'a> {
    writer: &'a Writer,
    previous: Option<&'a Generation>,
    staged: TempDir,
    /// What is not durable yet: files whose bytes are new.
    written: Vec<PathBuf>,
    directories: BTreeSet<PathBuf>,
}

impl<'a> Draft<'a> {
    /// A generation after `previous`, without any document yet.
    pub fn begin(writer: &'a Writer, previous: Option<&'a Generation>) -> io::Result<Self> {
        remove_after_current(writer)?;
        let staged = tempfile::Builder::new().prefix("generation-").tempdir_in(writer.staging())?;
        let directories = BTreeSet::from([staged.path().to_path_buf()]);
        Ok(Self { writer, previous, staged, written: Vec::new(), directories })
    }

    /// Adds documents.
    pub fn add(&mut self, documents: Documents) -> io::Result<()> {
        for (path, content) in documents {
            let place = self.place(&path)?;
            match content {
                Content::New(bytes) => {
                    fs::write(&place, bytes)?;
                    self.written.push(place);
                }
                Content::Same(other) => self.link(&self.staged.path().join(other), place)?,
                Content::Kept => {
                    let from = self.previous.map(|previous| previous.path.join(&path));
                    self.link(&from.ok_or(io::ErrorKind::NotFound)?, place)?;
                }
            }
        }
        Ok(())
    }

    /// Adds the products files of the generation before that are not among these: those its index named, and those that
    /// an index named within the last day, because a client may have read that index and not yet asked for them.
    pub fn keep_dropped(&mut self, now: Timestamp) -> io::Result<()> {
        let Some(previous) = self.previous else { return Ok(()) };
        let old = previous.files()?;
        let listed: BTreeMap<String, Vec<String>> = previous.images(&old)?;
        let listed: BTreeSet<&String> = listed.values().flatten().collect();
        for path in old.keys().filter(|path| is_products(path)) {
            if self.staged.path().join(path).exists() {
                continue;
            }
            let from = previous.path.join(path);
            if listed.contains(path) {
                // A copy has its own time of modification: that of being dropped.
                let place = self.place(path)?;
                fs::copy(&from, &place)?;
                fs::OpenOptions::new().write(true).open(&place)?.set_modified(std::time::SystemTime::now())?;
                self.written.push(place);
            } else if now.unix() - Timestamp::from(fs::metadata(&from)?.modified()?).unix() < KEPT_SECONDS {
                let place = self.place(path)?;
                self.link(&from, place)?;
            }
        }
        Ok(())
    }

    /// Makes these documents durable and then the current generation, by one rename. Killed at any point, it leaves the
    /// old generation or the new one.
    pub fn publish(self, serial: u64) -> io::Result<Generation> {
        let writer = self.writer;
        let this = Generation { path: writer.generations().join(name_of(serial)), serial };
        for directory in &self.directories {
            fs::set_permissions(directory, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        }
        files::sync_all(&self.written.into_iter().chain(self.directories).collect::<Vec<_>>())?;
        checkpoint("publish:written");
        fs::rename(self.staged.keep(), &this.path)?;
        files::sync_parent(&this.path)?;
        checkpoint("publish:before-flip");
        let link = writer.staging().join("current");
        fs_err::os::unix::fs::symlink(Path::new("generations").join(name_of(serial)), &link)?;
        fs::rename(link, writer.current())?;
        files::sync_parent(&writer.current())?;
        checkpoint("publish:flipped");
        Ok(this)
    }

    /// Where a document goes; its directory is made.
    fn place(&mut self, path: &str) -> io::Result<PathBuf> {
        let place = self.staged.path().join(path);
        if let Some(parent) = place.parent()
            && !self.directories.contains(parent)
        {
            fs::create_dir_all(parent)?;
            let top = self.staged.path();
            self.directories.extend(parent.ancestors().take_while(|path| *path != top).map(Path::to_path_buf));
        }
        Ok(place)
    }

    /// One more name for a file, or a copy on a file system that has no links.
    fn link(&mut self, from: &Path, place: PathBuf) -> io::Result<()> {
        match fs::hard_link(from, &place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                fs::copy(from, &place)?;
                self.written.push(place);
                Ok(())
            }
            result => result,
        }
    }
}

const KEPT_SECONDS: i64 = 86_400;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use terminal::Printer;

    use super::*;
    use crate::data::DataDir;

    fn new(path: &str, text: &str) -> (String, Content) {
        (path.to_owned(), Content::New(text.as_bytes().to_vec()))
    }

    #[test]
    fn documents_with_the_same_bytes_are_one_file_and_so_are_those_that_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::open(directory.path()).unwrap();
        let writer = data.write(&Printer::captured(true).0).unwrap();
        let products = "streams/v1/debian.0123456789abcdef.json";
        let mut first = Draft::begin(&writer, None).unwrap();
        let again = ("meta/1.0/index-user.7".to_owned(), Content::Same("meta/1.0/index-user".to_owned()));
        first.add(vec![new("meta/1.0/index-user", "1"), again, new(products, "{}")]).unwrap();
        let first = first.publish(1).unwrap();
        let files = first.files().unwrap();
        assert_eq!(files["meta/1.0/index-user"], files["meta/1.0/index-user.7"]);
        let mut second = Draft::begin(&writer, Some(&first)).unwrap();
        second.add(vec![new("meta/1.0/index-user", "2"), (products.to_owned(), Content::Kept)]).unwrap();
        let second = second.publish(2).unwrap();
        assert_eq!(second.files().unwrap()[products], files[products]);
        assert_eq!(first.read("meta/1.0/index-user").unwrap(), b"1");
        assert_eq!(fs::metadata(second.path().join(products)).unwrap().nlink(), 2);
        let mut third = Draft::begin(&writer, Some(&second)).unwrap();
        assert!(third.add(vec![("meta/none".to_owned(), Content::Kept)]).is_err());
    }
}
