//! One stage of a build: its tree is made, or found.

use std::time::Instant;

use terminal::{Activity, human};

use super::Running;
use crate::build::BuildError;
use crate::build::failure::{FailedTree, FailureError};
use crate::build::inventory::Inventory;
use crate::build::snapshot::Workplace;
use crate::build::tree::Tree;
use crate::build::unpack::Unpacked;
use crate::cache::stages::{Key, Snapshot};
use crate::checkpoint::checkpoint;
use crate::sandbox::SandboxError;

/// What a stage leaves beside its tree.
#[derive(Default)]
pub(super) struct Left {
    /// What is known about the first tree.
    pub(super) unpacked: Option<Unpacked>,
    /// A key that only the stage itself could tell.
    pub(super) key: Option<Key>,
    /// The stage saw something else than its key says.
    pub(super) is_other: bool,
}

/// One stage.
pub(super) struct Stage<'a> {
    pub(super) name: &'a str,
    /// What it goes on from; the first goes on from nothing.
    pub(super) below: Option<&'a Snapshot>,
    pub(super) key: Option<Key>,
    /// What earlier stages left in `/run` and `/tmp` is still there.
    pub(super) goes_on: bool,
}

impl Running<'_> {
    /// Makes the tree of a stage, unless it is there.
    pub(super) fn stage(
        &self,
        stage: &Stage<'_>,
        work: impl FnOnce(&Workplace) -> Result<Left, BuildError>,
    ) -> Result<Snapshot, BuildError> {
        let begun = Instant::now();
        let activity = Activity::begin(self.printer, stage.name, self.plan.place_of(stage.name));
        if let Some(snapshot) = self.resumed(stage.name)? {
            drop(activity);
            self.say(stage.name, begun, "kept");
            return Ok(self.done(snapshot));
        }
        let too_late = || BuildError::from(SandboxError::TooLate { label: format!("the stage `{}`", stage.name) });
        if self.around.deadline.is_some_and(|deadline| deadline <= begun) {
            return Err(too_late());
        }
        // Who asks for a stage by its name wants it to run.
        let key = stage.key.filter(|_| self.resumption.is_none());
        let mut claim = None;
        if let Some(key) = key {
            claim = Some(self.stages.claim(key, self.around.deadline)?.ok_or_else(too_late)?);
            if let Some(snapshot) = self.stages.find(key)? {
                drop(activity);
                self.say(stage.name, begun, "cached");
                return Ok(self.done(snapshot));
            }
        }
        let below = stage
            .below
            .map(|below| Snapshot { volatile: below.volatile.clone().filter(|_| stage.goes_on), ..below.clone() });
        let place = match &below {
            Some(below) => Workplace::upon(below, (self.stages, self.storage), &self.workspace.tree(), self.around)?,
            None => Workplace::empty(self.stages)?,
        };
        checkpoint(stage.name, "begun");
        let (left, inventory) = match done_in(&place, below.as_ref(), work) {
            Ok(done) => done,
            Err(error) => {
                let network = self.had_network.get();
                let tree = FailedTree { layers: place.layers().to_vec(), partial: place.partial().to_owned(), network };
                self.failed.replace(Some((stage.name.to_owned(), Some(tree))));
                self.passing.borrow_mut().push(place.abandon()?);
                return Err(error);
            }
        };
        checkpoint(stage.name, "worked");
        let layers = place.layers().to_vec();
        let partial = place.seal()?;
        checkpoint(stage.name, "sealed");
        let from = left.unpacked.as_ref().map(|unpacked| unpacked.from.clone());
        let snapshot = Snapshot {
            key: None,
            stage: stage.name.to_owned(),
            image: self.spec.image.to_string(),
            layers,
            volatile: Some(partial.volatile()),
            from: from.or_else(|| below.map(|below| below.from)).unwrap_or_default(),
            inventory: inventory.without_others(),
        };
        let snapshot = match key.filter(|_| !left.is_other).or(left.key) {
            None => {
                self.passing.borrow_mut().push(partial);
                snapshot
            }
            Some(key) => {
                if claim.is_none() {
                    claim = Some(self.stages.claim(key, self.around.deadline)?.ok_or_else(too_late)?);
                }
                // Another build may have found the same lists: then its tree is as good.
                match self.stages.find(key)? {
                    Some(found) => found,
                    None => self.stages.keep(partial, key, snapshot)?,
                }
            }
        };
        drop(claim);
        checkpoint(stage.name, "kept");
        drop(activity);
        self.say(stage.name, begun, "");
        Ok(self.done(snapshot))
    }

    /// The tree that an earlier attempt finished, for stages before the one to go on from.
    fn resumed(&self, name: &str) -> Result<Option<Snapshot>, BuildError> {
        let Some(resumption) = self.resumption else { return Ok(None) };
        let Some(found) = resumption.finished.iter().find(|snapshot| snapshot.stage == name) else { return Ok(None) };
        if found.layers.iter().all(|layer| layer.is_dir()) {
            return Ok(Some(found.clone()));
        }
        Err(FailureError::Gone { stage: name.to_owned() }.into())
    }

    pub(super) fn done(&self, snapshot: Snapshot) -> Snapshot {
        self.finished.borrow_mut().push(snapshot.clone());
        snapshot
    }

    /// Says how a stage ended, and when.
    pub(super) fn say(&self, stage: &str, begun: Instant, how: &str) {
        let elapsed = human::elapsed(begun.elapsed());
        self.printer.say(format_args!("{}", format!("{stage:<28}{elapsed:>7}  {how}").trim_end()));
    }
}

/// Does the work of a stage, and looks at what is installed then.
fn done_in(
    place: &Workplace,
    below: Option<&Snapshot>,
    work: impl FnOnce(&Workplace) -> Result<Left, BuildError>,
) -> Result<(Left, Inventory), BuildError> {
    let mut left = work(place)?;
    let known = match &mut left.unpacked {
        Some(unpacked) => std::mem::take(&mut unpacked.known),
        None => below.map(|below| below.inventory.clone()).unwrap_or_default(),
    };
    let inventory = known.updated(&Tree::open(place.root())?)?;
    Ok((left, inventory))
}

pub(super) fn nothing((): ()) -> Left {
    Left::default()
}
