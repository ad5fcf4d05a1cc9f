//! What is in the root file system of one build and not in that of the other.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use archive::listing::{Entry, EntryKind, list};
use archive::unpack::UnpackLimits;
use archive::xz::{DecodeLimits, Decoder};
use formats::digest::{FileDigest, Hasher};
use formats::record::BuildFile;
use serde::Serialize;

use super::{Build, Change, ComparisonError};

/// Files, directories and whatever else is not the same.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct FileChanges {
    /// Only in the second build.
    pub(crate) added: Vec<FileName>,
    /// Only in the first.
    pub(crate) removed: Vec<FileName>,
    /// In both.
    pub(crate) changed: Vec<FileChange>,
    /// How many more differ in nothing but their times.
    pub(crate) only_times: u64,
}

/// A file that is in one build only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct FileName {
    /// Its absolute path.
    pub(crate) path: String,
    /// What it is.
    pub(crate) kind: &'static str,
    /// Its size, if it has content of its own.
    pub(crate) size_bytes: Option<u64>,
}

/// A file that is not the same in both builds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct FileChange {
    /// Its absolute path.
    pub(crate) path: String,
    /// What is different.
    pub(crate) changes: Vec<Change>,
}

impl FileChanges {
    pub(super) fn of(from: &Build, to: &Build) -> Result<Self, ComparisonError> {
        if from.record.rootfs_tar == to.record.rootfs_tar {
            return Ok(Self::default());
        }
        Ok(Self::between(&entries(from)?, &entries(to)?))
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty() && self.only_times == 0
    }

    fn between(from: &Entries, to: &Entries) -> Self {
        let mut changes = Self::default();
        for path in from.keys().chain(to.keys()).collect::<BTreeSet<_>>() {
            match (from.get(path), to.get(path)) {
                (Some(before), Some(after)) if before != after => {
                    let found = compare(before, after);
                    if found.is_empty() {
                        changes.only_times += 1;
                    } else {
                        changes.changed.push(FileChange { path: shown(path), changes: found });
                    }
                }
                (Some(removed), None) => changes.removed.push(name(removed)),
                (None, Some(added)) => changes.added.push(name(added)),
                (Some(_), Some(_)) | (None, None) => {}
            }
        }
        changes
    }
}

type Entries = BTreeMap<Vec<u8>, Entry>;

/// The members of the archive. It is decoded as a whole, and compared with the record.
fn entries(build: &Build) -> Result<Entries, ComparisonError> {
    let path = build.path(BuildFile::RootfsTarXz);
    let decoder = Decoder::new(fs_err::File::open(&path)?, &DecodeLimits::default())?;
    let mut reader = HashingReader { inner: decoder, hasher: Hasher::default() };
    let mut entries = Entries::new();
    let listed = list(&mut reader, &UnpackLimits::default(), |entry| drop(entries.insert(entry.path.clone(), entry)));
    // A damaged archive is an altered one, where its digest can still be taken.
    let found: FileDigest = reader.hasher.finish();
    if listed.is_ok() {
        build.check(BuildFile::RootfsTarXz, build.record.rootfs_tar, found)?;
    }
    listed.map_err(|source| ComparisonError::Archive { path, source })?;
    Ok(entries)
}

struct HashingReader<R> {
    inner: R,
    hasher: Hasher,
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(out)?;
        self.hasher.update(out.get(..read).unwrap_or_default());
        Ok(read)
    }
}

/// What is different but for the times.
fn compare(before: &Entry, after: &Entry) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut add = |what: &str, from: String, to: String| {
        if from != to {
            changes.push(Change { what: what.to_owned(), from, to });
        }
    };
    add("kind", kind(&before.kind).to_owned(), kind(&after.kind).to_owned());
    add("content", content(&before.kind), content(&after.kind));
    let mode = |entry: &Entry| format!("{:04o}", entry.mode);
    add("mode", mode(before), mode(after));
    let owner = |entry: &Entry| format!("{}:{}", entry.owner.0, entry.owner.1);
    add("owner", owner(before), owner(after));
    let names = before.xattrs.iter().chain(&after.xattrs).map(|(name, _)| name).collect::<BTreeSet<_>>();
    for name in names {
        let value = |entry: &Entry| {
            let found = entry.xattrs.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.iter().fold(String::from("0x"), |text, byte| format!("{text}{byte:02x}")))
        };
        add(&String::from_utf8_lossy(name), value(before).unwrap_or_default(), value(after).unwrap_or_default());
    }
    changes
}

fn name(entry: &Entry) -> FileName {
    let size_bytes = match &entry.kind {
        EntryKind::File(digest) => Some(digest.size_bytes),
        _ => None,
    };
    FileName { path: shown(&entry.path), kind: kind(&entry.kind), size_bytes }
}

fn kind(kind: &EntryKind) -> &'static str {
    match kind {
        EntryKind::File(_) => "file",
        EntryKind::Directory => "directory",
        EntryKind::Symlink(_) => "link",
        EntryKind::HardLink(_) => "other name",
        EntryKind::Character(..) => "character device",
        EntryKind::Block(..) => "block device",
        EntryKind::Fifo => "fifo",
    }
}

/// What a file holds or points to.
fn content(kind: &EntryKind) -> String {
    match kind {
        EntryKind::File(digest) => format!("{} bytes (sha256 {})", digest.size_bytes, digest.sha256.short()),
        EntryKind::Symlink(target) => String::from_utf8_lossy(target).into_owned(),
        EntryKind::HardLink(first) => shown(first),
        EntryKind::Character(major, minor) | EntryKind::Block(major, minor) => format!("{major}:{minor}"),
        EntryKind::Directory | EntryKind::Fifo => String::new(),
    }
}

fn shown(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &str) -> Entry {
        let kind = EntryKind::File(FileDigest::of(content.as_bytes()));
        Entry { path: b"etc/x".to_vec(), kind, mode: 0o644, owner: (0, 0), mtime: (1, 0), xattrs: Vec::new() }
    }

    fn between(before: Option<Entry>, after: Option<Entry>) -> FileChanges {
        let [before, after] =
            [before, after].map(|entry| entry.map(|one| (one.path.clone(), one)).into_iter().collect());
        FileChanges::between(&before, &after)
    }

    fn changed(before: Entry, after: Entry) -> Vec<String> {
        let changes = between(Some(before), Some(after)).changed.pop().unwrap().changes;
        changes.into_iter().map(|one| format!("{} {} {}", one.what, one.from, one.to)).collect()
    }

    #[test]
    fn what_is_different_about_a_file_is_named() {
        assert_eq!(changed(file("a"), Entry { mode: 0o4755, ..file("a") }), ["mode 0644 4755"]);
        assert_eq!(changed(file("a"), Entry { owner: (0, 5), ..file("a") }), ["owner 0:0 0:5"]);
        let capable = Entry { xattrs: vec![(b"security.capability".to_vec(), vec![1, 2])], ..file("a") };
        assert_eq!(changed(file("a"), capable), ["security.capability  0x0102"]);
        let content = changed(file("a"), file("bc"));
        assert!(content[0].starts_with("content 1 bytes (sha256 ca978112ca1b) 2 bytes"), "{content:?}");
        let link = Entry { kind: EntryKind::Symlink(b"y".to_vec()), ..file("a") };
        assert_eq!(changed(link.clone(), file("a"))[0], "kind link file");
        let other = Entry { kind: EntryKind::Symlink(b"z".to_vec()), ..file("a") };
        assert_eq!(changed(link, other), ["content y z"]);
    }

    #[test]
    fn files_of_one_build_only_and_mere_times_are_told_apart() {
        assert_eq!(between(None, Some(file("abc"))).added[0].size_bytes, Some(3));
        assert_eq!(between(Some(file("")), None).removed[0].path, "/etc/x");
        let later = between(Some(file("a")), Some(Entry { mtime: (2, 0), ..file("a") }));
        assert_eq!((later.only_times, later.changed.len()), (1, 0));
        assert!(between(Some(file("a")), Some(file("a"))).is_empty());
    }
}
