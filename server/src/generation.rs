//! Generations on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use formats::layout;
use formats::streams::StreamsIndex;
use formats::time::Timestamp;
use fs_err as fs;

use crate::data::{DataDir, Writer};
use crate::documents::Edition;

pub mod draft;

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

    /// When it was published and when its validity ends.
    pub fn edition(&self) -> io::Result<Edition> {
        let index = self.streams_index("")?;
        Ok(Edition { serial: self.serial, published: index.published, expires: index.expires })
    }

    /// The streams index of the channel whose documents are below `prefix`.
    pub fn streams_index(&self, prefix: &str) -> io::Result<StreamsIndex> {
        let path = format!("{prefix}{}", layout::STREAMS_INDEX);
        serde_json::from_slice(&self.read(&path)?).map_err(|error| {
            let reason = format!("`{}` is damaged: {error}", self.path.join(&path).display());
            io::Error::new(io::ErrorKind::InvalidData, reason)
        })
    }

    /// Every document that is a file, by its path. Documents with the same bytes are one file with several names.
    /// `images.json` is no file, see [`Self::images`].
    pub fn files(&self) -> io::Result<BTreeMap<String, FileId>> {
        let (mut files, mut directories) = (BTreeMap::new(), vec![String::new()]);
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(self.path.join(&directory))? {
                let entry = entry?;
                let Ok(name) = entry.file_name().into_string() else { continue };
                let path = if directory.is_empty() { name } else { format!("{directory}/{name}") };
                let metadata = entry.metadata()?;
                if metadata.is_dir() {
                    directories.push(path);
                } else {
                    files.insert(path, FileId(metadata.ino()));
                }
            }
        }
        Ok(files)
    }

    /// A document that is a file.
    pub fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path.join(path))
    }

    /// The `images.json` of each channel, by its path, with the paths of the products files that it is made of.
    pub fn images(&self, files: &BTreeMap<String, FileId>) -> io::Result<BTreeMap<String, Vec<String>>> {
        let prefixes = files.keys().filter_map(|path| path.strip_suffix(layout::STREAMS_INDEX));
        let parts = |prefix: &str| -> io::Result<(String, Vec<String>)> {
            let entries = self.streams_index(prefix)?.index.into_values();
            let parts = entries.map(|entry| format!("{prefix}{}", entry.path)).collect();
            Ok((format!("{prefix}{}", layout::STREAMS_IMAGES), parts))
        };
        prefixes.map(parts).collect()
    }
}

/// Tells the files of one generation apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(u64);

impl Edition {
    /// Whether a quarter of the validity has passed, after which a server signs afresh. A clock that was set back makes
    /// nothing due.
    pub fn is_due(self, now: Timestamp) -> bool {
        let quarter = (self.expires.unix() - self.published.unix()) / 4;
        now.unix() - self.published.unix() >= quarter.max(1)
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

#[cfg(test)]
mod tests {
    use terminal::Printer;

    use super::draft::Draft;
    use super::*;
    use crate::documents::Content;

    const INDEX: &str = "meta/1.0/index-user";

    fn publish(writer: &Writer, serial: u64) {
        let mut draft = Draft::begin(writer, None).unwrap();
        draft.add(vec![(INDEX.to_owned(), Content::New(serial.to_string().into_bytes()))]).unwrap();
        draft.publish(serial).unwrap();
    }

    #[test]
    fn the_current_generation_is_the_last_published_and_a_few_older_ones_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::open(directory.path()).unwrap();
        assert_eq!(Generation::current(&data).unwrap(), None);
        let writer = data.write(&Printer::captured(true).0).unwrap();
        for serial in 1..=6 {
            publish(&writer, serial);
            Generation::remove_old(&writer).unwrap();
        }
        let current = Generation::current(&data).unwrap().unwrap();
        assert_eq!(current.read(INDEX).unwrap(), b"6");
        assert_eq!(serials(&data).unwrap(), BTreeSet::from([3, 4, 5, 6]));
        assert_eq!(fs::read_dir(data.staging()).unwrap().count(), 0);
    }

    #[test]
    fn a_generation_that_was_never_current_is_removed_by_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::open(directory.path()).unwrap();
        let writer = data.write(&Printer::captured(true).0).unwrap();
        publish(&writer, 7);
        fs::create_dir_all(data.generations().join("0000000009/meta")).unwrap();
        publish(&writer, 8);
        assert_eq!(serials(&data).unwrap(), BTreeSet::from([7, 8]));
    }

    #[test]
    fn a_quarter_of_the_validity_makes_a_generation_due() {
        let edition = Edition { serial: 1, published: Timestamp::from_unix(1000), expires: Timestamp::from_unix(1400) };
        let due = [999, 1000, 1099, 1100].map(|now| edition.is_due(Timestamp::from_unix(now)));
        assert_eq!(due, [false, false, false, true]);
    }
}
