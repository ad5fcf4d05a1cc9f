//! Channels: named selections of builds.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use formats::image::ImageId;
use formats::name::Name;
use formats::time::Timestamp;
use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::data::{DataDir, Writer};
use crate::files;
use crate::store::{BuildId, in_order};

/// The builds that one channel offers, kept in `channels/<name>.json` with how they changed from publish to publish. A
/// build is in the store once, however many channels offer it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// The channel.
    pub name: Name,
    /// Its builds; clients see them after the next publish.
    pub builds: BTreeSet<BuildId>,
    /// What clients see.
    published: BTreeSet<BuildId>,
    /// What each publish changed, oldest first.
    history: Vec<Change>,
}

/// What one publish changed in a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// When it was published.
    pub published: Timestamp,
    /// Builds that clients see since then.
    pub added: BTreeSet<BuildId>,
    /// Builds that they do not see since then.
    pub removed: BTreeSet<BuildId>,
}

impl Channel {
    /// The channel whose documents are at the top of the repository.
    pub const STABLE: &str = "stable";
    /// The channel that builds are promoted from when nothing else is said.
    pub const STAGING: &str = "staging";

    /// Whether a channel's documents are at the top of the repository.
    pub fn is_stable(name: &Name) -> bool {
        name.as_str() == Self::STABLE
    }

    /// Reads a channel; one that nothing was imported into has no builds.
    pub fn read(data: &DataDir, name: &Name) -> Result<Self, ChannelError> {
        let Some(json) = files::read_if_there(&path(data, name))? else { return Ok(Self::new(name)) };
        let state: State =
            serde_json::from_slice(&json).map_err(|source| ChannelError::Damaged { path: path(data, name), source })?;
        let mut published = state.published.unwrap_or_else(|| state.builds.clone());
        published.retain(|build| !state.unpublished.added.contains(build));
        published.extend(state.unpublished.removed);
        Ok(Self { name: name.clone(), builds: state.builds, published, history: state.history })
    }

    fn new(name: &Name) -> Self {
        Self { name: name.clone(), builds: BTreeSet::new(), published: BTreeSet::new(), history: Vec::new() }
    }

    /// Every channel that exists: `staging` and `stable` always do.
    pub fn all(data: &DataDir) -> Result<Vec<Self>, ChannelError> {
        let mut names = BTreeSet::from([Self::STABLE, Self::STAGING].map(str::to_owned));
        for entry in fs::read_dir(data.channels())? {
            let name = entry?.file_name().into_string().unwrap_or_default();
            names.extend(name.strip_suffix(".json").map(str::to_owned));
        }
        let names = names.iter().filter_map(|name| name.parse::<Name>().ok());
        names.map(|name| Self::read(data, &name)).collect()
    }

    /// Writes the channel.
    pub fn write(&self, writer: &Writer) -> Result<(), ChannelError> {
        let state = Written {
            format: Format::V3,
            builds: &self.builds,
            unpublished: Unpublished::between(&self.published, &self.builds),
            history: &self.history,
        };
        let path = path(writer, &self.name);
        let json =
            serde_json::to_vec_pretty(&state).map_err(|source| ChannelError::Damaged { path: path.clone(), source })?;
        Ok(writer.put(&path, &[json.as_slice(), b"\n"].concat(), 0o644)?)
    }

    /// Adds a build to a channel; false if it was there.
    pub fn offer(writer: &Writer, name: &Name, build: &BuildId) -> Result<bool, ChannelError> {
        let mut channel = Self::read(writer, name)?;
        let is_new = channel.builds.insert(build.clone());
        if is_new {
            channel.write(writer)?;
        }
        Ok(is_new)
    }

    /// What each publish changed, oldest first.
    pub fn history(&self) -> &[Change] {
        &self.history
    }

    /// The newest build of an image.
    pub fn newest(&self, image: &ImageId) -> Option<&BuildId> {
        self.builds.iter().filter(|build| build.image == *image).max_by_key(|build| &build.serial)
    }

    /// Makes a build the one that clients of this channel get for its image: newer ones leave the channel, and are
    /// returned.
    pub fn promote(&mut self, build: &BuildId) -> Vec<BuildId> {
        let is_newer = |other: &&BuildId| other.image == build.image && other.serial > build.serial;
        let newer: Vec<BuildId> = self.builds.iter().filter(is_newer).cloned().collect();
        self.builds.retain(|other| !newer.contains(other));
        self.builds.insert(build.clone());
        newer
    }

    /// Goes back to the selection that was published before the one that is published now. What was selected and not
    /// published is dropped.
    pub fn roll_back(&mut self) -> Result<Change, ChannelError> {
        let nothing = || ChannelError::NothingBefore { channel: self.name.clone() };
        let change = self.history.last().cloned().ok_or_else(nothing)?;
        let mut before: BTreeSet<BuildId> = self.published.difference(&change.added).cloned().collect();
        before.extend(change.removed.iter().cloned());
        // Before its first publish a channel offered nothing: nobody wants to go back to that.
        if before.is_empty() {
            return Err(nothing());
        }
        self.history.pop();
        (self.builds, self.published) = (before.clone(), before);
        Ok(change)
    }

    /// Takes note that the selection is published; false if clients saw the same before.
    pub fn note_published(&mut self, published: Timestamp) -> bool {
        if self.builds == self.published {
            return false;
        }
        let Unpublished { added, removed } = Unpublished::between(&self.published, &self.builds);
        self.published.extend(added.iter().cloned());
        self.published.retain(|build| !removed.contains(build));
        self.history.push(Change { published, added, removed });
        let excess = self.history.len().saturating_sub(MOST_CHANGES);
        self.history.drain(..excess);
        true
    }

    /// Removes builds from every channel, for good; whether any had one.
    pub fn forget_in_all(writer: &Writer, gone: &BTreeSet<BuildId>) -> Result<bool, ChannelError> {
        let mut any = false;
        for mut channel in Self::all(writer)? {
            if channel.forget(gone) {
                channel.write(writer)?;
                any = true;
            }
        }
        Ok(any)
    }

    /// Takes builds out of the selection; clients see them until the next publish. Whether there was anything to take
    /// out.
    pub fn unlist(&mut self, builds: &BTreeSet<BuildId>) -> bool {
        let before = self.builds.len();
        self.builds.retain(|build| !builds.contains(build));
        self.builds.len() < before
    }

    /// Whether clients see the selection as it is.
    pub fn is_published(&self) -> bool {
        self.builds == self.published
    }

    /// Removes builds for good: going back does not bring them again. Whether there was anything to remove.
    pub fn forget(&mut self, gone: &BTreeSet<BuildId>) -> bool {
        let before = self.clone();
        for builds in [&mut self.builds, &mut self.published] {
            builds.retain(|build| !gone.contains(build));
        }
        for change in &mut self.history {
            change.added.retain(|build| !gone.contains(build));
            change.removed.retain(|build| !gone.contains(build));
        }
        self.history.retain(|change| !change.added.is_empty() || !change.removed.is_empty());
        *self != before
    }
}

/// What can be wrong with a channel.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// A state file that cannot be read.
    #[error("the channel's state `{}` is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        #[source]
        source: serde_json::Error,
    },
    /// A build that a channel does not have.
    #[error("channel `{channel}` has no {build}")]
    NoBuild {
        /// The channel.
        channel: Name,
        /// The image or build that was asked for.
        build: String,
    },
    /// A build that the store does not have.
    #[error("the store has no {build}")]
    NotInStore {
        /// The build that was asked for.
        build: Box<BuildId>,
    },
    /// There is nothing to go back to.
    #[error("channel `{channel}` has no selection before this one")]
    NothingBefore {
        /// The channel.
        channel: Name,
    },
    /// The file system failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl ChannelError {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoBuild { channel, .. } => {
                Some(format!("`rootcellar-server list --channel {channel}` shows what it has"))
            }
            Self::NotInStore { .. } => Some("`rootcellar-server list` shows what it has".to_owned()),
            Self::Damaged { .. } | Self::NothingBefore { .. } | Self::Io(_) => None,
        }
    }

    /// Whether the user asked for what is not there.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::NoBuild { .. } | Self::NotInStore { .. } | Self::NothingBefore { .. } => true,
            Self::Damaged { .. } | Self::Io(_) => false,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    #[serde(rename = "format")]
    _format: Format,
    #[serde(deserialize_with = "in_order")]
    builds: BTreeSet<BuildId>,
    /// All that clients see, in the second format, unless it is the same as `builds`.
    #[serde(default)]
    published: Option<BTreeSet<BuildId>>,
    #[serde(default)]
    unpublished: Unpublished,
    #[serde(default)]
    history: Vec<Change>,
}

#[derive(Serialize)]
struct Written<'a> {
    format: Format,
    builds: &'a BTreeSet<BuildId>,
    #[serde(skip_serializing_if = "Unpublished::is_empty")]
    unpublished: Unpublished,
    history: &'a [Change],
}

/// What the next publish will change.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Unpublished {
    added: BTreeSet<BuildId>,
    removed: BTreeSet<BuildId>,
}

impl Unpublished {
    fn between(published: &BTreeSet<BuildId>, builds: &BTreeSet<BuildId>) -> Self {
        let difference = |one: &BTreeSet<BuildId>, other| one.difference(other).cloned().collect();
        Self { added: difference(builds, published), removed: difference(published, builds) }
    }

    fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }
}

#[derive(Serialize, Deserialize)]
enum Format {
    /// Without what is published and without a history.
    #[serde(rename = "rootcellar-channel:1")]
    V1,
    /// With all that is published.
    #[serde(rename = "rootcellar-channel:2")]
    V2,
    /// With how that differs.
    #[serde(rename = "rootcellar-channel:3")]
    V3,
}

fn path(data: &DataDir, name: &Name) -> PathBuf {
    data.channels().join(format!("{name}.json"))
}

/// How many publishes can be undone.
const MOST_CHANGES: usize = 100;

#[cfg(test)]
mod tests {
    use terminal::Printer;

    use super::*;

    const OLD: &str = "debian/trixie/amd64/default@20261122_0522";
    const NEW: &str = "debian/trixie/amd64/default@20261123_0522";

    fn build(text: &str) -> BuildId {
        text.parse().unwrap()
    }

    /// A channel that published OLD and then NEW.
    fn twice() -> Channel {
        let mut channel = Channel::new(&"stable".parse().unwrap());
        for (second, text) in [(1, OLD), (2, NEW)] {
            channel.builds.insert(build(text));
            assert!(channel.note_published(Timestamp::from_unix(second)));
        }
        channel
    }

    #[test]
    fn a_channel_survives_its_own_file_and_staging_and_stable_always_exist() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::open(directory.path()).unwrap();
        let writer = data.write(&Printer::captured(true).0).unwrap();
        let mut channel = twice();
        channel.builds.clear();
        channel.write(&writer).unwrap();
        let names: Vec<_> = Channel::all(&data).unwrap().iter().map(|channel| channel.name.to_string()).collect();
        assert_eq!(names, ["stable", "staging"]);
        assert_eq!(Channel::read(&data, &channel.name).unwrap(), channel);
    }

    #[test]
    fn a_channel_of_the_first_format_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::open(directory.path()).unwrap();
        let json = format!(r#"{{"format":"rootcellar-channel:1","builds":["{OLD}"]}}"#);
        fs::write(data.channels().join("stable.json"), json).unwrap();
        let channel = Channel::read(&data, &"stable".parse().unwrap()).unwrap();
        assert!(channel.builds.contains(&build(OLD)) && channel.history().is_empty());
    }

    #[test]
    fn a_channel_of_the_second_format_is_read_and_written_in_the_third() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::open(directory.path()).unwrap();
        let json = format!(r#"{{"format":"rootcellar-channel:2","builds":["{NEW}"],"published":["{OLD}"]}}"#);
        fs::write(data.channels().join("stable.json"), json).unwrap();
        let channel = Channel::read(&data, &"stable".parse().unwrap()).unwrap();
        assert_eq!(
            (&channel.builds, &channel.published),
            (&BTreeSet::from([build(NEW)]), &BTreeSet::from([build(OLD)]))
        );
        channel.write(&data.write(&Printer::captured(true).0).unwrap()).unwrap();
        assert_eq!(Channel::read(&data, &channel.name).unwrap(), channel);
        let json = fs::read_to_string(data.channels().join("stable.json")).unwrap();
        assert!(json.contains("rootcellar-channel:3") && json.contains("unpublished"), "{json}");
    }

    #[test]
    fn a_damaged_channel_is_named_and_not_taken_for_an_empty_one() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::open(directory.path()).unwrap();
        fs::write(data.channels().join("stable.json"), r#"{"format":"rootcellar-channel:4","builds":[]}"#).unwrap();
        assert!(Channel::all(&data).unwrap_err().to_string().contains("stable.json"));
    }

    #[test]
    fn going_back_undoes_one_publish_after_the_other_and_what_was_never_published() {
        let mut channel = twice();
        channel.builds.remove(&build(OLD));
        channel.roll_back().unwrap();
        assert_eq!(channel.builds, BTreeSet::from([build(OLD)]));
        assert!(!channel.note_published(Timestamp::from_unix(3)));
        assert!(matches!(channel.roll_back(), Err(ChannelError::NothingBefore { .. })));
        assert_eq!(channel.builds, BTreeSet::from([build(OLD)]));
    }

    #[test]
    fn an_older_build_that_is_promoted_replaces_newer_ones() {
        let mut channel = twice();
        assert_eq!(channel.promote(&build(OLD)), [build(NEW)]);
        assert_eq!(channel.newest(&build(OLD).image), Some(&build(OLD)));
    }

    #[test]
    fn what_is_forgotten_is_not_brought_back() {
        let mut channel = twice();
        assert!(channel.forget(&BTreeSet::from([build(OLD)])));
        assert!(!channel.note_published(Timestamp::from_unix(3)));
        assert!(matches!(channel.roll_back(), Err(ChannelError::NothingBefore { .. })));
        assert_eq!(channel.builds, BTreeSet::from([build(NEW)]));
    }
}
