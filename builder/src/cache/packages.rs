//! Package files that apt or mmdebstrap downloaded in the tree of an earlier build.
//!
//! ```text
//! <cache>/v1/debs/<distribution>/<release>/<arch>/
//! └── 9f2c…_libc6_2.36-9_amd64.deb     its sha256, then the name that apt gives it
//! ```
//!
//! A file is used only when its content still has the digest in its name. apt trusts what lies in its archive
//! directory by size alone, so after a build every package file is compared with the digest in the signed lists.
//! Other files in the directory are not ours and are never touched; concurrent builds share it without a lock, because
//! files appear whole and never change.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use formats::digest::{Hasher, Sha256};
use formats::image::ImageId;

use super::{Cache, CacheError};
use crate::build::inventory::Inventory;

/// The package files for one image's packages.
pub(crate) struct PackageCache {
    directory: PathBuf,
}

impl PackageCache {
    /// The part of the cache in `root` that builds of `image` use.
    pub(crate) fn open(cache: &Cache, image: &ImageId) -> io::Result<Self> {
        let directory = cache
            .root()
            .join("v1/debs")
            .join(image.distribution.as_str())
            .join(image.release.as_str())
            .join(image.arch.as_str());
        fs_err::create_dir_all(&directory)?;
        Ok(Self { directory })
    }

    /// Puts every intact file into `archives` under the name that apt looks for, and returns how many there were.
    pub(crate) fn offer(&self, archives: &Path) -> io::Result<usize> {
        let mut offered = 0;
        for entry in fs_err::read_dir(&self.directory)? {
            let entry = entry?;
            let file_name = entry.file_name();
            let Some((digest, name)) = file_name.to_str().and_then(|name| name.split_once('_')) else { continue };
            let Ok(digest) = digest.parse::<Sha256>() else { continue };
            if !is_package(name) || sha256(&entry.path())? != digest {
                continue;
            }
            link_or_copy(&entry.path(), &archives.join(name))?;
            offered += 1;
        }
        Ok(offered)
    }

    /// Takes in the package files in `archives`, after comparing each with the signed lists.
    pub(crate) fn adopt(&self, archives: &Path, inventory: &Inventory) -> Result<(), CacheError> {
        for entry in fs_err::read_dir(archives)? {
            let entry = entry?;
            let file_name = entry.file_name();
            let Some(name) = file_name.to_str().filter(|name| is_package(name)) else { continue };
            let found = sha256(&entry.path())?;
            let key = name.trim_end_matches(".deb").replace("%3a", ":");
            match inventory.listed.get(&key) {
                Some(expected) if *expected != found => {
                    return Err(CacheError::Altered { name: name.to_owned(), expected: *expected, found });
                }
                // What no list names cannot be compared, and is not kept.
                None => continue,
                Some(_) => {}
            }
            let place = self.directory.join(format!("{found}_{name}"));
            if !place.exists() {
                let partial = tempfile::Builder::new().prefix(".partial-").tempdir_in(&self.directory)?;
                let copy = partial.path().join("deb");
                link_or_copy(&entry.path(), &copy)?;
                fs_err::rename(copy, place)?;
            }
        }
        Ok(())
    }
}

fn is_package(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "deb")
}

fn sha256(path: &Path) -> io::Result<Sha256> {
    let mut hasher = Hasher::default();
    io::copy(&mut fs_err::File::open(path)?, &mut hasher)?;
    Ok(hasher.finish().sha256)
}

/// A second name for the same file where the file system allows it, else a copy.
fn link_or_copy(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(_) => fs_err::copy(from, to).map(drop),
        Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        directory: tempfile::TempDir,
        cache: PackageCache,
    }

    impl World {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let image = "debian/bookworm/amd64/default".parse().unwrap();
            let cache = Cache::open(&directory.path().join("cache"), None).unwrap();
            let cache = PackageCache::open(&cache, &image).unwrap();
            let world = Self { directory, cache };
            fs::create_dir(world.archives("one")).unwrap();
            fs::create_dir(world.archives("two")).unwrap();
            world
        }

        fn archives(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }
    }

    fn lists(name: &str, content: &[u8]) -> Inventory {
        Inventory { listed: [(name.to_owned(), Sha256::of(content))].into(), ..Inventory::default() }
    }

    #[test]
    fn a_package_of_one_build_is_offered_to_the_next() {
        let world = World::new();
        fs::write(world.archives("one").join("a_1%3a2_amd64.deb"), "deb").unwrap();
        world.cache.adopt(&world.archives("one"), &lists("a_1:2_amd64", b"deb")).unwrap();
        assert_eq!(world.cache.offer(&world.archives("two")).unwrap(), 1);
        assert_eq!(fs::read(world.archives("two").join("a_1%3a2_amd64.deb")).unwrap(), b"deb");
    }

    #[test]
    fn a_package_that_is_not_the_listed_one_fails_the_build() {
        let world = World::new();
        fs::write(world.archives("one").join("a_1_amd64.deb"), "forged").unwrap();
        let error = world.cache.adopt(&world.archives("one"), &lists("a_1_amd64", b"deb")).unwrap_err();
        assert!(matches!(error, CacheError::Altered { .. }), "{error}");
    }

    #[test]
    fn rotten_and_foreign_files_are_neither_offered_nor_removed() {
        let world = World::new();
        let rotten = world.cache.directory.join(format!("{}_a_1_amd64.deb", Sha256::of(b"good")));
        let foreign = world.cache.directory.join("holiday_photo.deb");
        fs::write(&rotten, "rot").unwrap();
        fs::write(&foreign, "mine").unwrap();
        assert_eq!(world.cache.offer(&world.archives("two")).unwrap(), 0);
        assert!(rotten.exists() && foreign.exists());
    }

    #[test]
    fn a_package_that_no_list_names_is_not_kept() {
        let world = World::new();
        fs::write(world.archives("one").join("local_1_all.deb"), "deb").unwrap();
        world.cache.adopt(&world.archives("one"), &Inventory::default()).unwrap();
        assert_eq!(world.cache.offer(&world.archives("two")).unwrap(), 0);
    }
}
