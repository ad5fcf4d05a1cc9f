//! The cache: what earlier builds fetched and made, for the builds after them.
//!
//! ```text
//! <cache>/
//! ├── CACHEDIR.TAG     says that this is a cache, and whose: a directory without it is not ours
//! ├── lock             shared by builds, exclusive to `cache prune`
//! ├── v1/debs/         package files that package managers in images downloaded (`cache::packages`)
//! ├── bootstrap/v1/    what the builder's own bootstrap keeps (`bootstrap::store`, `bootstrap::apt`)
//! ├── downloads/v1/    archives that others publish (`source::store`)
//! └── stages/v1/       what finished stages left (`cache::stages`)
//! ```
//!
//! Nothing here is needed: whatever is missing is fetched or made again. The directory is never emptied as a whole, and
//! one that holds other people's files is refused instead of used.

pub(crate) mod lock;
pub(crate) mod packages;
pub(crate) mod prune;
pub(crate) mod stages;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use formats::digest::Sha256;
use terminal::{Advice, ExitStatus};

use self::lock::{Lock, Mode};

/// A cache that this process uses.
pub(crate) struct Cache {
    root: PathBuf,
    lock: File,
}

impl Cache {
    /// The cache in `root`, which is made where there is none. It waits for a prune to end, not longer than `deadline`.
    pub(crate) fn open(root: &Path, deadline: Option<Instant>) -> Result<Self, CacheError> {
        let cache = Self::find(root)?;
        if !lock::take(&cache.lock, Mode::Shared, deadline)? {
            return Err(CacheError::Busy { path: root.to_owned() });
        }
        Ok(cache)
    }

    /// The same for one who removes things: nobody else may use the cache meanwhile.
    pub(crate) fn open_alone(root: &Path) -> Result<Self, CacheError> {
        let cache = Self::find(root)?;
        cache.alone().map(|alone| alone.then_some(cache))?.ok_or_else(|| CacheError::Busy { path: root.to_owned() })
    }

    /// Whether nobody else uses the cache. From here on nobody else can.
    pub(crate) fn alone(&self) -> Result<bool, CacheError> {
        Ok(lock::try_take(&self.lock, Mode::Exclusive)?)
    }

    /// Where it is.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    fn find(root: &Path) -> Result<Self, CacheError> {
        fs_err::create_dir_all(root)?;
        let tag = root.join(TAG);
        match fs_err::read_to_string(&tag) {
            Ok(text) if text.lines().any(|line| line == OURS) => {}
            Ok(_) => return Err(CacheError::Foreign { path: root.to_owned(), found: TAG.to_owned() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(found) = foreign(root)? {
                    return Err(CacheError::Foreign { path: root.to_owned(), found });
                }
                let mut file = tempfile::Builder::new().prefix(".tag-").tempfile_in(root)?;
                io::Write::write_all(&mut file, format!("{SIGNATURE}\n{OURS}\n").as_bytes())?;
                file.persist(tag).map_err(|error| error.error)?;
            }
            Err(error) => return Err(error.into()),
        }
        let lock: Lock = fs_err::File::create(root.join("lock"))?.into_parts().0;
        Ok(Self { root: root.to_owned(), lock })
    }
}

/// The name of something that no cache holds.
fn foreign(root: &Path) -> io::Result<Option<String>> {
    for entry in fs_err::read_dir(root)? {
        let name = entry?.file_name().display().to_string();
        if !OWN_NAMES.contains(&name.as_str()) && !name.starts_with(".tag-") {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Why the cache was not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CacheError {
    #[error("`{}` is no cache of this program: it holds `{found}`", path.display())]
    Foreign { path: PathBuf, found: String },
    #[error("the cache `{}` is in use", path.display())]
    Busy { path: PathBuf },
    #[error("package `{name}` is not the one in the signed package lists: expected sha256 {expected}, found {found}")]
    Altered { name: String, expected: Sha256, found: Sha256 },
    #[error("the cache cannot be used")]
    Io(#[from] io::Error),
}

impl Advice for CacheError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Foreign { .. } => Some("give a new or an empty directory with `--cache`".to_owned()),
            Self::Busy { .. } => Some("try again when no build is running".to_owned()),
            Self::Altered { .. } => {
                Some("remove the package from the cache, or build without one with `--no-cache`".to_owned())
            }
            Self::Io(_) => None,
        }
    }

    fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Foreign { .. } | Self::Altered { .. } => ExitStatus::Refused,
            Self::Busy { .. } | Self::Io(_) => ExitStatus::Failed,
        }
    }
}

/// The standard of <https://bford.info/cachedir/>: backups leave such a directory out.
const TAG: &str = "CACHEDIR.TAG";
const SIGNATURE: &str = "Signature: 8a477f597d28d172789f06886806bc55";
const OURS: &str = "# The cache of rootcellar-builder: what is in here can be made again.";
const OWN_NAMES: [&str; 5] = ["v1", "bootstrap", "downloads", "stages", "lock"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_with_foreign_files_is_refused_and_left_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("holiday_photo.jpg"), "mine").unwrap();
        let refused = Cache::open(directory.path(), None).map(|_| ()).unwrap_err();
        assert!(refused.to_string().contains("holiday_photo.jpg"), "{refused}");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        std::fs::rename(directory.path().join("holiday_photo.jpg"), directory.path().join(TAG)).unwrap();
        assert!(matches!(Cache::open(directory.path(), None), Err(CacheError::Foreign { .. })));
    }

    #[test]
    fn a_cache_is_known_by_its_tag_whatever_else_lies_in_it_later() {
        let directory = tempfile::tempdir().unwrap();
        Cache::open(directory.path(), None).unwrap();
        std::fs::write(directory.path().join("holiday_photo.jpg"), "mine").unwrap();
        Cache::open(directory.path(), None).unwrap();
    }

    #[test]
    fn builds_share_a_cache_and_one_who_removes_things_has_it_alone() {
        let directory = tempfile::tempdir().unwrap();
        let first = Cache::open(directory.path(), None).unwrap();
        let second = Cache::open(directory.path(), None).unwrap();
        assert!(matches!(Cache::open_alone(directory.path()), Err(CacheError::Busy { .. })));
        drop(second);
        assert!(first.alone().unwrap());
        let soon = Some(Instant::now() + std::time::Duration::from_millis(200));
        assert!(matches!(Cache::open(directory.path(), soon), Err(CacheError::Busy { .. })));
        drop(first);
        Cache::open_alone(directory.path()).unwrap();
    }
}
