//! Builds in an object store that speaks S3.

mod claim;
mod client;
mod object;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use formats::image::ImageId;
use fs_err as fs;

use super::backend::{Backend, Opened};
use super::id::BuildId;
use super::settings::Settings;
use super::{MOST_COPIES, RECORD};
use crate::checkpoint::checkpoint;
pub(crate) use claim::Claim;
use client::Client;
pub use client::ObjectsError;
pub use object::Object;

/// The builds of one bucket, or of one part of it.
///
/// ```text
/// s3://<bucket>/<prefix>/
/// ├── owner.json                                                     the data directory that writes here
/// ├── images/<distribution>/<release>/<arch>/<variant>/<serial>/…    as in a directory
/// └── quarantine/<distribution>/…/<serial>[.<number>]/…              damaged builds
/// ```
///
/// Objects cannot be renamed together, so a build is there when its record is: `build.json` is written last and removed
/// first. No write is conditional: there are stores that ignore the condition, and what must not happen twice happens
/// under the lock of the one data directory that owns the place.
#[derive(Debug)]
pub(crate) struct Objects {
    client: Arc<Client>,
}

impl Objects {
    /// The place that settings name. Nothing is connected to before it is needed.
    pub(crate) fn open(settings: &Settings) -> io::Result<Self> {
        Ok(Self { client: Arc::new(Client::open(settings)?) })
    }

    fn key(build: &BuildId, name: &str) -> String {
        format!("{}/{name}", directory(build))
    }

    /// The names below a directory, each with the key of its object.
    fn below(&self, directory: &str) -> io::Result<BTreeMap<String, String>> {
        let keys = self.client.list(directory)?;
        let name = |key: String| Some((key.strip_prefix(directory)?.strip_prefix('/')?.to_owned(), key));
        Ok(keys.into_iter().filter_map(name).collect())
    }

    /// The builds with a record below a directory.
    fn builds_below(&self, directory: &str) -> io::Result<Vec<BuildId>> {
        let keys = self.client.list(directory)?;
        let path = |key: &String| {
            let path = key.strip_prefix(IMAGES)?.strip_suffix(RECORD)?.trim_matches('/');
            BuildId::from_path(path)
        };
        Ok(keys.iter().filter_map(path).collect())
    }

    /// Removes objects, the record first.
    fn remove_all(&self, names: &BTreeMap<String, String>) -> io::Result<()> {
        if let Some(record) = names.get(RECORD) {
            self.client.remove(record)?;
            checkpoint("objects:record-removed");
        }
        names.values().filter(|key| names.get(RECORD) != Some(*key)).try_for_each(|key| self.client.remove(key))
    }
}

impl Backend for Objects {
    fn builds(&self) -> io::Result<Vec<BuildId>> {
        self.builds_below(IMAGES)
    }

    fn builds_of(&self, image: &ImageId) -> io::Result<Vec<BuildId>> {
        self.builds_below(&format!("{IMAGES}/{image}"))
    }

    fn names(&self, build: &BuildId) -> io::Result<Vec<String>> {
        Ok(self.below(&directory(build))?.into_keys().collect())
    }

    fn read(&self, build: &BuildId, name: &str, limit_bytes: u64) -> io::Result<Option<Vec<u8>>> {
        self.client.read(&Self::key(build, name), limit_bytes)
    }

    fn open(&self, build: &BuildId, name: &str) -> io::Result<Option<Opened>> {
        let key = Self::key(build, name);
        let Some(meta) = self.client.head(&key)? else { return Ok(None) };
        Ok(Some(Opened::Object(Object::new(Arc::clone(&self.client), key, &meta))))
    }

    fn path(&self, _: &BuildId, _: &str) -> Option<PathBuf> {
        None
    }

    fn place(&self, build: &BuildId, staged: PathBuf) -> io::Result<()> {
        self.client.expect_owner()?;
        if self.client.head(&Self::key(build, RECORD))?.is_some() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it is there already"));
        }
        let mut files: Vec<PathBuf> =
            fs::read_dir(&staged)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
        files.sort_by_key(|path| path.ends_with(RECORD));
        for path in files {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if name == RECORD {
                checkpoint("objects:before-record");
            }
            self.client.upload(&Self::key(build, name), &path)?;
        }
        fs::remove_dir_all(staged)
    }

    fn add(&self, build: &BuildId, name: &str, made: &Path) -> io::Result<()> {
        self.client.expect_owner()?;
        self.client.upload(&Self::key(build, name), made)?;
        fs::remove_file(made)
    }

    fn discard(&self, build: &BuildId, name: &str) -> io::Result<()> {
        self.client.expect_owner()?;
        self.client.remove(&Self::key(build, name))
    }

    fn remove(&self, build: &BuildId, _: &Path) -> io::Result<()> {
        self.client.expect_owner()?;
        self.remove_all(&self.below(&directory(build))?)
    }

    fn set_aside(&self, build: &BuildId, _: &Path) -> io::Result<Option<String>> {
        self.client.expect_owner()?;
        let names = self.below(&directory(build))?;
        if names.is_empty() {
            return Ok(None);
        }
        let parent = format!("{QUARANTINE}/{}/{}", build.image, build.serial);
        let mut aside = None;
        for number in 1..MOST_COPIES {
            let place = if number == 1 { parent.clone() } else { format!("{parent}.{number}") };
            if self.below(&place)?.is_empty() {
                aside = Some(place);
                break;
            }
        }
        let Some(aside) = aside else {
            let reason = format!("`{}` holds too many copies of one build", self.client.url(&parent));
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, reason));
        };
        for (name, key) in &names {
            self.client.copy(key, &format!("{aside}/{name}"))?;
        }
        self.remove_all(&names)?;
        Ok(Some(self.client.url(&aside)))
    }

    /// A build that has no record was on its way in or out.
    fn sweep(&self) -> io::Result<usize> {
        self.client.expect_owner()?;
        let keys = self.client.list(IMAGES)?;
        let parent = |key: &str| key.rsplit_once('/').map(|(parent, _)| parent.to_owned()).unwrap_or_default();
        let whole: std::collections::BTreeSet<String> =
            keys.iter().filter(|key| key.ends_with(RECORD)).map(|key| parent(key)).collect();
        let left: Vec<&String> = keys.iter().filter(|key| !whole.contains(&parent(key))).collect();
        for key in &left {
            self.client.remove(key)?;
        }
        Ok(left.len())
    }
}

fn directory(build: &BuildId) -> String {
    formats::layout::build_dir(&build.image, &build.serial)
}

const IMAGES: &str = "images";
const QUARANTINE: &str = "quarantine";
