//! What is kept of a failed build, so that somebody can look into it and go on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::workspace::FAILURE;
use crate::cache::stages::Snapshot;

/// A failed build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Failure {
    /// The version of this format.
    pub(crate) format: FailureFormat,
    /// What the user asked for.
    pub(crate) request: Value,
    /// The stage that failed.
    pub(crate) stage: String,
    /// What had been finished, in order.
    pub(crate) finished: Vec<Snapshot>,
    /// The tree of the stage that failed, unless it failed before it had one.
    pub(crate) tree: Option<FailedTree>,
    /// The environment of what runs in the tree.
    pub(crate) environment: BTreeMap<String, String>,
    /// Directories that only this build needs.
    pub(crate) partials: Vec<PathBuf>,
}

/// The version of [`Failure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FailureFormat {
    /// The first.
    #[serde(rename = "rootcellar-failure:1")]
    V1,
}

/// The tree of a stage that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FailedTree {
    /// The directories it consists of, the lowest first and its own last.
    pub(crate) layers: Vec<PathBuf>,
    /// The directory of the stage in the making.
    pub(crate) partial: PathBuf,
    /// Whether what failed had a network.
    #[serde(default)]
    pub(crate) network: bool,
}

/// How to go on with a failed build.
#[derive(Clone, Debug)]
pub(crate) struct Resumption {
    /// The first stage that runs.
    pub(crate) from: String,
    /// What had been finished before.
    pub(crate) finished: Vec<Snapshot>,
}

impl Failure {
    /// Reads what a failed build in `directory` has left.
    pub(crate) fn read(directory: &Path) -> Result<Self, FailureError> {
        let path = directory.join(FAILURE);
        let text = fs_err::read(&path).map_err(|source| FailureError::NoFailure { path: directory.into(), source })?;
        serde_json::from_slice(&text).map_err(|error| FailureError::Malformed { path, reason: error.to_string() })
    }

    /// Leaves it in `directory`.
    pub(super) fn write(&self, directory: &Path) -> std::io::Result<()> {
        fs_err::write(directory.join(FAILURE), serde_json::to_vec_pretty(self)?)
    }

    /// Goes on from the stage that failed, or from an earlier one of that name or group of actions.
    pub(crate) fn resumption(&self, from: Option<&str>) -> Result<Resumption, FailureError> {
        let Some(from) = from else {
            return Ok(Resumption { from: self.stage.clone(), finished: self.finished.clone() });
        };
        let is_named =
            |stage: &str| stage == from || stage.strip_prefix(from).is_some_and(|rest| rest.starts_with('.'));
        let stages = self.finished.iter().map(|snapshot| snapshot.stage.as_str()).chain([self.stage.as_str()]);
        let Some((index, stage)) = stages.clone().enumerate().find(|(_, stage)| is_named(stage)) else {
            let known = stages.map(str::to_owned).collect();
            return Err(FailureError::NoStage { found: from.to_owned(), known });
        };
        let finished = self.finished.iter().take(index).cloned().collect();
        Ok(Resumption { from: stage.to_owned(), finished })
    }

    /// Removes everything that was kept, in `directory` and in the cache.
    pub(crate) fn remove(&self, directory: &Path) -> std::io::Result<()> {
        for partial in self.partials.iter().filter(|partial| partial.exists()) {
            fs_err::remove_dir_all(partial)?;
        }
        fs_err::remove_dir_all(directory)
    }
}

/// Why there is nothing to go on with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FailureError {
    #[error("no failed build is in `{}`", path.display())]
    NoFailure { path: PathBuf, source: std::io::Error },
    #[error("`{}` cannot be understood: {reason}", path.display())]
    Malformed { path: PathBuf, reason: String },
    #[error("the build has not come to a stage `{found}`")]
    NoStage { found: String, known: Vec<String> },
    #[error("the stage `{stage}` is no longer in the cache")]
    Gone { stage: String },
    #[error("the build failed before it had a tree")]
    NoTree,
}

impl terminal::Advice for FailureError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoFailure { .. } => Some("a failed build says where it is kept".to_owned()),
            Self::NoStage { known, .. } => Some(format!("it has come to: {}", known.join(", "))),
            Self::Gone { .. } | Self::NoTree => Some("build again".to_owned()),
            Self::Malformed { .. } => None,
        }
    }

    fn exit_status(&self) -> terminal::ExitStatus {
        terminal::ExitStatus::Refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::inventory::Inventory;

    fn failure() -> Failure {
        let snapshot = |stage: &str| Snapshot {
            key: None,
            stage: stage.into(),
            image: String::new(),
            layers: Vec::new(),
            volatile: None,
            from: String::new(),
            inventory: Inventory::default(),
        };
        Failure {
            format: FailureFormat::V1,
            request: Value::Null,
            stage: "post-files.2".into(),
            finished: ["unpack", "post-unpack.1", "post-unpack.2", "files", "post-files.1"].map(snapshot).into(),
            tree: None,
            environment: BTreeMap::new(),
            partials: Vec::new(),
        }
    }

    #[test]
    fn a_stage_is_named_alone_or_by_its_group() {
        let at = |from| failure().resumption(from).map(|one| (one.from, one.finished.len()));
        assert_eq!(at(None).unwrap(), ("post-files.2".to_owned(), 5));
        assert_eq!(at(Some("post-unpack")).unwrap(), ("post-unpack.1".to_owned(), 1));
        assert_eq!(at(Some("post-unpack.2")).unwrap(), ("post-unpack.2".to_owned(), 2));
        assert_eq!(at(Some("post-files")).unwrap(), ("post-files.1".to_owned(), 4));
        assert!(matches!(at(Some("tidy")), Err(FailureError::NoStage { .. })));
        assert!(matches!(at(Some("post")), Err(FailureError::NoStage { .. })));
    }

    #[test]
    fn what_is_kept_survives_its_own_file() {
        let directory = tempfile::tempdir().unwrap();
        failure().write(directory.path()).unwrap();
        assert_eq!(Failure::read(directory.path()).unwrap(), failure());
        assert!(matches!(Failure::read(Path::new("/nonexistent")), Err(FailureError::NoFailure { .. })));
    }
}
