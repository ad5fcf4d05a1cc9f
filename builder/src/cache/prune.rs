//! Removing what the cache holds too long or too much of.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::stages::{DIRECTORIES, Stages};
use super::{Cache, CacheError};
use crate::limits;

/// Something in the cache that can be removed by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// `package`, `decoded package`, `lists`, `archive`, `stage` or `failed stage`.
    pub(crate) kind: &'static str,
    /// What it is, for people.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) path: PathBuf,
    /// The space it takes.
    pub(crate) size_bytes: u64,
    /// When it was last used, as far as that is known, or else made.
    pub(crate) used: SystemTime,
}

/// What is too old and too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    /// What was not used for so long goes.
    pub(crate) older_than: Option<Duration>,
    /// While all together is larger, what was not used longest goes.
    pub(crate) size_bytes: Option<u64>,
}

/// Everything that the cache holds, what was used last at the end. Files that are not the cache's own are not in it.
pub(crate) fn list(cache: &Cache) -> Result<Vec<Entry>, CacheError> {
    let root = cache.root();
    let mut entries = Vec::new();
    let mut stages = Vec::new();
    for directory in DIRECTORIES.map(|directory| root.join(directory)) {
        if directory.is_dir() {
            stages.extend(Stages::open(&directory)?.list()?);
        }
    }
    for (path, snapshot, used) in stages {
        let (kind, name) = match snapshot {
            Some(snapshot) => ("stage", format!("{} of {}", snapshot.stage, snapshot.image)),
            None => ("failed stage", "kept for `resume`".to_owned()),
        };
        entries.push(Entry { kind, name, size_bytes: space(&path)?, used, path });
    }
    for (kind, directory) in [("package", "bootstrap/v1/debs"), ("decoded package", "bootstrap/v1/decoded")] {
        packages(kind, &root.join(directory), &mut entries)?;
    }
    for release in below(&root.join("v1/debs"), 3)? {
        packages("package", &release, &mut entries)?;
    }
    for path in below(&root.join("downloads/v1"), 1)? {
        let name = path.file_name().unwrap_or_default().display().to_string();
        let digits: String = name.chars().take_while(char::is_ascii_hexdigit).collect();
        let metadata = fs_err::symlink_metadata(&path)?;
        if metadata.is_file() && digits.len() >= 64 {
            let used = metadata.modified()?.max(metadata.accessed()?);
            entries.push(Entry { kind: "archive", name, size_bytes: metadata.len(), used, path });
        }
    }
    for path in below(&root.join("bootstrap/v1/apt"), 1)? {
        let name = path.file_name().unwrap_or_default().display().to_string();
        let used = fs_err::metadata(path.join("apt.conf")).and_then(|found| found.modified());
        let used = used.unwrap_or(SystemTime::UNIX_EPOCH);
        entries.push(Entry { kind: "lists", name, size_bytes: space(&path)?, used, path });
    }
    entries.sort_by(|a, b| (a.used, &a.path).cmp(&(b.used, &b.path)));
    Ok(entries)
}

/// What would be removed.
pub(crate) fn chosen(entries: &[Entry], policy: Policy, now: SystemTime) -> Vec<Entry> {
    let mut total: u64 = entries.iter().map(|entry| entry.size_bytes).sum();
    let mut chosen = Vec::new();
    for entry in entries {
        let age = now.duration_since(entry.used).unwrap_or_default();
        let is_old = policy.older_than.is_some_and(|limit| age > limit);
        let is_too_much = policy.size_bytes.is_some_and(|limit| total > limit);
        if is_old || is_too_much {
            total = total.saturating_sub(entry.size_bytes);
            chosen.push(entry.clone());
        }
    }
    chosen
}

/// Removes it. Nobody else uses the cache meanwhile.
pub(crate) fn remove(cache: &Cache, entries: &[Entry]) -> Result<(), CacheError> {
    for entry in entries {
        if entry.path.is_dir() {
            fs_err::remove_dir_all(&entry.path)?;
        } else {
            fs_err::remove_file(&entry.path)?;
        }
    }
    // Names to wait by, which nobody waits by at this moment.
    let making = cache.root().join("stages/v1/making");
    if making.exists() {
        fs_err::remove_dir_all(making)?;
    }
    // A stage that has lost one below it is no use to anybody.
    for (path, snapshot, _) in Stages::open(&cache.root().join("stages/v1"))?.list()? {
        if snapshot.is_none() && !path.join("failed").exists() {
            fs_err::remove_dir_all(path)?;
        }
    }
    Ok(())
}

/// Removes what nobody has used for long, after a build, unless another one is at work.
pub(crate) fn routinely(cache: &Cache) -> Result<(), CacheError> {
    if !cache.alone()? {
        return Ok(());
    }
    let policy = Policy { older_than: Some(limits::CACHE_AGE), size_bytes: Some(limits::CACHE_BYTES) };
    let chosen = chosen(&list(cache)?, policy, SystemTime::now());
    if chosen.is_empty() { Ok(()) } else { remove(cache, &chosen) }
}

fn packages(kind: &'static str, directory: &Path, entries: &mut Vec<Entry>) -> Result<(), CacheError> {
    for path in below(directory, 1)? {
        let name = path.file_name().unwrap_or_default().display().to_string();
        let digest: String = name.chars().take(64).collect();
        let is_package = path.extension().is_some_and(|extension| extension == "deb");
        let is_ours = is_package && digest.parse::<formats::digest::Sha256>().is_ok();
        let metadata = fs_err::symlink_metadata(&path)?;
        if is_ours && metadata.is_file() {
            let used = metadata.modified()?.max(metadata.accessed()?);
            entries.push(Entry { kind, name, size_bytes: metadata.len(), used, path });
        }
    }
    Ok(())
}

/// What is `depth` levels below a directory.
fn below(directory: &Path, depth: usize) -> std::io::Result<Vec<PathBuf>> {
    let mut found = vec![directory.to_owned()];
    for _ in 0..depth {
        let mut next = Vec::new();
        for directory in found.iter().filter(|path| path.is_dir()) {
            for entry in fs_err::read_dir(directory)? {
                next.push(entry?.path());
            }
        }
        found = next;
    }
    Ok(found)
}

/// The space that a directory takes; a file with several names counts once.
fn space(directory: &Path) -> std::io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut seen: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(path) = waiting.pop() {
        for entry in fs_err::read_dir(path)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            seen.insert((metadata.dev(), metadata.ino()), metadata.blocks() * 512);
            if metadata.is_dir() {
                waiting.push(entry.path());
            }
        }
    }
    Ok(seen.into_values().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, size_bytes: u64, age: u64) -> Entry {
        let used = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 - age);
        Entry { kind: "stage", name: name.into(), path: name.into(), size_bytes, used }
    }

    #[test]
    fn what_is_old_goes_and_then_the_oldest_until_the_rest_is_small_enough() {
        let entries = [entry("a", 10, 500), entry("b", 10, 50), entry("c", 10, 40), entry("d", 10, 1)];
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let names = |older_than: Option<u64>, size_bytes| {
            let policy = Policy { older_than: older_than.map(Duration::from_secs), size_bytes };
            chosen(&entries, policy, now).into_iter().map(|entry| entry.name).collect::<Vec<_>>()
        };
        assert_eq!(names(Some(100), None), ["a"]);
        assert_eq!(names(None, Some(20)), ["a", "b"]);
        assert_eq!(names(Some(100), Some(20)), ["a", "b"]);
        assert_eq!(names(Some(1000), Some(100)), Vec::<String>::new());
    }

    #[test]
    fn foreign_files_are_neither_listed_nor_removed() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path(), None).unwrap();
        let debs = directory.path().join("bootstrap/v1/debs");
        std::fs::create_dir_all(&debs).unwrap();
        std::fs::write(debs.join("holiday.deb"), "mine").unwrap();
        std::fs::write(debs.join(format!("{}.deb", "0".repeat(64))), "ours").unwrap();
        std::fs::write(directory.path().join("photo"), "mine").unwrap();
        let entries = list(&cache).unwrap();
        assert_eq!(entries.len(), 1);
        remove(&cache, &entries).unwrap();
        assert!(debs.join("holiday.deb").exists() && directory.path().join("photo").exists());
        assert_eq!(list(&cache).unwrap(), []);
    }
}
