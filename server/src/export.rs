//! Exporting what is published as plain files, for any web server.

mod documents;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use formats::layout;
use formats::time::{Span, Timestamp};
use fs_err as fs;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::channel::Channel;
use crate::checkpoint::checkpoint;
use crate::data::DataDir;
use crate::documents::is_products;
use crate::files;
use crate::generation::Generation;
use crate::store::{BuildId, Opened, Store};
use documents::Documents;

/// A directory that a web server or a content delivery network serves.
///
/// ```text
/// <directory>/
/// ├── images/…  meta/…  streams/…  keys/…       as served by this program, channel `stable`
/// ├── c/<channel>/{meta,streams}/…              every other channel
/// │   └── images, keys -> ../../…               links, because clients take the prefix as their server
/// ├── c/stable -> ..                            `stable` has two names
/// └── .rootcellar/v1/                           0700, not to be served
///     ├── export.json                           what is no longer named, and since when
///     ├── staging/                              what is not whole yet
///     └── lock                                  held by the one export
/// ```
///
/// Every file appears whole, by one rename, and only after all that it names: files of builds, then products files and
/// certificates, then indexes, and the signed index last. So whoever reads an index, at whatever moment an export runs
/// or is killed, finds everything it names. A file that is no longer named stays for the grace.
#[derive(Debug)]
pub struct Export {
    root: PathBuf,
    /// Copy files even where a hard link would do.
    copies: bool,
    _lock: fs::File,
}

/// What an export did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// The repository serial of the generation.
    pub serial: u64,
    /// Files that are new, or have another content.
    pub written: usize,
    /// Files that were there.
    pub unchanged: usize,
    /// Files that nothing has named for longer than the grace.
    pub removed: usize,
    /// Files that nothing names, and that stay for now.
    pub waiting: usize,
}

impl Export {
    /// Waits until no other export writes into the directory.
    pub fn open(directory: &Path, copies: bool) -> io::Result<Self> {
        let root = std::path::absolute(directory)?;
        let private = root.join(PRIVATE);
        let staging = private.join(STAGING);
        fs::create_dir_all(&staging)?;
        fs::set_permissions(root.join(TOP), std::fs::Permissions::from_mode(0o700))?;
        let lock = fs::OpenOptions::new().create(true).truncate(false).write(true).open(private.join("lock"))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        for left in fs::read_dir(&staging)? {
            fs::remove_file(left?.path())?;
        }
        Ok(Self { root, copies, _lock: lock })
    }

    /// Brings the directory up to the current generation.
    pub fn update(&self, data: &DataDir, grace: Span, now: Timestamp) -> Result<Exported, ExportError> {
        let generation = Generation::current(data)?.ok_or(ExportError::Unpublished)?;
        let documents = Documents::of(&generation)?;
        let store = Store::new(data);
        let named = documents.named_files(&store)?;
        let mut done = Exported { serial: generation.serial, ..Exported::default() };
        self.make_room(&documents.paths)?;
        for path in &named {
            self.put_file(&store, path, &mut done)?;
        }
        checkpoint("export:files");
        let mut ranked: Vec<&String> = documents.paths.iter().collect();
        ranked.sort_by_key(|path| (rank(path), *path));
        let mut last = None;
        for path in ranked {
            if last.is_some_and(|last| last != rank(path)) {
                checkpoint(&format!("export:before-{}", rank(path)));
            }
            last = Some(rank(path));
            self.put_document(path, &documents.read(path)?, &mut done)?;
        }
        checkpoint("export:documents");
        self.forget(&named, &documents.paths, grace, now, &mut done)?;
        Ok(done)
    }

    /// The directories of the channels, with the links in them.
    fn make_room(&self, documents: &BTreeSet<String>) -> io::Result<()> {
        let channels: BTreeSet<&str> =
            documents.iter().filter_map(|path| path.strip_prefix("c/")?.split('/').next()).collect();
        for directory in ["images", "keys", "c"] {
            fs::create_dir_all(self.root.join(directory))?;
        }
        link("..", &self.root.join("c").join(Channel::STABLE))?;
        for channel in channels {
            let directory = self.root.join("c").join(channel);
            fs::create_dir_all(&directory)?;
            for name in ["images", "keys"] {
                link(&format!("../../{name}"), &directory.join(name))?;
            }
        }
        Ok(())
    }

    /// A file of a build: it never changes, so one of the same size and time is the same.
    fn put_file(&self, store: &Store, path: &str, done: &mut Exported) -> Result<(), ExportError> {
        let place = self.root.join(path);
        let missing = || ExportError::Missing { path: path.to_owned() };
        let (build, name) = of_build(path).ok_or_else(missing)?;
        let wanted = store.open(&build, name)?.ok_or_else(missing)?;
        let modified = wanted.modified();
        if let Ok(there) = fs::symlink_metadata(&place)
            && there.is_file()
            && there.len() == wanted.size_bytes()
            && there.modified()? == modified
        {
            done.unchanged += 1;
            return Ok(());
        }
        let staged = self.staged();
        let from = store.path(&build, name).filter(|_| !self.copies);
        if from.is_none_or(|from| fs::hard_link(from, &staged).is_err()) {
            // Another file system, one that has no links, or an object store. Where it can, the system shares the blocks.
            let mut file = fs::File::create(&staged)?;
            match wanted {
                Opened::File { file: mut from, .. } => io::copy(&mut from, file.file_mut())?,
                Opened::Object(object) => io::copy(&mut Opened::Object(object).into_reader(), &mut file)?,
            };
            file.set_permissions(std::fs::Permissions::from_mode(0o644))?;
            file.set_modified(modified)?;
            file.sync_all()?;
        }
        done.written += 1;
        Ok(put_in_place(&staged, &place)?)
    }

    fn put_document(&self, path: &str, content: &[Bytes], done: &mut Exported) -> io::Result<()> {
        let place = self.root.join(path);
        if is_there(&place, content)? {
            done.unchanged += 1;
            return Ok(());
        }
        let staged = self.staged();
        let mut file = fs::File::create(&staged)?;
        content.iter().try_for_each(|part| io::Write::write_all(&mut file, part))?;
        file.set_permissions(std::fs::Permissions::from_mode(0o644))?;
        file.sync_all()?;
        done.written += 1;
        put_in_place(&staged, &place)
    }

    fn staged(&self) -> PathBuf {
        self.root.join(PRIVATE).join(STAGING).join("next")
    }

    /// Takes note of what nothing names any longer, and removes it when the grace is over.
    fn forget(
        &self,
        named: &BTreeSet<String>,
        documents: &BTreeSet<String>,
        grace: Span,
        now: Timestamp,
        done: &mut Exported,
    ) -> Result<(), ExportError> {
        let path = self.root.join(PRIVATE).join("export.json");
        let before = match files::read_if_there(&path)? {
            Some(json) => {
                serde_json::from_slice::<State>(&json)
                    .map_err(|source| ExportError::Damaged { path: path.clone(), source })?
                    .unnamed
            }
            None => BTreeMap::new(),
        };
        let mut unnamed = BTreeMap::new();
        for file in self.files()? {
            if named.contains(&file) || documents.contains(&file) {
                continue;
            }
            let since = before.get(&file).copied().unwrap_or(now);
            if since + grace <= now {
                self.remove(&file)?;
                done.removed += 1;
            } else {
                done.waiting += 1;
                unnamed.insert(file, since);
            }
        }
        let state = State { format: Format::V1, serial: done.serial, unnamed };
        let json =
            serde_json::to_vec_pretty(&state).map_err(|source| ExportError::Damaged { path: path.clone(), source })?;
        Ok(files::write_whole(&self.root.join(PRIVATE).join(STAGING), &path, &json, 0o644)?)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let place = self.root.join(path);
        fs::remove_file(&place)?;
        for parent in place.ancestors().skip(1).take_while(|parent| *parent != self.root) {
            // It fails where another file is, and that is right.
            if std::fs::remove_dir(parent).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Every file of ours by its path; what others put beside them is theirs.
    fn files(&self) -> io::Result<Vec<String>> {
        let (mut found, mut open) = (Vec::new(), OURS.map(str::to_owned).to_vec());
        while let Some(directory) = open.pop() {
            let entries = match fs::read_dir(self.root.join(&directory)) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            for entry in entries {
                let entry = entry?;
                let Ok(name) = entry.file_name().into_string() else { continue };
                let path = format!("{directory}/{name}");
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    open.push(path);
                } else if kind.is_file() {
                    found.push(path);
                }
            }
        }
        Ok(found)
    }
}

/// Whether a file has this content.
fn is_there(place: &Path, content: &[Bytes]) -> io::Result<bool> {
    let there = match fs::File::open(place) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    if there.metadata()?.len() != content.iter().map(|part| part.len() as u64).sum::<u64>() {
        return Ok(false);
    }
    let (mut there, mut buffer) = (io::BufReader::new(there), Vec::new());
    for part in content {
        buffer.resize(part.len(), 0);
        io::Read::read_exact(&mut there, &mut buffer)?;
        if buffer != *part {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The build and the name of a file of the store, by its path in the repository.
fn of_build(path: &str) -> Option<(BuildId, &str)> {
    let (directory, name) = path.strip_prefix("images/")?.rsplit_once('/')?;
    Some((BuildId::from_path(directory)?, name))
}

/// The place of a document in the order of appearance: what names others comes after them.
fn rank(path: &str) -> u8 {
    let is = |document: &str| path == document || path.ends_with(&format!("/{document}"));
    match path {
        _ if is(layout::SIGNED_INDEX) => 3,
        _ if is(layout::STREAMS_INDEX) => 2,
        _ if is_products(path) || path.starts_with("keys/") => 0,
        _ => 1,
    }
}

fn put_in_place(staged: &Path, place: &Path) -> io::Result<()> {
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::rename(staged, place)?;
    files::sync_parent(place)
}

/// A link that leads where it should; one that is there stays.
fn link(target: &str, place: &Path) -> io::Result<()> {
    match std::os::unix::fs::symlink(target, place) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

/// Why an export was not completed. What was there before is still whole.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// There is no generation.
    #[error("nothing was published yet")]
    Unpublished,
    /// A file that the documents name is not in the store.
    #[error("`{path}` is listed, and is not in the store")]
    Missing {
        /// Its path.
        path: String,
    },
    /// A document or the state of the export cannot be read.
    #[error("`{}` is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        #[source]
        source: serde_json::Error,
    },
    /// The file system failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl ExportError {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unpublished => Some("`rootcellar-server publish` makes the first generation".to_owned()),
            Self::Missing { .. } => Some("`rootcellar-server verify` names every damaged file of the store".to_owned()),
            Self::Damaged { .. } | Self::Io(_) => None,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    format: Format,
    serial: u64,
    unnamed: BTreeMap<String, Timestamp>,
}

#[derive(Serialize, Deserialize)]
enum Format {
    #[serde(rename = "rootcellar-export:1")]
    V1,
}

const TOP: &str = ".rootcellar";
const PRIVATE: &str = ".rootcellar/v1";
const STAGING: &str = "staging";
/// The directories that the export looks after.
const OURS: [&str; 5] = ["images", "meta", "streams", "keys", "c"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_others_appears_after_them() {
        let order = [
            "streams/v1/debian.0123456789abcdef.json",
            "meta/1.0/index-user",
            "streams/v1/index.json",
            "streams/v1/index.sjson",
        ];
        assert_eq!(order.map(rank), [0, 1, 2, 3]);
        assert_eq!(rank("c/staging/streams/v1/index.sjson"), 3);
        assert_eq!(rank("c/staging/streams/v1/images.json"), 1);
    }
}
