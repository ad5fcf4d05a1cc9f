//! Keeping the cache small and sound.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use formats::digest::FileDigest;
use fs_err as fs;

use super::{BLOBS, Cache, CacheError, CachedBuild, Kept, PARTIAL, entry};
use crate::checkpoint::checkpoint;
use crate::files;

/// What pruning removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Builds that a newer one replaced.
    pub builds: u64,
    /// Files.
    pub files: u64,
    /// Their size in bytes.
    pub size_bytes: u64,
}

/// What a check found about one file of one build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The build.
    pub build: CachedBuild,
    /// Whether all of its files are what they should be. Those that are not are gone now.
    pub sound: bool,
}

impl Cache {
    /// Removes builds that are not current (all of them with `everything`), files that no build needs, and what is
    /// left of interrupted downloads. Of an image whose builds were all asked for by name, the newest stays.
    pub fn prune(&self, everything: bool) -> Result<Pruned, CacheError> {
        let mut pruned = Pruned::default();
        let mut needed: BTreeSet<String> = BTreeSet::new();
        for (_, entry) in self.entries()? {
            let all = entry.all();
            let newest = || all.iter().map(|build| build.build.clone()).max();
            let kept = entry.current().map(|current| current.build).or_else(newest).filter(|_| !everything);
            for build in &all {
                if kept.as_ref() == Some(&build.build) {
                    let digests = [build.rootfs, build.metadata].into_iter().chain(build.tar);
                    needed.extend(digests.map(|digest| digest.sha256.to_string()));
                } else {
                    entry.forget(&build.build)?;
                    pruned.builds += 1;
                }
            }
            if kept.is_none() {
                entry.flush()?;
            }
            for directory in entry.directories().iter().filter(|directory| directory.is_dir()) {
                remove_files(directory, |name| name.starts_with(files::UNFINISHED), &mut pruned)?;
            }
        }
        checkpoint("prune:forgotten");
        for directory in subdirectories(&self.root.join(BLOBS))? {
            remove_files(&directory, |name| !needed.contains(name), &mut pruned)?;
        }
        remove_files(&self.root.join(PARTIAL), |_| true, &mut pruned)?;
        Ok(pruned)
    }

    /// Reads every file of every build. Damaged files are removed, and fetched again when they are needed.
    pub fn verify(&self) -> Result<Vec<Check>, CacheError> {
        // Either form of the rootfs makes containers: what a delta made was never there as the server has it.
        let state = |digest: &FileDigest| Ok::<_, CacheError>((self.has(digest)?, self.blob(digest)?.is_some()));
        let check = |Kept { build, .. }: Kept| {
            let (has_archive, archive) = build.tar.as_ref().map_or(Ok((false, false)), state)?;
            let (has_rootfs, rootfs) = state(&build.rootfs)?;
            let (_, metadata) = state(&build.metadata)?;
            let is_damaged = (has_archive && !archive) || (has_rootfs && !rootfs);
            Ok(Check { build, sound: metadata && (archive || rootfs) && !is_damaged })
        };
        self.builds()?.into_iter().map(check).collect()
    }
}

pub(super) fn subdirectories(directory: &Path) -> Result<Vec<PathBuf>, CacheError> {
    entry::subdirectories(directory).map_err(|source| CacheError::Storage { path: directory.to_owned(), source })
}

fn remove_files(directory: &Path, unneeded: impl Fn(&str) -> bool, pruned: &mut Pruned) -> Result<(), CacheError> {
    let failed = |source| CacheError::Storage { path: directory.to_owned(), source };
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            continue;
        }
        if unneeded(&entry.file_name().to_string_lossy()) {
            pruned.size_bytes += entry.metadata().map_err(failed)?.len();
            pruned.files += 1;
            fs::remove_file(entry.path()).map_err(failed)?;
            checkpoint("prune:removed-one");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use formats::index::BuildName;
    use formats::time::Timestamp;

    use super::*;
    use crate::cache::CurrentBuild;
    use crate::files::Owner;
    use crate::remote::{Origin, Trust, default_channel};

    fn origin() -> Origin {
        Origin { url: "https://host".parse().unwrap(), trust: Trust::Tls, channel: default_channel(), ca: None }
    }

    /// A cache with two builds, of which the newer is current, and a left-over download.
    fn cache(directory: &Path) -> Cache {
        let cache = Cache::open_alone(directory, Owner::SELF, || ()).unwrap();
        let image = "debian/bookworm/amd64/default".parse().unwrap();
        let entry = cache.entry(&origin(), &image);
        let _lock = entry.lock(|| ()).unwrap();
        for name in ["20261123_0522", "20261124_0522"] {
            let content = [name.as_bytes(), b"metadata"].map(|content| {
                std::fs::write(cache.blob_path(&FileDigest::of(content)).unwrap(), content).unwrap();
                FileDigest::of(content)
            });
            let build = BuildName::new(name).unwrap();
            let [rootfs, metadata] = content;
            let fetched = Timestamp::from_unix(0);
            let (image, tar) = (image.clone(), None);
            let aliases = vec![];
            let stored =
                CachedBuild { image: image.clone(), aliases, build: build.clone(), fetched, rootfs, metadata, tar };
            entry.store(&stored).unwrap();
            let current = CurrentBuild { image, aliases: vec![], build, fresh_until: fetched };
            entry.set_current(&current).unwrap();
        }
        std::fs::write(cache.partial(&origin(), "x"), "left over").unwrap();
        std::fs::write(entry.directories()[1].join(".new-x"), "half").unwrap();
        cache
    }

    #[test]
    fn pruning_keeps_the_current_build_and_what_it_shares() {
        let directory = tempfile::tempdir().unwrap();
        let cache = cache(directory.path());
        let pruned = cache.prune(false).unwrap();
        assert_eq!((pruned.builds, pruned.files, pruned.size_bytes), (1, 3, 13 + 9 + 4));
        assert!(cache.verify().unwrap().iter().all(|check| check.sound));
        assert_eq!(cache.builds().unwrap().len(), 1);
        assert_eq!(cache.prune(false).unwrap(), Pruned::default());
    }

    #[test]
    fn of_builds_that_were_asked_for_by_name_the_newest_stays() {
        let directory = tempfile::tempdir().unwrap();
        let cache = cache(directory.path());
        let entry = cache.entries_of(&origin()).unwrap().remove(0);
        std::fs::remove_file(entry.directories()[0].join("current.json")).unwrap();
        assert_eq!(cache.prune(false).unwrap().builds, 1);
        let left = cache.builds().unwrap();
        assert_eq!(left.iter().map(|kept| kept.build.build.as_str()).collect::<Vec<_>>(), ["20261124_0522"]);
    }

    #[test]
    fn pruning_everything_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let cache = cache(directory.path());
        assert_eq!(cache.prune(true).unwrap().builds, 2);
        assert!(cache.builds().unwrap().is_empty() && cache.current(&origin()).unwrap().is_empty());
    }

    #[test]
    fn a_check_finds_the_build_of_a_damaged_file() {
        let directory = tempfile::tempdir().unwrap();
        let cache = cache(directory.path());
        std::fs::write(cache.blob_path(&FileDigest::of(b"20261123_0522")).unwrap(), "damaged").unwrap();
        let unsound = cache.verify().unwrap().into_iter().filter(|check| !check.sound).collect::<Vec<_>>();
        assert_eq!(unsound.len(), 1);
        assert_eq!(unsound[0].build.build.as_str(), "20261123_0522");
    }
}
