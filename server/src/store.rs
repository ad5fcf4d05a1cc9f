//! The builds of a server.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use formats::image::{ImageId, ParseImageIdError};
use formats::layout;
use formats::record::BuildRecord;
use formats::serial::Serial;
use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::data::DataDir;
use crate::limits::Limits;

/// One build of one image, written `debian/trixie/amd64/default@20261123_0522`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BuildId {
    /// The image.
    pub image: ImageId,
    /// The build's serial.
    pub serial: Serial,
}

impl BuildId {
    /// The build a record is about.
    pub fn of(record: &BuildRecord) -> Self {
        Self { image: record.image.clone(), serial: record.serial.clone() }
    }
}

impl FromStr for BuildId {
    type Err = ParseImageIdError;

    fn from_str(text: &str) -> Result<Self, ParseImageIdError> {
        let (image, serial) = text.split_once('@').unwrap_or((text, ""));
        Ok(Self { image: image.parse()?, serial: serial.parse()? })
    }
}

impl TryFrom<String> for BuildId {
    type Error = ParseImageIdError;

    fn try_from(text: String) -> Result<Self, ParseImageIdError> {
        text.parse()
    }
}

impl From<BuildId> for String {
    fn from(build: BuildId) -> Self {
        build.to_string()
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.image, self.serial)
    }
}

/// An image, or one build of it, written `debian/trixie/amd64/default[@20261123_0522]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildQuery {
    /// The image.
    pub image: ImageId,
    /// The build's serial, if one was named.
    pub serial: Option<Serial>,
}

impl FromStr for BuildQuery {
    type Err = ParseImageIdError;

    fn from_str(text: &str) -> Result<Self, ParseImageIdError> {
        match text.split_once('@') {
            Some((image, serial)) => Ok(Self { image: image.parse()?, serial: Some(serial.parse()?) }),
            None => Ok(Self { image: text.parse()?, serial: None }),
        }
    }
}

impl fmt::Display for BuildQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.serial {
            Some(serial) => write!(f, "{}@{serial}", self.image),
            None => write!(f, "{}", self.image),
        }
    }
}

/// The store: every build that was imported, each in the directory it is served from. It is the truth about builds;
/// whatever else names them can be made from it again.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// The store of a data directory.
    pub fn new(data: &DataDir) -> Self {
        Self { root: data.root().to_path_buf() }
    }

    /// The directory of a build.
    pub fn directory(&self, build: &BuildId) -> PathBuf {
        self.root.join(layout::build_dir(&build.image, &build.serial))
    }

    /// Every build, in order. What is not named like a build is none.
    pub fn builds(&self) -> io::Result<Vec<BuildId>> {
        let mut paths = vec![String::new()];
        for _ in 0..LEVELS {
            let mut deeper = Vec::new();
            for path in paths {
                for name in names(&self.root.join("images").join(&path))? {
                    deeper.push(if path.is_empty() { name } else { format!("{path}/{name}") });
                }
            }
            paths = deeper;
        }
        let parse = |path: &String| {
            let (image, serial) = path.rsplit_once('/')?;
            let build = BuildId { image: image.parse().ok()?, serial: serial.parse().ok()? };
            (build.image.to_string() == image).then_some(build)
        };
        let mut builds: Vec<_> = paths.iter().filter_map(parse).collect();
        builds.sort();
        Ok(builds)
    }

    /// The builds of one image, in order.
    pub fn builds_of(&self, image: &ImageId) -> io::Result<Vec<BuildId>> {
        let directory = self.root.join("images").join(image.to_string());
        if !directory.is_dir() {
            return Ok(Vec::new());
        }
        let serials = names(&directory)?.into_iter().filter_map(|name| name.parse().ok());
        let mut builds: Vec<_> = serials.map(|serial| BuildId { image: image.clone(), serial }).collect();
        builds.sort();
        Ok(builds)
    }

    /// The record of a build, or `None` when the build is not in the store.
    pub fn record(&self, build: &BuildId) -> Result<Option<BuildRecord>, StoreError> {
        let limit = Limits::default().record_bytes;
        let mut json = Vec::new();
        match fs::File::open(self.directory(build).join(RECORD)) {
            Ok(file) => file.take(limit + 1).read_to_end(&mut json)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let record = BuildRecord::from_json(&json)
            .map_err(|source| StoreError::Record { build: Box::new(build.clone()), source })?;
        if BuildId::of(&record) == *build {
            Ok(Some(record))
        } else {
            Err(StoreError::Misplaced { build: Box::new(build.clone()), found: Box::new(BuildId::of(&record)) })
        }
    }
}

/// What can be wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A record that cannot be read.
    #[error("the record of {build} in the store is damaged")]
    Record {
        /// The build.
        build: Box<BuildId>,
        /// What the parser says.
        #[source]
        source: serde_json::Error,
    },
    /// A record in the directory of another build.
    #[error("the store has a wrong record: expected {build}, found {found}")]
    Misplaced {
        /// The build by its directory.
        build: Box<BuildId>,
        /// The build by its record.
        found: Box<BuildId>,
    },
    /// The file system failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The name of the build record.
pub const RECORD: &str = "build.json";

/// Distribution, release, architecture, variant, serial.
const LEVELS: usize = 5;

fn names(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            names.extend(entry.file_name().into_string());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUILD: &str = "debian/trixie/amd64/default@20261123_0522";

    #[test]
    fn a_build_is_written_as_image_at_serial() {
        let build: BuildId = BUILD.parse().unwrap();
        assert_eq!(build.to_string(), BUILD);
        for text in ["debian/trixie/amd64/default", "debian@20261123_0522", "../x/amd64/y@20261123_0522"] {
            assert!(text.parse::<BuildId>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_directories_named_like_a_build_are_builds() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::open(directory.path()).unwrap();
        for path in [
            "debian/trixie/amd64/default/20261123_0522",
            "debian/trixie/amd64/default/lost+found",
            "debian/trixie/x86_64/default/20261123_0522",
            "debian/trixie/amd64/.hidden/20261123_0522",
        ] {
            fs::create_dir_all(data.images().join(path)).unwrap();
        }
        fs::write(data.images().join("README"), "").unwrap();
        let builds = Store::new(&data).builds().unwrap();
        assert_eq!(builds.iter().map(ToString::to_string).collect::<Vec<_>>(), [BUILD]);
    }

    #[test]
    fn a_record_of_another_build_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::open(directory.path()).unwrap();
        let store = Store::new(&data);
        let build: BuildId = BUILD.parse().unwrap();
        assert!(store.record(&build).unwrap().is_none());
        fs::create_dir_all(store.directory(&build)).unwrap();
        let other = testkit::FakeImage::new("debian/trixie/amd64/cloud").record();
        fs::write(store.directory(&build).join(RECORD), other.to_json()).unwrap();
        assert!(matches!(store.record(&build), Err(StoreError::Misplaced { .. })));
        fs::write(store.directory(&build).join(RECORD), "{").unwrap();
        assert!(matches!(store.record(&build), Err(StoreError::Record { .. })));
    }
}
