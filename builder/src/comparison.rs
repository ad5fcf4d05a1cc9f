//! What is different between two builds: packages, files, sizes, configuration, and how they were made.
//!
//! Every file that is looked at is compared with the digest in its build's record first, so that what is said of a
//! build is true of the build.

mod config;
mod files;
mod packages;

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use archive::members::MembersError;
use archive::unpack::UnpackError;
use formats::digest::FileDigest;
use formats::image::ImageId;
use formats::record::{BuildFile, BuildRecord};
use formats::serial::Serial;
use serde::Serialize;
use terminal::{Advice, ExitStatus};

pub(crate) use self::config::MemberChange;
pub(crate) use self::files::{FileChanges, FileName};
pub(crate) use self::packages::PackageChanges;

/// A build directory and its record.
pub(crate) struct Build {
    directory: PathBuf,
    record: BuildRecord,
}

/// Everything that is different.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Comparison {
    /// The first build.
    pub(crate) from: Name,
    /// The second.
    pub(crate) to: Name,
    /// Both were made of the same: builder, spec, packages and whatever else determines the content.
    pub(crate) same_inputs: bool,
    /// How they were made: builder, spec, overrides, source, the signed documents of the repositories.
    pub(crate) made: Vec<Change>,
    /// What is installed.
    pub(crate) packages: PackageChanges,
    /// What is in the root file system.
    pub(crate) files: FileChanges,
    /// The files of the build directories that have another size, and the unpacked root file system.
    pub(crate) sizes: Vec<SizeChange>,
    /// The members of the metadata and the resolved spec, line by line.
    pub(crate) config: Vec<MemberChange>,
}

/// Which build it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Name {
    /// The image.
    pub(crate) image: ImageId,
    /// The build.
    pub(crate) serial: Serial,
}

/// A property with two values. What is only in one of the builds is empty in the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    /// The property.
    pub(crate) what: String,
    /// Its value in the first build.
    pub(crate) from: String,
    /// Its value in the second.
    pub(crate) to: String,
}

/// A file of another size. One that is only in one of the builds has no size in the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct SizeChange {
    /// The file.
    pub(crate) file: String,
    /// Its size in the first build.
    pub(crate) from_bytes: Option<u64>,
    /// Its size in the second.
    pub(crate) to_bytes: Option<u64>,
}

impl Comparison {
    /// Compares two builds.
    pub(crate) fn of(from: &Build, to: &Build) -> Result<Self, ComparisonError> {
        Ok(Self {
            from: from.name(),
            to: to.name(),
            same_inputs: from.record.inputs == to.record.inputs,
            made: made(&from.record, &to.record),
            packages: PackageChanges::of(from, to)?,
            files: FileChanges::of(from, to)?,
            sizes: sizes(&from.record, &to.record),
            config: config::of(from, to)?,
        })
    }

    /// Whether nobody could tell the content of the two builds apart.
    pub(crate) fn is_empty(&self) -> bool {
        self.packages.is_empty() && self.files.is_empty() && self.config.is_empty()
    }
}

impl Build {
    /// The build in `directory`.
    pub(crate) fn read(directory: &Path) -> Result<Self, ComparisonError> {
        let path = directory.join("build.json");
        let text = fs_err::read(&path).map_err(|source| ComparisonError::NoBuild { path: directory.into(), source })?;
        let record = BuildRecord::from_json(&text);
        let record = record.map_err(|error| ComparisonError::Malformed { path, reason: error.to_string() })?;
        Ok(Self { directory: directory.into(), record })
    }

    fn name(&self) -> Name {
        Name { image: self.record.image.clone(), serial: self.record.serial.clone() }
    }

    fn path(&self, file: BuildFile) -> PathBuf {
        self.directory.join(file.name())
    }

    /// A file of the build, if it has one of that kind.
    fn content(&self, file: BuildFile) -> Result<Option<Vec<u8>>, ComparisonError> {
        let Some(expected) = self.record.files.get(&file) else { return Ok(None) };
        let mut content = Vec::new();
        let limit = expected.size_bytes.saturating_add(1);
        fs_err::File::open(self.path(file))?.take(limit).read_to_end(&mut content)?;
        self.check(file, *expected, FileDigest::of(&content))?;
        Ok(Some(content))
    }

    fn check(&self, file: BuildFile, expected: FileDigest, found: FileDigest) -> Result<(), ComparisonError> {
        if found == expected {
            return Ok(());
        }
        Err(ComparisonError::Altered { path: self.path(file), expected, found })
    }
}

fn made(from: &BuildRecord, to: &BuildRecord) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut add = |what: &str, from: String, to: String| {
        if from != to {
            changes.push(Change { what: what.to_owned(), from, to });
        }
    };
    let (one, other) = (&from.provenance, &to.provenance);
    add("builder", one.builder.clone(), other.builder.clone());
    add("spec", one.spec.to_string(), other.spec.to_string());
    add("overrides", one.overrides.join(" "), other.overrides.join(" "));
    add("source", one.source.clone(), other.source.clone());
    let titles = one.repositories.keys().chain(other.repositories.keys()).collect::<std::collections::BTreeSet<_>>();
    for title in titles {
        let digest = |record: &BuildRecord| record.provenance.repositories.get(title).map(ToString::to_string);
        add(title, digest(from).unwrap_or_default(), digest(to).unwrap_or_default());
    }
    add("aliases", from.aliases.join(" "), to.aliases.join(" "));
    let end = |record: &BuildRecord| record.end_of_life.clone().unwrap_or_default();
    add("end of life", end(from), end(to));
    changes
}

fn sizes(from: &BuildRecord, to: &BuildRecord) -> Vec<SizeChange> {
    let of = |record: &BuildRecord, file| record.files.get(&file).map(|digest| digest.size_bytes);
    let files = BuildFile::ALL.into_iter().map(|file| (file.to_string(), of(from, file), of(to, file)));
    let unpacked = [from, to].map(|record| Some(record.rootfs_tar.size_bytes));
    let all = files.chain([(UNPACKED.to_owned(), unpacked[0], unpacked[1])]);
    let changed = all.filter(|(_, from, to)| from != to);
    changed.map(|(file, from_bytes, to_bytes)| SizeChange { file, from_bytes, to_bytes }).collect()
}

/// What the archive in `rootfs.tar.xz` is called.
const UNPACKED: &str = "rootfs.tar";

/// Why builds cannot be compared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ComparisonError {
    #[error("no build is in `{}`", path.display())]
    NoBuild { path: PathBuf, source: io::Error },
    #[error("`{}` cannot be understood: {reason}", path.display())]
    Malformed { path: PathBuf, reason: String },
    #[error("`{}` is not what the build's record says: expected {expected}, found {found}", path.display())]
    Altered { path: PathBuf, expected: FileDigest, found: FileDigest },
    #[error("`{}` is no archive of a root file system", path.display())]
    Archive { path: PathBuf, source: UnpackError },
    #[error("`{}` is no metadata of an image", path.display())]
    Members { path: PathBuf, source: MembersError },
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Advice for ComparisonError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoBuild { .. } => Some("give two directories that `build` has printed".to_owned()),
            Self::Malformed { .. }
            | Self::Altered { .. }
            | Self::Archive { .. }
            | Self::Members { .. }
            | Self::Io(_) => None,
        }
    }

    fn exit_status(&self) -> ExitStatus {
        match self {
            Self::NoBuild { .. }
            | Self::Malformed { .. }
            | Self::Altered { .. }
            | Self::Archive { .. }
            | Self::Members { .. } => ExitStatus::Refused,
            Self::Io(_) => ExitStatus::Failed,
        }
    }
}
