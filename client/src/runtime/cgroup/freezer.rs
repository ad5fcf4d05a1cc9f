//! Holding every process of a container still.

use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{Cgroup, write};
use crate::runtime::error::{Error, failed};

/// Where processes are frozen: above the cgroup that the container can write, so that it cannot thaw itself.
enum Freezer {
    /// The freezer controller: `freezer.state`.
    V1(PathBuf),
    /// `cgroup.freeze`, and what became of it in `cgroup.events`.
    V2(PathBuf),
}

impl Cgroup {
    /// Freezes every process of the container. `false` when there is no cgroup to do that in, as for a plain user to
    /// whom none is delegated.
    pub(crate) fn freeze(&self) -> Result<bool, Error> {
        let Some(freezer) = self.freezer() else { return Ok(false) };
        freezer.set(true)?;
        let patience = Instant::now() + PATIENCE;
        while !freezer.is_frozen() {
            if Instant::now() > patience {
                freezer.set(false)?;
                let late = std::io::Error::new(std::io::ErrorKind::TimedOut, "its processes did not stop in time");
                return Err(failed("freeze", freezer.path())(late));
            }
            sleep(Duration::from_millis(5));
        }
        Ok(true)
    }

    /// Lets the processes go on. Nothing is done to a container that is not frozen.
    pub(crate) fn thaw(&self) -> Result<(), Error> {
        match self.freezer() {
            Some(freezer) if freezer.is_set() => freezer.set(false),
            _ => Ok(()),
        }
    }

    /// Whether the container is frozen.
    pub(crate) fn is_frozen(&self) -> bool {
        self.freezer().is_some_and(|freezer| freezer.is_frozen())
    }

    fn freezer(&self) -> Option<Freezer> {
        let here = |base: &PathBuf| Some(base.join(&self.path)).filter(|path| path.exists());
        let v1 = self.hierarchies.controller("freezer").and_then(|hierarchy| here(&hierarchy.base));
        let v2 = || self.hierarchies.unified().and_then(|hierarchy| here(&hierarchy.base));
        v1.map(Freezer::V1).or_else(|| v2().map(Freezer::V2))
    }
}

impl Freezer {
    fn path(&self) -> PathBuf {
        match self {
            Self::V1(path) => path.join("freezer.state"),
            Self::V2(path) => path.join("cgroup.freeze"),
        }
    }

    fn set(&self, frozen: bool) -> Result<(), Error> {
        let value = match (self, frozen) {
            (Self::V1(_), true) => "FROZEN",
            (Self::V1(_), false) => "THAWED",
            (Self::V2(_), true) => "1",
            (Self::V2(_), false) => "0",
        };
        write(&self.path(), value).map_err(failed("write", self.path()))
    }

    /// Whether it is wanted; a process may not have stopped yet.
    fn is_set(&self) -> bool {
        let state = std::fs::read_to_string(self.path()).unwrap_or_default();
        matches!(state.trim(), "FROZEN" | "FREEZING" | "1")
    }

    fn is_frozen(&self) -> bool {
        match self {
            Self::V1(_) => std::fs::read_to_string(self.path()).is_ok_and(|state| state.trim() == "FROZEN"),
            Self::V2(path) => std::fs::read_to_string(path.join("cgroup.events"))
                .is_ok_and(|events| events.lines().any(|line| line == "frozen 1")),
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_has_its_own_words() {
        let dir = tempfile::tempdir().unwrap();
        let (v1, v2) = (Freezer::V1(dir.path().to_owned()), Freezer::V2(dir.path().to_owned()));
        for (file, text) in
            [("freezer.state", "FREEZING\n"), ("cgroup.freeze", "1\n"), ("cgroup.events", "populated 1\n")]
        {
            std::fs::write(dir.path().join(file), text).unwrap();
        }
        assert!(v1.is_set() && v2.is_set() && !v1.is_frozen() && !v2.is_frozen());
        std::fs::write(dir.path().join("freezer.state"), "FROZEN\n").unwrap();
        std::fs::write(dir.path().join("cgroup.events"), "populated 1\nfrozen 1\n").unwrap();
        assert!(v1.is_frozen() && v2.is_frozen());
        v2.set(false).unwrap();
        assert!(!v2.is_set());
    }
}
