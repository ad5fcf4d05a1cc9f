//! Generations on disk.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use formats::layout;
use formats::streams::StreamsIndex;
use formats::time::Timestamp;
use fs_err as fs;

use crate::checkpoint::checkpoint;
use crate::data::{DataDir, Writer};
use crate::documents::{Documents, Edition, is_products};
use crate::files;

/// One generation: all documents, made together and visible together. Its directory is named by its repository serial
/// and never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    path: PathBuf,
    /// Its repository serial.
    pub serial: u64,
}

impl Generation {
    /// The generation the link `current` points to, if there is one.
    pub fn current(data: &DataDir) -> io::Result<Option<Self>> {
        let target = match fs::read_link(data.current()) {
            Ok(target) => target,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let name = target.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        let Some(serial) = name else {
            let reason = format!("`{}` points to no generation", data.current().display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        };
        Ok(Some(Self { path: data.generations().join(name_of(serial)), serial }))
    }

    /// Puts the documents of a generation on disk and makes it the current one, by one rename. Killed at any point, it
    /// leaves the old generation or the new one.
    pub fn publish(writer: &Writer, serial: u64, documents: &Documents, kept: &[KeptFile]) -> io::Result<Self> {
        let this = Self { path: writer.generations().join(name_of(serial)), serial };
        remove_after_current(writer)?;
        let staged = tempfile::Builder::new().prefix("generation-").tempdir_in(writer.staging())?;
        let mut directories = BTreeSet::from([staged.path().to_path_buf()]);
        let mut place = |path: &str| -> io::Result<PathBuf> {
            let place = staged.path().join(path);
            if let Some(parent) = place.parent() {
                fs::create_dir_all(parent)?;
                directories.extend(parent.ancestors().take_while(|path| *path != staged.path()).map(Path::to_path_buf));
            }
            Ok(place)
        };
        for (path, content) in documents {
            let mut file = fs::File::create(place(path)?)?;
            io::Write::write_all(&mut file, content)?;
            file.sync_all()?;
        }
        for file in kept {
            file.keep(&place(&file.path)?)?;
        }
        for directory in &directories {
            fs::set_permissions(directory, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
            files::sync_directory(directory)?;
        }
        checkpoint("publish:written");
        fs::rename(staged.keep(), &this.path)?;
        files::sync_parent(&this.path)?;
        checkpoint("publish:before-flip");
        let link = writer.staging().join("current");
        fs_err::os::unix::fs::symlink(Path::new("generations").join(name_of(serial)), &link)?;
        fs::rename(link, writer.current())?;
        files::sync_parent(&writer.current())?;
        checkpoint("publish:flipped");
        Ok(this)
    }

    /// Removes generations that are older than the current one, but for the newest few.
    pub fn remove_old(writer: &Writer) -> io::Result<()> {
        let Some(current) = Self::current(writer)? else { return Ok(()) };
        let older: Vec<u64> = serials(writer)?.into_iter().filter(|serial| *serial < current.serial).collect();
        for serial in older.iter().rev().skip(KEPT_GENERATIONS) {
            remove(writer, *serial)?;
        }
        Ok(())
    }

    /// The directory of the documents.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The streams index of channel `stable`, which says when this generation was published.
    pub fn streams_index(&self) -> io::Result<StreamsIndex> {
        let json = fs::read(self.path.join(layout::STREAMS_INDEX))?;
        serde_json::from_slice(&json).map_err(|error| {
            let reason = format!("`{}` is damaged: {error}", self.path.join(layout::STREAMS_INDEX).display());
            io::Error::new(io::ErrorKind::InvalidData, reason)
        })
    }

    /// When it was published and when its validity ends.
    pub fn edition(&self) -> io::Result<Edition> {
        let index = self.streams_index()?;
        Ok(Edition { serial: self.serial, published: index.published, expires: index.expires })
    }

    /// Every document by its path.
    pub fn documents(&self) -> io::Result<Documents> {
        let (mut documents, mut directories) = (Documents::new(), vec![String::new()]);
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(self.path.join(&directory))? {
                let entry = entry?;
                let Ok(name) = entry.file_name().into_string() else { continue };
                let path = if directory.is_empty() { name } else { format!("{directory}/{name}") };
                if entry.file_type()?.is_dir() {
                    directories.push(path);
                } else {
                    documents.insert(path, fs::read(entry.path())?);
                }
            }
        }
        Ok(documents)
    }
}

impl Edition {
    /// Whether a quarter of the validity has passed, after which a server signs afresh. A clock that was set back makes
    /// nothing due.
    pub fn is_due(self, now: Timestamp) -> bool {
        let quarter = (self.expires.unix() - self.published.unix()) / 4;
        now.unix() - self.published.unix() >= quarter.max(1)
    }
}

/// A products file of an earlier generation that is kept in the next one, because a client may have read an index that
/// names it and not yet asked for it.
#[derive(Clone, Debug)]
pub struct KeptFile {
    /// Its path from the top of the repository.
    path: String,
    from: PathBuf,
    /// No index names it any longer, since now or since its time of modification.
    dropped: Dropped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dropped {
    Now,
    Before,
}

impl KeptFile {
    /// The products files of `previous` that are not among `documents`: those its index named, and those that an
    /// index named within the last day.
    pub fn of(previous: &Generation, documents: &Documents, now: Timestamp) -> io::Result<Vec<Self>> {
        let mut kept = Vec::new();
        let old = previous.documents()?;
        let indexes: Vec<&[u8]> =
            old.iter().filter(|(path, _)| path.ends_with(layout::STREAMS_INDEX)).map(|(_, json)| &**json).collect();
        for path in old.keys().filter(|path| is_products(path) && !documents.contains_key(*path)) {
            let from = previous.path.join(path);
            let name = path.rsplit('/').next().unwrap_or(path).as_bytes();
            let is_listed = indexes.iter().any(|index| index.windows(name.len()).any(|window| window == name));
            let since = Timestamp::from(fs::metadata(&from)?.modified()?);
            if is_listed {
                kept.push(Self { path: path.clone(), from, dropped: Dropped::Now });
            } else if now.unix() - since.unix() < KEPT_SECONDS {
                kept.push(Self { path: path.clone(), from, dropped: Dropped::Before });
            }
        }
        Ok(kept)
    }

    fn keep(&self, place: &Path) -> io::Result<()> {
        match self.dropped {
            // A copy has its own time of modification: that of being dropped.
            Dropped::Now => {
                fs::copy(&self.from, place)?;
                let file = fs::OpenOptions::new().write(true).open(place)?;
                file.set_modified(std::time::SystemTime::now())?;
                file.sync_all()
            }
            Dropped::Before => fs::hard_link(&self.from, place),
        }
    }
}

/// A generation newer than the current one was never visible: its publisher was killed before the flip.
fn remove_after_current(writer: &Writer) -> io::Result<()> {
    let current = Generation::current(writer)?.map_or(0, |current| current.serial);
    serials(writer)?.into_iter().filter(|serial| *serial > current).try_for_each(|serial| remove(writer, serial))
}

/// Moves it aside first, so that a half-removed generation is never found under its name.
fn remove(writer: &Writer, serial: u64) -> io::Result<()> {
    let name = name_of(serial);
    let aside = writer.staging().join(&name);
    fs::rename(writer.generations().join(name), &aside)?;
    fs::remove_dir_all(aside)
}

fn serials(data: &DataDir) -> io::Result<BTreeSet<u64>> {
    let mut serials = BTreeSet::new();
    for entry in fs::read_dir(data.generations())? {
        serials.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u64>().ok()));
    }
    Ok(serials)
}

/// Of equal length, so that a listing by name is one by age.
fn name_of(serial: u64) -> String {
    format!("{serial:010}")
}

const KEPT_GENERATIONS: usize = 3;
const KEPT_SECONDS: i64 = 86_400;

#[cfg(test)]
mod tests {
    use terminal::Printer;

    use super::*;

    fn documents(text: &str) -> Documents {
        Documents::from([("meta/1.0/index-user".to_owned(), text.as_bytes().to_vec())])
    }

    #[test]
    fn the_current_generation_is_the_last_published_and_a_few_older_ones_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::open(directory.path()).unwrap();
        assert_eq!(Generation::current(&data).unwrap(), None);
        let writer = data.write(&Printer::captured(true).0).unwrap();
        for serial in 1..=6 {
            Generation::publish(&writer, serial, &documents(&serial.to_string()), &[]).unwrap();
            Generation::remove_old(&writer).unwrap();
        }
        let current = Generation::current(&data).unwrap().unwrap();
        assert_eq!(current.documents().unwrap(), documents("6"));
        assert_eq!(serials(&data).unwrap(), BTreeSet::from([3, 4, 5, 6]));
        assert_eq!(fs::read_dir(data.staging()).unwrap().count(), 0);
    }

    #[test]
    fn a_generation_that_was_never_current_is_removed_by_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::open(directory.path()).unwrap();
        let writer = data.write(&Printer::captured(true).0).unwrap();
        Generation::publish(&writer, 7, &documents("7"), &[]).unwrap();
        fs::create_dir_all(data.generations().join("0000000009/meta")).unwrap();
        Generation::publish(&writer, 8, &documents("8"), &[]).unwrap();
        assert_eq!(serials(&data).unwrap(), BTreeSet::from([7, 8]));
    }

    #[test]
    fn a_quarter_of_the_validity_makes_a_generation_due() {
        let edition = Edition { serial: 1, published: Timestamp::from_unix(1000), expires: Timestamp::from_unix(1400) };
        let due = [999, 1000, 1099, 1100].map(|now| edition.is_due(Timestamp::from_unix(now)));
        assert_eq!(due, [false, false, false, true]);
    }
}
