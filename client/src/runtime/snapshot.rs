//! Snapshots of a container, where `lxc-snapshot` has them, and going back to one.
//!
//! ```text
//! <containers>/web/snaps/snap0/
//! ├── config  rootfs/  overlay/   as of a copy
//! ├── ts                          when it was taken, `2026:11:25 03:53:07`, local time
//! └── comment                     if one was given
//! ```
//!
//! A snapshot of a container of layers keeps the layers and a copy of what was changed; of any other it is a whole copy.
//!
//! To go back, the state of the snapshot is made whole beside the container's own, as `restored`; that rename is the
//! decision. From there on every command that takes the container carries it through, should this one be killed.

use std::path::{Path, PathBuf};

use formats::name::Name;
use serde::{Deserialize, Serialize};

use super::copying::{Copied, Identity};
use super::error::{Error, failed};
use super::lock::Lock;
use super::mapped::{self, Work};
use super::{Container, removal, start, sys};
use crate::files::{self, Owner};

/// One snapshot of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// `snap0`.
    pub name: String,
    /// When it was taken, as LXC writes it; nothing when that is not known.
    pub created: String,
    /// What was said of it.
    pub comment: String,
}

impl Container {
    /// Takes a snapshot of the container, which must not run, and gives its name.
    pub fn snapshot(&self, comment: Option<&str>) -> Result<Name, Error> {
        let _lock = Lock::take(self)?;
        self.refuse_if_running()?;
        self.finish_restore()?;
        let snaps = self.snaps();
        std::fs::create_dir_all(&snaps).map_err(failed("create", &snaps))?;
        let name = (0..=u32::MAX).map(|number| format!("snap{number}")).find(|name| !snaps.join(name).exists());
        let name: Name = name.unwrap_or_default().parse().map_err(|_| self.no_snapshot("snap"))?;
        let place = snaps.join(name.as_str());
        let taken = self.copy_into(&snaps, &name, self.is_layered()?, Identity::Kept, &place)?;
        let write = |file: &str, text: &str| {
            let path = taken.container.directory().join(file);
            files::write_whole(&path, text.as_bytes(), 0o644, Owner::SELF).map_err(failed("write", path))
        };
        if let Some(comment) = comment {
            write(COMMENT, comment)?;
        }
        write(TIMESTAMP, &sys::local_time("%Y:%m:%d %H:%M:%S"))?;
        Ok(name)
    }

    /// Its snapshots, by name.
    pub fn snapshots(&self) -> Result<Vec<Snapshot>, Error> {
        let mut found: Vec<Snapshot> = super::list(&self.snaps())?
            .into_iter()
            .map(|snapshot| {
                let read = |file| std::fs::read_to_string(snapshot.directory().join(file)).unwrap_or_default();
                Snapshot { name: snapshot.name().to_string(), created: read(TIMESTAMP), comment: read(COMMENT) }
            })
            .collect();
        let number = |snapshot: &Snapshot| snapshot.name.trim_start_matches("snap").parse::<u64>().unwrap_or(u64::MAX);
        found.sort_by_key(|snapshot| (number(snapshot), snapshot.name.clone()));
        Ok(found)
    }

    /// Deletes one of its snapshots.
    pub fn delete_snapshot(&self, name: &Name) -> Result<(), Error> {
        let _lock = Lock::take(self)?;
        self.find_snapshot(name)?.destroy()?;
        // Gone with the last one.
        let _ = std::fs::remove_dir(self.snaps());
        Ok(())
    }

    /// Makes another container of a snapshot.
    pub fn restore_as(&self, snapshot: &Name, name: &Name) -> Result<Copied, Error> {
        let _lock = Lock::take(self)?;
        let snapshot = self.find_snapshot(snapshot)?;
        let place = self.containers.join(name.as_str());
        snapshot.copy_into(&self.containers, name, snapshot.is_layered()?, Identity::New, &place)
    }

    /// Goes back to a snapshot: what the container, which must not run, has become since is deleted.
    pub fn restore(&self, snapshot: &Name) -> Result<(), Error> {
        let _lock = Lock::take(self)?;
        self.refuse_if_running()?;
        self.finish_restore()?;
        self.refuse_if_needed()?;
        let snapshot = self.find_snapshot(snapshot)?;
        let restored: Name = RESTORED.parse().map_err(|_| self.no_snapshot(RESTORED))?;
        let needs = snapshot.needs()?;
        let directory = self.directory();
        snapshot.copy_into(&directory, &restored, snapshot.is_layered()?, Identity::Kept, &directory)?;
        // The copy was entered as a container of its own for as long as it took.
        Self { containers: directory, name: restored, ..self.clone() }.leave_bases(&needs)?;
        self.finish_restore()
    }

    /// Carries through a restoration that was decided on. Only with the lock, and when nothing runs.
    pub(crate) fn finish_restore(&self) -> Result<(), Error> {
        let directory = self.directory();
        if !directory.join(RESTORED).is_dir() {
            return Ok(());
        }
        let map = start::settings(self).map(|settings| settings.idmap).unwrap_or_default();
        let restoration = Restoration { directory };
        if rustix::process::geteuid().is_root() || map.is_empty() {
            return restoration.finish();
        }
        mapped::run(&self.executable, &map, Work::Restore(restoration)).map(drop)
    }

    pub(crate) fn snaps(&self) -> PathBuf {
        self.directory().join(SNAPS)
    }

    fn find_snapshot(&self, name: &Name) -> Result<Self, Error> {
        match Self::open(&self.snaps(), name) {
            Err(Error::Unknown { .. }) => Err(self.no_snapshot(name.as_str())),
            found => Ok(Self { executable: self.executable.clone(), ..found? }),
        }
    }

    fn no_snapshot(&self, name: &str) -> Error {
        Error::NoSnapshot { name: self.name.to_string(), snapshot: name.to_owned() }
    }

    fn is_layered(&self) -> Result<bool, Error> {
        Ok(matches!(start::settings(self)?.rootfs, Some(super::backing::Backing::Overlay(_))))
    }
}

/// A container's directory with its next state in `restored`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Restoration {
    directory: PathBuf,
}

impl Restoration {
    /// Puts each part of the next state in the place of the one there is, the configuration last. Done again after it
    /// was stopped anywhere, it goes on from there.
    pub(crate) fn finish(&self) -> Result<(), Error> {
        let restored = self.directory.join(RESTORED);
        for part in PARTS {
            let (next, old) = (restored.join(part), restored.join(format!("old-{part}")));
            let current = self.directory.join(part);
            if !exists(&next) {
                continue;
            }
            if exists(&current) && !exists(&old) {
                std::fs::rename(&current, &old).map_err(failed("move", &current))?;
            }
            std::fs::rename(&next, &current).map_err(failed("move", next))?;
        }
        files::sync_directory(&self.directory).map_err(failed("write to", &self.directory))?;
        removal::remove(&self.directory, RESTORED).map_err(failed("delete", restored))
    }
}

fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

const SNAPS: &str = "snaps";
const RESTORED: &str = "restored";
const TIMESTAMP: &str = "ts";
const COMMENT: &str = "comment";
/// In this order: with the configuration the container is that of the snapshot.
const PARTS: [&str; 5] = ["overlay", "rootfs", "fstab", "lxc_rdepends", "config"];

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A restoration that was stopped after so many renames.
    fn stopped_after(renames: usize) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (place, said) in [(dir.path().to_owned(), "old"), (dir.path().join(RESTORED), "new")] {
            fs::create_dir_all(place.join("rootfs")).unwrap();
            fs::write(place.join("rootfs/state"), said).unwrap();
            fs::write(place.join("config"), said).unwrap();
        }
        let path = |name: &str| dir.path().join(name);
        let steps = [
            ("rootfs", "restored/old-rootfs"),
            ("restored/rootfs", "rootfs"),
            ("config", "restored/old-config"),
            ("restored/config", "config"),
        ];
        for (from, to) in steps.into_iter().take(renames) {
            fs::rename(path(from), path(to)).unwrap();
        }
        dir
    }

    #[test]
    fn a_restoration_that_was_stopped_anywhere_is_carried_through() {
        for renames in 0..=4 {
            let dir = stopped_after(renames);
            Restoration { directory: dir.path().to_owned() }.finish().unwrap();
            let read = |file: &str| fs::read_to_string(dir.path().join(file)).unwrap();
            assert_eq!((read("rootfs/state"), read("config")), ("new".to_owned(), "new".to_owned()), "{renames}");
            assert!(!dir.path().join(RESTORED).exists());
        }
    }
}
