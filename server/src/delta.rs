//! Deltas: which there are, which are wanted, and how they go away. [`formats::delta`] says what they are.

pub mod make;

mod squashfs;
mod tar;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

use formats::delta::DeltaKind;
use formats::digest::FileDigest;
use formats::image::ImageId;
use formats::serial::Serial;
use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::channel::Channel;
use crate::data::{DataDir, Writer};
use crate::files;
use crate::store::{BuildId, Store};

/// One delta: it makes a file of `build` out of that of an earlier build of the same image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeltaId {
    /// The build it makes, in whose directory it stands.
    pub build: BuildId,
    /// What it is made of.
    pub kind: DeltaKind,
    /// The build it starts from.
    pub base: Serial,
}

impl DeltaId {
    /// The name of its file, which stands with the build.
    pub fn name(&self) -> String {
        self.kind.file_name(&self.base)
    }
}

impl fmt::Display for DeltaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.build, self.name())
    }
}

/// The deltas of the store, kept in `deltas.json`. A delta that it does not name is not served, whatever stands in the
/// directory of a build, and one that turned out too large is not made again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deltas {
    made: BTreeMap<BuildId, BTreeMap<FileName, FileDigest>>,
    too_large: BTreeMap<BuildId, BTreeSet<FileName>>,
}

impl Deltas {
    /// Reads the list; before the first delta it is empty.
    pub fn read(data: &DataDir) -> Result<Self, DeltaError> {
        let path = data.deltas();
        let Some(json) = files::read_if_there(&path)? else { return Ok(Self::default()) };
        let state: State = serde_json::from_slice(&json).map_err(|source| DeltaError::Damaged { path, source })?;
        Ok(Self { made: state.made, too_large: state.too_large })
    }

    /// Writes the list.
    pub fn write(&self, writer: &Writer) -> Result<(), DeltaError> {
        let path = writer.deltas();
        let state = State { format: Format::V1, made: self.made.clone(), too_large: self.too_large.clone() };
        let json = serde_json::to_vec(&state).map_err(|source| DeltaError::Damaged { path: path.clone(), source })?;
        Ok(writer.put(&path, &[json.as_slice(), b"\n"].concat(), 0o644)?)
    }

    /// The deltas of a build.
    pub fn of<'a>(&'a self, build: &BuildId) -> impl Iterator<Item = (DeltaKind, &'a Serial, FileDigest)> + use<'a> {
        let made = self.made.get(build).into_iter().flatten();
        made.map(|(name, digest)| (name.kind, &name.base, *digest))
    }

    /// Size and digest of a delta.
    pub fn get(&self, delta: &DeltaId) -> Option<FileDigest> {
        self.made.get(&delta.build)?.get(&FileName::of(delta)).copied()
    }

    /// Whether a delta was made, or was found to be too large.
    pub fn is_known(&self, delta: &DeltaId) -> bool {
        let too_large = self.too_large.get(&delta.build).is_some_and(|names| names.contains(&FileName::of(delta)));
        too_large || self.get(delta).is_some()
    }

    fn add(&mut self, delta: &DeltaId, digest: FileDigest) {
        self.made.entry(delta.build.clone()).or_default().insert(FileName::of(delta), digest);
    }

    fn add_too_large(&mut self, delta: &DeltaId) {
        self.too_large.entry(delta.build.clone()).or_default().insert(FileName::of(delta));
    }

    /// Forgets one delta, so that it is made again.
    fn remove(&mut self, delta: &DeltaId) {
        if let Some(made) = self.made.get_mut(&delta.build) {
            made.remove(&FileName::of(delta));
        }
    }

    /// Forgets the deltas that make builds of `gone` and those that start from one.
    fn forget(&mut self, gone: &BTreeSet<BuildId>) {
        let stays = |build: &BuildId, name: &FileName| {
            !gone.contains(&BuildId { image: build.image.clone(), serial: name.base.clone() })
        };
        self.made.retain(|build, made| {
            made.retain(|name, _| stays(build, name));
            !gone.contains(build) && !made.is_empty()
        });
        self.too_large.retain(|build, names| {
            names.retain(|name| stays(build, name));
            !gone.contains(build) && !names.is_empty()
        });
    }
}

/// The list as it was last read; it is read again when it has changed on disk.
#[derive(Debug, Default)]
pub struct DeltaList {
    read: Option<(Stamp, Arc<Deltas>)>,
}

impl DeltaList {
    /// The deltas there are.
    pub fn current(&mut self, data: &DataDir) -> Result<Arc<Deltas>, DeltaError> {
        let stamp = match fs::metadata(data.deltas()) {
            Ok(metadata) => (metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Stamp::default(),
            Err(error) => return Err(error.into()),
        };
        if let Some((_, deltas)) = self.read.as_ref().filter(|(read, _)| *read == stamp) {
            return Ok(Arc::clone(deltas));
        }
        let deltas = Arc::new(Deltas::read(data)?);
        self.read = Some((stamp, Arc::clone(&deltas)));
        Ok(deltas)
    }
}

/// Two builds of one image between which deltas are wanted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step {
    /// The build that hosts want.
    pub build: BuildId,
    /// The build that they have.
    pub base: Serial,
}

/// The steps that hosts take: in every channel, from the build before to the newest one of each image. More would cost
/// time and room, and a version may list one delta of each kind only.
pub fn steps(channels: &[Channel]) -> BTreeSet<Step> {
    let mut steps = BTreeSet::new();
    for channel in channels {
        let mut images: BTreeMap<&ImageId, Vec<&Serial>> = BTreeMap::new();
        for build in &channel.builds {
            images.entry(&build.image).or_default().push(&build.serial);
        }
        for (image, serials) in &mut images {
            serials.sort();
            if let [.., base, newest] = serials.as_slice() {
                let build = BuildId { image: (*image).clone(), serial: (*newest).clone() };
                steps.insert(Step { build, base: (*base).clone() });
            }
        }
    }
    steps
}

/// Forgets what can no longer be used when builds are gone, or about to go: their deltas and those that start from
/// them.
pub fn forget(writer: &Writer, gone: &BTreeSet<BuildId>) -> Result<(), DeltaError> {
    let mut deltas = Deltas::read(writer)?;
    let before = deltas.clone();
    deltas.forget(gone);
    if deltas != before {
        deltas.write(writer)?;
    }
    let images: BTreeSet<&ImageId> = gone.iter().map(|build| &build.image).collect();
    images.into_iter().try_for_each(|image| sweep(writer, image, &deltas))
}

/// Forgets damaged deltas and removes their files. They can be made again.
pub fn discard(writer: &Writer, damaged: &BTreeSet<DeltaId>) -> Result<(), DeltaError> {
    let mut deltas = Deltas::read(writer)?;
    for delta in damaged {
        deltas.remove(delta);
    }
    deltas.write(writer)?;
    let images: BTreeSet<&ImageId> = damaged.iter().map(|delta| &delta.build.image).collect();
    images.into_iter().try_for_each(|image| sweep(writer, image, &deltas))
}

/// Removes the files of deltas that are not on the list: it is written first when deltas go, and last when they come.
fn sweep(writer: &Writer, image: &ImageId, deltas: &Deltas) -> Result<(), DeltaError> {
    let store = Store::new(writer);
    for build in store.builds_of(image)? {
        for name in store.names(&build)? {
            let Some((kind, base)) = DeltaKind::parse_file_name(&name) else { continue };
            if deltas.get(&DeltaId { build: build.clone(), kind, base }).is_none() {
                store.discard(writer, &build, &name)?;
            }
        }
    }
    Ok(())
}

/// Why there is no delta.
#[derive(Debug, thiserror::Error)]
pub enum DeltaError {
    /// The list cannot be read.
    #[error("the state `{}` is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        #[source]
        source: serde_json::Error,
    },
    /// A file of the store is not what its record says.
    #[error("{file} of {build} is damaged: expected {expected}, found {found}")]
    DamagedFile {
        /// The build.
        build: Box<BuildId>,
        /// The file, or what is in it.
        file: &'static str,
        /// What the record says.
        expected: FileDigest,
        /// What was read.
        found: FileDigest,
    },
    /// A delta that does not give back what it was made from.
    #[error("the delta {delta} is wrong: expected {expected}, found {found}")]
    Wrong {
        /// The delta.
        delta: Box<DeltaId>,
        /// What should come out of it.
        expected: FileDigest,
        /// What does.
        found: FileDigest,
    },
    /// `xdelta3` failed.
    #[error("`xdelta3` failed for {delta}: {said}")]
    Program {
        /// The delta.
        delta: Box<DeltaId>,
        /// Its status and what it said.
        said: String,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// The channels.
    #[error(transparent)]
    Channel(#[from] crate::channel::ChannelError),
    /// The file system failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl DeltaError {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::DamagedFile { .. } => Some("`rootcellar-server verify` moves damaged builds aside".to_owned()),
            Self::Damaged { path, .. } => Some(format!("remove `{}`: deltas can be made again", path.display())),
            Self::Wrong { .. } | Self::Program { .. } | Self::Store(_) | Self::Channel(_) | Self::Io(_) => None,
        }
    }
}

/// The name of a delta's file, which says everything but the build.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct FileName {
    kind: DeltaKind,
    base: Serial,
}

impl FileName {
    fn of(delta: &DeltaId) -> Self {
        Self { kind: delta.kind, base: delta.base.clone() }
    }
}

impl TryFrom<String> for FileName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let (kind, base) = DeltaKind::parse_file_name(&name).ok_or_else(|| format!("`{name}` names no delta"))?;
        Ok(Self { kind, base })
    }
}

impl From<FileName> for String {
    fn from(name: FileName) -> Self {
        name.kind.file_name(&name.base)
    }
}

/// Inode, time of modification and size: the file is only ever replaced.
type Stamp = (u64, i64, i64, u64);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    format: Format,
    made: BTreeMap<BuildId, BTreeMap<FileName, FileDigest>>,
    too_large: BTreeMap<BuildId, BTreeSet<FileName>>,
}

#[derive(Serialize, Deserialize)]
enum Format {
    #[serde(rename = "rootcellar-deltas:1")]
    V1,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delta(build: &str, base: &str) -> DeltaId {
        DeltaId { build: build.parse().unwrap(), kind: DeltaKind::Tar, base: base.parse().unwrap() }
    }

    const OLD: &str = "debian/trixie/amd64/default@20261121_0522";
    const NEW: &str = "debian/trixie/amd64/default@20261123_0522";

    #[test]
    fn the_list_survives_its_own_file_and_is_read_again_when_it_changed() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::open(directory.path()).unwrap();
        let writer = data.write(&terminal::Printer::captured(true).0).unwrap();
        let (mut list, mut deltas) = (DeltaList::default(), Deltas::default());
        assert_eq!(*list.current(&data).unwrap(), deltas);
        deltas.add(&delta(NEW, "20261121_0522"), FileDigest::of(b"delta"));
        deltas.add_too_large(&delta(NEW, "20261120_0522"));
        deltas.write(&writer).unwrap();
        assert_eq!(*list.current(&data).unwrap(), deltas);
    }

    #[test]
    fn a_delta_goes_with_its_base_and_with_its_build() {
        for gone in [OLD, NEW] {
            let mut deltas = Deltas::default();
            deltas.add(&delta(NEW, "20261121_0522"), FileDigest::of(b"delta"));
            deltas.add_too_large(&delta(NEW, "20261121_0522"));
            deltas.forget(&BTreeSet::from(["debian/trixie/amd64/cloud@20261121_0522".parse().unwrap()]));
            assert!(deltas.get(&delta(NEW, "20261121_0522")).is_some());
            deltas.forget(&BTreeSet::from([gone.parse().unwrap()]));
            assert_eq!(deltas, Deltas::default(), "{gone}");
        }
    }

    #[test]
    fn hosts_step_to_the_newest_build_of_a_channel_from_the_one_before() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::open(directory.path()).unwrap();
        let mut stable = Channel::read(&data, &"stable".parse().unwrap()).unwrap();
        let mut staging = Channel::read(&data, &"staging".parse().unwrap()).unwrap();
        for serial in ["20261121_0522", "20261122_0522", "20261123_0522"] {
            let build: BuildId = format!("debian/trixie/amd64/default@{serial}").parse().unwrap();
            staging.builds.insert(build.clone());
            if serial != "20261122_0522" {
                stable.builds.insert(build);
            }
        }
        stable.builds.insert("debian/trixie/amd64/cloud@20261121_0522".parse().unwrap());
        let step = |base: &str| Step { build: NEW.parse().unwrap(), base: base.parse().unwrap() };
        assert_eq!(steps(&[stable, staging]), BTreeSet::from([step("20261121_0522"), step("20261122_0522")]));
    }
}
