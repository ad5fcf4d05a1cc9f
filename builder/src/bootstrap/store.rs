//! Package files that earlier bootstraps fetched, and what came out of them.
//!
//! ```text
//! <cache>/bootstrap/v1/
//! ├── debs/9f2c….deb              as fetched, under the digest that the signed lists say
//! └── decoded/9f2c…_77ab….deb     the same package without compression, under both digests
//! ```
//!
//! A file is used only after its content was compared with the digest in its name, and one that does not match is
//! removed and made or fetched again. Files appear whole and never change, so concurrent bootstraps share them without
//! a lock; what else lies there is not touched.

use std::collections::HashMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use formats::digest::{Hasher, Sha256};

use super::BootstrapError;
use super::apt::Apt;
use super::package::{self, Package};
use super::resolution::{Chosen, Resolution};

/// The package files below one cache directory.
pub(super) struct Store {
    debs: PathBuf,
    decoded: PathBuf,
}

/// The file of one package, compared with its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PackageFile {
    /// As it was fetched.
    Fetched(PathBuf),
    /// Without compression.
    Decoded(PathBuf),
}

impl Store {
    /// The store in `cache`.
    pub(super) fn open(cache: &Path) -> Result<Self, BootstrapError> {
        let top = cache.join("bootstrap/v1");
        let store = Self { debs: top.join("debs"), decoded: top.join("decoded") };
        fs_err::create_dir_all(&store.debs)?;
        fs_err::create_dir_all(&store.decoded)?;
        Ok(store)
    }

    /// The files of all packages, in the order of [`Resolution::packages`]; what is missing is downloaded.
    pub(super) fn fetch(&self, resolution: &Resolution, apt: &Apt<'_>) -> Result<Vec<PackageFile>, BootstrapError> {
        let packages: Vec<_> = resolution.packages().collect();
        let present = self.present(&packages)?;
        let missing: Vec<_> = packages.iter().zip(&present).filter(|(_, file)| file.is_none()).collect();
        if !missing.is_empty() {
            let words: Vec<_> =
                missing.iter().map(|(package, _)| format!("{}={}", package.name, package.version)).collect();
            let downloads = apt.download(&words)?;
            for (package, _) in missing {
                self.adopt(package, &downloads.join(file_name(package)))?;
            }
        }
        let files = packages
            .iter()
            .zip(present)
            .map(|(package, file)| file.unwrap_or_else(|| PackageFile::Fetched(self.deb(package))));
        Ok(files.collect())
    }

    /// The files that are there already and intact.
    fn present(&self, packages: &[&Chosen]) -> Result<Vec<Option<PackageFile>>, BootstrapError> {
        let mut decoded = HashMap::new();
        for entry in fs_err::read_dir(&self.decoded)? {
            let entry = entry?;
            let name = entry.file_name();
            let digests = name.to_str().and_then(|name| name.strip_suffix(".deb")?.split_once('_'));
            let Some((deb, content)) = digests else { continue };
            if let (Ok(deb), Ok(content)) = (deb.parse::<Sha256>(), content.parse::<Sha256>()) {
                decoded.insert(deb, (content, entry.path()));
            }
        }
        let found = in_parallel(packages, |package| {
            if let Some((content, path)) = decoded.get(&package.sha256)
                && intact(path, *content)?
            {
                return Ok(Some(PackageFile::Decoded(path.clone())));
            }
            let deb = self.deb(package);
            Ok(if deb.exists() && intact(&deb, package.sha256)? { Some(PackageFile::Fetched(deb)) } else { None })
        });
        found.into_iter().collect::<io::Result<_>>().map_err(BootstrapError::Io)
    }

    /// Takes in what apt downloaded.
    fn adopt(&self, package: &Chosen, download: &Path) -> Result<(), BootstrapError> {
        let found = sha256(download)?;
        if found != package.sha256 {
            let name = package.name.clone();
            return Err(BootstrapError::Altered { name, expected: package.sha256, found });
        }
        let partial = tempfile::NamedTempFile::new_in(&self.debs)?;
        io::copy(&mut fs_err::File::open(download)?, &mut partial.as_file())?;
        partial.as_file().sync_data()?;
        partial.persist(self.deb(package)).map_err(|error| error.error)?;
        Ok(fs_err::remove_file(download)?)
    }

    /// The package without compression.
    pub(super) fn decode(&self, chosen: &Chosen, file: &PackageFile) -> Result<Package, BootstrapError> {
        let damaged = |error: io::Error| {
            let name = chosen.name.clone();
            BootstrapError::Damaged { name, problem: error.to_string() }
        };
        match file {
            PackageFile::Decoded(path) => Package::open(fs_err::File::open(path)?.into()).map_err(damaged),
            PackageFile::Fetched(path) => {
                let mut partial = tempfile::NamedTempFile::new_in(&self.decoded)?;
                package::decode(path, partial.as_file_mut()).map_err(damaged)?;
                let content = sha256(partial.path())?;
                let place = self.decoded.join(format!("{}_{content}.deb", chosen.sha256));
                let file = partial.persist(place).map_err(|error| error.error)?;
                Package::open(file).map_err(damaged)
            }
        }
    }

    fn deb(&self, package: &Chosen) -> PathBuf {
        self.debs.join(format!("{}.deb", package.sha256))
    }
}

/// Whether a file has the digest it should have; one that has not is removed.
fn intact(path: &Path, expected: Sha256) -> io::Result<bool> {
    let intact = sha256(path)? == expected;
    if !intact {
        fs_err::remove_file(path)?;
    }
    Ok(intact)
}

fn sha256(path: &Path) -> io::Result<Sha256> {
    let (mut file, mut hasher, mut buffer) = (fs_err::File::open(path)?, Hasher::default(), vec![0; BUFFER_BYTES]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish().sha256),
            read => hasher.update(buffer.get(..read).unwrap_or_default()),
        }
    }
}

/// What apt calls a downloaded file: the colon of an epoch is written as in a URL.
fn file_name(package: &Chosen) -> String {
    format!("{}_{}_{}.deb", package.name, package.version.replace(':', "%3a"), package.arch)
}

/// What `work` makes of each item, in their order, on all processors.
fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads().min(items.len()) {
            scope.spawn(|| {
                while let Some((index, item)) = items.iter().enumerate().nth(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = work(item);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

/// How many threads are worth starting.
pub(super) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What is read at once: it stays in the processor's cache.
const BUFFER_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct World {
        _directory: tempfile::TempDir,
        store: Store,
        downloads: PathBuf,
    }

    fn world() -> World {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let downloads = directory.path().join("downloads");
        fs::create_dir(&downloads).unwrap();
        World { _directory: directory, store, downloads }
    }

    fn chosen(content: &[u8]) -> Chosen {
        Chosen {
            name: "dash".into(),
            version: "1:0.5".into(),
            arch: "amd64".into(),
            sha256: Sha256::of(content),
            automatic: false,
        }
    }

    #[test]
    fn a_download_that_is_not_the_listed_package_is_refused() {
        let world = world();
        let download = world.downloads.join("x.deb");
        fs::write(&download, "forged").unwrap();
        let refused = world.store.adopt(&chosen(b"good"), &download);
        assert!(matches!(refused, Err(BootstrapError::Altered { .. })));
        assert_eq!(fs::read_dir(&world.store.debs).unwrap().count(), 0);
    }

    #[test]
    fn a_package_that_rots_in_the_cache_is_fetched_again() {
        let world = world();
        let package = chosen(b"good");
        let download = world.downloads.join("x.deb");
        fs::write(&download, "good").unwrap();
        world.store.adopt(&package, &download).unwrap();
        let fetched = Some(PackageFile::Fetched(world.store.deb(&package)));
        assert_eq!(world.store.present(&[&package]).unwrap(), [fetched]);
        fs::write(world.store.deb(&package), "evil").unwrap();
        assert_eq!(world.store.present(&[&package]).unwrap(), [None]);
        assert!(!world.store.deb(&package).exists());
    }

    #[test]
    fn a_decoded_package_that_was_altered_is_not_used() {
        let world = world();
        let package = chosen(b"good");
        let place = world.store.decoded.join(format!("{}_{}.deb", package.sha256, Sha256::of(b"plain")));
        fs::write(&place, "plain").unwrap();
        assert_eq!(world.store.present(&[&package]).unwrap(), [Some(PackageFile::Decoded(place.clone()))]);
        fs::write(&place, "evil").unwrap();
        assert_eq!(world.store.present(&[&package]).unwrap(), [None]);
    }

    #[test]
    fn foreign_files_in_the_cache_are_left_alone() {
        let world = world();
        let foreign = world.store.decoded.join("holiday_photo.deb");
        fs::write(&foreign, "mine").unwrap();
        world.store.present(&[&chosen(b"good")]).unwrap();
        assert!(foreign.exists());
    }

    #[test]
    fn results_come_in_the_order_of_the_items() {
        let items: Vec<u64> = (0..100).collect();
        assert_eq!(in_parallel(&items, |item| item * 2), items.iter().map(|item| item * 2).collect::<Vec<_>>());
        assert_eq!(file_name(&chosen(b"")), "dash_1%3a0.5_amd64.deb");
    }
}
