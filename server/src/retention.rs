//! Retention: which builds are kept, and how long what was listed stays downloadable.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

use formats::image::ImageId;
use formats::time::{Span, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::channel::Channel;
use crate::data::{DataDir, Writer};
use crate::files;
use crate::store::{BuildId, Store, in_order};

/// Which builds are kept. Pinned builds always are, and so is the newest build of an image, in every channel and in
/// the store: nothing ever removes the last good one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The newest builds of each image that are kept, per channel; of an image past its end of life one is.
    pub keep: usize,
    /// Builds that are younger than this are kept as well.
    pub older_than: Option<Span>,
    /// How long a build can be downloaded after the last generation that lists it.
    pub grace: Span,
}

impl Retention {
    /// The number of builds that are kept when nothing else is said.
    pub const KEEP: usize = 3;
    /// Clients and their daemons hold an index for hours; a day is what they are promised.
    pub const GRACE: Span = Span::from_days(1);
}

/// A build as retention sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The build.
    pub build: BuildId,
    /// When it was made.
    pub created: Timestamp,
    /// Whether its image is past its end of life.
    pub is_past_end_of_life: bool,
}

/// What a prune does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Builds that leave every channel with the next generation.
    pub unlist: BTreeSet<BuildId>,
    /// Builds that are in no channel and can no longer be downloaded after this.
    pub remove: BTreeSet<BuildId>,
    /// Builds that will be removed, and when: an index that names them may still be in use.
    pub waiting: BTreeMap<BuildId, Timestamp>,
}

impl Retention {
    /// What to do with the builds of the store, which are `candidates`.
    pub fn plan(
        &self,
        candidates: &[Candidate],
        channels: &[Channel],
        pins: &BTreeSet<BuildId>,
        ledger: &Ledger,
        now: Timestamp,
    ) -> Plan {
        let mut images: BTreeMap<&ImageId, Vec<&Candidate>> = BTreeMap::new();
        for candidate in candidates {
            images.entry(&candidate.build.image).or_default().push(candidate);
        }
        let mut kept: BTreeSet<&BuildId> = BTreeSet::new();
        for builds in images.values_mut() {
            builds.sort_by(|a, b| b.build.serial.cmp(&a.build.serial));
            let is_selected = |candidate: &Candidate| channels.iter().any(|one| one.builds.contains(&candidate.build));
            for channel in channels {
                let selected = builds.iter().copied().filter(|candidate| channel.builds.contains(&candidate.build));
                kept.extend(self.kept(selected, pins, now));
            }
            let newest = builds.iter().take(1).copied().filter(|_| !builds.iter().any(|one| is_selected(one)));
            kept.extend(newest.map(|candidate| &candidate.build));
            let unselected = builds.iter().copied().filter(|candidate| !is_selected(candidate));
            kept.extend(
                unselected.filter(|one| self.is_young(one, now) || pins.contains(&one.build)).map(|one| &one.build),
            );
        }
        let mut plan = Plan::default();
        for candidate in candidates.iter().filter(|candidate| !kept.contains(&candidate.build)) {
            let build = candidate.build.clone();
            let since = ledger.unlisted.get(&build).copied().unwrap_or(now);
            if channels.iter().any(|channel| channel.builds.contains(&build)) {
                plan.waiting.insert(build.clone(), now + self.grace);
                plan.unlist.insert(build);
            } else if !ledger.listed.contains(&build) && since + self.grace <= now {
                plan.remove.insert(build);
            } else {
                plan.waiting.insert(build, since + self.grace);
            }
        }
        plan
    }

    /// Those of one image's builds in one channel, newest first, that stay in it.
    fn kept<'a>(
        &self,
        builds: impl Iterator<Item = &'a Candidate>,
        pins: &BTreeSet<BuildId>,
        now: Timestamp,
    ) -> Vec<&'a BuildId> {
        let is_kept = |(rank, candidate): &(usize, &Candidate)| {
            let keep = if candidate.is_past_end_of_life { 1 } else { self.keep.max(1) };
            *rank < keep || self.is_young(candidate, now) || pins.contains(&candidate.build)
        };
        builds.enumerate().filter(is_kept).map(|(_, candidate)| &candidate.build).collect()
    }

    fn is_young(&self, candidate: &Candidate, now: Timestamp) -> bool {
        self.older_than.is_some_and(|older_than| candidate.created + older_than > now)
    }
}

/// Reads what retention goes by from the store. A build whose record cannot be read is no candidate: `verify` deals
/// with it.
pub fn candidates(store: &Store, now: Timestamp) -> Result<Vec<Candidate>, RetentionError> {
    let mut candidates = Vec::new();
    for build in store.builds()? {
        let Ok(Some(record)) = store.record(&build) else { continue };
        let is_past_end_of_life = record.end_of_life.is_some_and(|day| day < now.date());
        candidates.push(Candidate { build, created: record.created, is_past_end_of_life });
    }
    Ok(candidates)
}

/// Which builds the current generation lists, and since when others are not listed any more: `ledger.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    listed: BTreeSet<BuildId>,
    unlisted: BTreeMap<BuildId, Timestamp>,
}

impl Ledger {
    /// Reads the ledger; before the first publish it is empty.
    pub fn read(data: &DataDir) -> Result<Self, RetentionError> {
        let state: Option<LedgerState> = read(data.ledger())?;
        Ok(state.map(|state| Self { listed: state.listed, unlisted: state.unlisted }).unwrap_or_default())
    }

    /// Takes note that a generation of these channels became visible; false if that changes nothing. It is written after
    /// the flip: if that is missed, builds count as listed for longer than they were, and never for less.
    pub fn note_published(&mut self, channels: &[Channel], published: Timestamp) -> bool {
        let is_listed = |build: &BuildId| channels.iter().any(|channel| channel.builds.contains(build));
        let came = channels.iter().flat_map(|channel| channel.builds.difference(&self.listed));
        let came: Vec<BuildId> = came.cloned().collect();
        // Nearly all are in the largest channel.
        let largest = channels.iter().max_by_key(|channel| channel.builds.len());
        let elsewhere = largest.map_or_else(|| self.listed.clone(), |largest| &self.listed - &largest.builds);
        let left: Vec<BuildId> = elsewhere.into_iter().filter(|build| !is_listed(build)).collect();
        if came.is_empty() && left.is_empty() && !self.unlisted.keys().any(is_listed) {
            return false;
        }
        for build in left {
            self.listed.remove(&build);
            self.unlisted.insert(build, published);
        }
        self.listed.extend(came);
        self.unlisted.retain(|build, _| !is_listed(build));
        true
    }

    /// Takes note of builds of the store that no generation is known to have listed: they may be removed like those
    /// that were listed until now.
    pub fn note_unknown(&mut self, candidates: &[Candidate], now: Timestamp) {
        for candidate in candidates.iter().filter(|candidate| !self.listed.contains(&candidate.build)) {
            self.unlisted.entry(candidate.build.clone()).or_insert(now);
        }
    }

    /// Takes note that builds are gone.
    pub fn forget(&mut self, gone: &BTreeSet<BuildId>) {
        self.unlisted.retain(|build, _| !gone.contains(build));
    }

    /// Writes the ledger.
    pub fn write(&self, writer: &Writer) -> Result<(), RetentionError> {
        let (listed, unlisted) = (&self.listed, &self.unlisted);
        write(writer, writer.ledger(), &WrittenLedger { format: LedgerFormat::V1, listed, unlisted })
    }
}

/// The builds that are kept whatever else is said: `pins.json`.
pub fn pins(data: &DataDir) -> Result<BTreeSet<BuildId>, RetentionError> {
    let state: Option<PinState> = read(data.pins())?;
    Ok(state.map(|state| state.builds).unwrap_or_default())
}

/// Writes the pins.
pub fn write_pins(writer: &Writer, builds: BTreeSet<BuildId>) -> Result<(), RetentionError> {
    write(writer, writer.pins(), &PinState { format: PinFormat::V1, builds })
}

/// What can be wrong with the state that retention keeps.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// A state file that cannot be read.
    #[error("the state `{}` is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        #[source]
        source: serde_json::Error,
    },
    /// A build to be pinned or unpinned that is not there.
    #[error("{build} is not {}", if *pinned { "pinned" } else { "in the store" })]
    NoBuild {
        /// The build.
        build: Box<BuildId>,
        /// Whether it was looked for among the pinned ones.
        pinned: bool,
    },
    /// The file system failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl RetentionError {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoBuild { .. } => Some("`rootcellar-server list` shows what is there".to_owned()),
            Self::Damaged { .. } | Self::Io(_) => None,
        }
    }

    /// Whether the user asked for what is not there.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::NoBuild { .. })
    }
}

#[derive(Serialize)]
struct WrittenLedger<'a> {
    format: LedgerFormat,
    listed: &'a BTreeSet<BuildId>,
    unlisted: &'a BTreeMap<BuildId, Timestamp>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LedgerState {
    #[serde(rename = "format")]
    _format: LedgerFormat,
    #[serde(deserialize_with = "in_order")]
    listed: BTreeSet<BuildId>,
    unlisted: BTreeMap<BuildId, Timestamp>,
}

#[derive(Serialize, Deserialize)]
enum LedgerFormat {
    #[serde(rename = "rootcellar-ledger:1")]
    V1,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PinState {
    format: PinFormat,
    builds: BTreeSet<BuildId>,
}

#[derive(Serialize, Deserialize)]
enum PinFormat {
    #[serde(rename = "rootcellar-pins:1")]
    V1,
}

fn read<T: DeserializeOwned>(path: PathBuf) -> Result<Option<T>, RetentionError> {
    let Some(json) = files::read_if_there(&path)? else { return Ok(None) };
    serde_json::from_slice(&json).map(Some).map_err(|source| RetentionError::Damaged { path, source })
}

fn write(writer: &Writer, path: PathBuf, state: &impl Serialize) -> Result<(), RetentionError> {
    let mut json = match serde_json::to_vec_pretty(state) {
        Ok(json) => json,
        Err(source) => return Err(RetentionError::Damaged { path, source }),
    };
    json.push(b'\n');
    Ok(writer.put(&path, &json, 0o644)?)
}

#[cfg(test)]
mod tests;
