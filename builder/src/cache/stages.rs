//! What finished stages left: trees that later builds go on from.
//!
//! ```text
//! <cache>/stages/v1/
//! ├── lock                      held while a directory is made, and while dead ones are removed
//! ├── asked/77ab…               the key of what the lists last were that somebody asked for, for builds that may not ask
//! ├── making/9f2c…              held by the build that makes this stage; others wait for it
//! ├── 9f2c…/                    a finished stage under its key, never changed afterwards
//! │   ├── layer/                the tree of the first stage; of a later one what it changed, as overlayfs keeps it,
//! │   │                         or a whole tree again where overlayfs cannot work
//! │   ├── volatile/{run,tmp}/   what it left in /run and /tmp, for the next stage of the same phase
//! │   └── stage.json            its layers and what is installed; the time of the file is that of its last use
//! └── .partial-Xy12ab/          one in the making: the same, and
//!     ├── work/                 what overlayfs needs
//!     ├── lock                  held by its build: without one alive the directory is removed
//!     └── failed                unless this says that it is kept for `shell` and `resume`
//! ```
//!
//! A build without a cache has such a directory of its own. Layers that were made in a user namespace have overlayfs's
//! marks under other names, so they are kept apart, in `stages/v1-userns/`.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use formats::digest::Sha256;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::lock::{self, Lock, Mode};
use crate::build::inventory::Inventory;
use crate::userns;

/// The stages in one directory.
pub(crate) struct Stages {
    directory: PathBuf,
}

/// What a stage is made of: two stages with one key are the same tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Key(Sha256);

impl Key {
    /// The key of what `parts` say, for this version of the builder.
    pub(crate) fn of(parts: &impl Serialize) -> io::Result<Self> {
        Ok(Self(Sha256::of(&serde_json::to_vec(&(VERSION, env!("CARGO_PKG_VERSION"), parts))?)))
    }

    fn name(self) -> String {
        self.0.to_string().chars().take(NAME_LENGTH).collect()
    }
}

/// A tree as a stage left it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Snapshot {
    /// The key, unless what the stage did depends on more than the builder can know.
    pub(crate) key: Option<Key>,
    /// The stage's name.
    pub(crate) stage: String,
    /// The image of the build that made it.
    pub(crate) image: String,
    /// The directories the tree consists of, the lowest first.
    pub(crate) layers: Vec<PathBuf>,
    /// What was left in `/run` and `/tmp`.
    pub(crate) volatile: Option<PathBuf>,
    /// What the first tree was made from, for the record: `bootstrap bookworm`.
    pub(crate) from: String,
    /// What is installed.
    pub(crate) inventory: Inventory,
}

impl Stages {
    /// The stages in `directory`. What killed builds have left there is removed.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        fs_err::create_dir_all(directory.join(MAKING))?;
        let stages = Self { directory: directory.to_owned() };
        stages.heal()?;
        Ok(stages)
    }

    /// Waits until nobody else makes the stage `key`, not longer than `deadline`; nothing when that comes first.
    pub(crate) fn claim(&self, key: Key, deadline: Option<Instant>) -> io::Result<Option<Lock>> {
        let file = fs_err::File::create(self.directory.join(MAKING).join(key.name()))?.into_parts().0;
        Ok(lock::take(&file, Mode::Exclusive, deadline)?.then_some(file))
    }

    /// The stage `key`, if it is there with everything below it. It counts as used.
    pub(crate) fn find(&self, key: Key) -> io::Result<Option<Snapshot>> {
        let directory = self.directory.join(key.name());
        let Some(snapshot) = self.read(&directory)?.filter(|found| found.key == Some(key)) else { return Ok(None) };
        for layer in &snapshot.layers {
            if let Some(stage) = layer.parent() {
                let file = fs_err::File::options().write(true).open(stage.join(DESCRIPTION))?;
                file.file().set_modified(SystemTime::now())?;
            }
        }
        Ok(Some(snapshot))
    }

    /// Notes that what has the key `asked` had the key `found` when it was last looked at.
    pub(crate) fn remember(&self, asked: Key, found: Key) -> io::Result<()> {
        let directory = self.directory.join(ASKED);
        fs_err::create_dir_all(&directory)?;
        let mut partial = tempfile::NamedTempFile::new_in(&directory)?;
        serde_json::to_writer(&mut partial, &found)?;
        partial.persist(directory.join(asked.name())).map_err(|error| error.error)?;
        Ok(())
    }

    /// The stage that was last found for `asked`, if it is still there.
    pub(crate) fn recall(&self, asked: Key) -> io::Result<Option<Snapshot>> {
        let Ok(text) = fs_err::read(self.directory.join(ASKED).join(asked.name())) else { return Ok(None) };
        let Ok(found) = serde_json::from_slice(&text) else { return Ok(None) };
        self.find(found)
    }

    /// A new place for a stage in the making.
    pub(crate) fn partial(&self) -> io::Result<Partial> {
        let _guard = self.guard()?;
        let directory = tempfile::Builder::new().prefix(PARTIAL).tempdir_in(&self.directory)?;
        let lock = fs_err::File::create(directory.path().join(LOCK))?.into_parts().0;
        lock::take(&lock, Mode::Exclusive, None)?;
        for (below, mode) in [("run", 0o755), ("tmp", 0o1777)] {
            let below = directory.path().join(VOLATILE).join(below);
            fs_err::create_dir_all(&below)?;
            fs_err::set_permissions(below, Permissions::from_mode(mode))?;
        }
        Ok(Partial { directory, _lock: lock })
    }

    /// Makes a stage known under its key. The caller has claimed it.
    pub(crate) fn keep(&self, partial: Partial, key: Key, mut snapshot: Snapshot) -> io::Result<Snapshot> {
        let place = self.directory.join(key.name());
        // Only one that lacks a layer can be there: others would have been found.
        if place.exists() {
            fs_err::remove_dir_all(&place)?;
        }
        let own = partial.layer();
        for layer in snapshot.layers.iter_mut().filter(|layer| **layer == own) {
            *layer = place.join(LAYER);
        }
        snapshot.volatile = Some(place.join(VOLATILE));
        snapshot.key = Some(key);
        let stored = Snapshot {
            layers: snapshot.layers.iter().map(|layer| self.relative(layer)).collect(),
            volatile: Some(Path::new(&key.name()).join(VOLATILE)),
            ..snapshot.clone()
        };
        fs_err::write(partial.path().join(DESCRIPTION), serde_json::to_vec(&stored)?)?;
        rustix::fs::syncfs(fs_err::File::open(partial.path())?.file()).map_err(io::Error::from)?;
        fs_err::remove_file(partial.path().join(LOCK))?;
        fs_err::rename(partial.directory.keep(), place)?;
        Ok(snapshot)
    }

    /// Every finished stage, with its directory and the time of its last use.
    pub(crate) fn list(&self) -> io::Result<Vec<(PathBuf, Option<Snapshot>, SystemTime)>> {
        let mut found = Vec::new();
        for entry in fs_err::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let is_key = name.len() == NAME_LENGTH && name.bytes().all(|byte| byte.is_ascii_hexdigit());
            if is_key || name.starts_with(PARTIAL) {
                let path = entry.path();
                let description = path.join(if is_key { DESCRIPTION } else { FAILED });
                let used = fs_err::metadata(description).and_then(|metadata| metadata.modified());
                let snapshot = if is_key { self.read(&path)? } else { None };
                found.push((path, snapshot, used.unwrap_or(SystemTime::UNIX_EPOCH)));
            }
        }
        Ok(found)
    }

    /// What the directory of a stage says, unless something that it needs is gone.
    fn read(&self, directory: &Path) -> io::Result<Option<Snapshot>> {
        let text = match fs_err::read(directory.join(DESCRIPTION)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        // What cannot be read is of another version or rotten, and made again.
        let Ok(mut snapshot) = serde_json::from_slice::<Snapshot>(&text) else { return Ok(None) };
        for path in snapshot.layers.iter_mut().chain(&mut snapshot.volatile) {
            *path = self.directory.join(&path);
        }
        Ok(snapshot.layers.iter().all(|layer| layer.is_dir()).then_some(snapshot))
    }

    fn relative(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.directory).unwrap_or(path).to_owned()
    }

    fn guard(&self) -> io::Result<Lock> {
        let file = fs_err::File::create(self.directory.join(LOCK))?.into_parts().0;
        lock::take(&file, Mode::Exclusive, None)?;
        Ok(file)
    }

    /// Removes what builds that are gone were making.
    fn heal(&self) -> io::Result<()> {
        let _guard = self.guard()?;
        for entry in fs_err::read_dir(&self.directory)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(PARTIAL) && !path.join(FAILED).exists() && is_abandoned(&path.join(LOCK))? {
                fs_err::remove_dir_all(path)?;
            }
        }
        Ok(())
    }
}

/// Where the stages of this process are in a cache.
pub(crate) fn directory() -> io::Result<&'static str> {
    let [own, userns] = DIRECTORIES;
    Ok(if userns::is_inside()? { userns } else { own })
}

/// Where stages are in a cache.
pub(crate) const DIRECTORIES: [&str; 2] = ["stages/v1", "stages/v1-userns"];

/// Whether nobody holds the lock `path`.
pub(crate) fn is_abandoned(path: &Path) -> io::Result<bool> {
    match File::open(path) {
        Ok(file) => lock::try_take(&file, Mode::Exclusive),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

/// A stage in the making; dropped, it leaves nothing.
pub(crate) struct Partial {
    directory: TempDir,
    _lock: Lock,
}

impl Partial {
    /// What the stage changes, or the whole tree.
    pub(crate) fn layer(&self) -> PathBuf {
        self.path().join(LAYER)
    }

    /// What overlayfs needs beside it.
    pub(crate) fn work(&self) -> PathBuf {
        self.path().join(WORK)
    }

    /// What is in `/run` and `/tmp`.
    pub(crate) fn volatile(&self) -> PathBuf {
        self.path().join(VOLATILE)
    }

    /// Keeps everything for somebody to look into.
    pub(crate) fn fail(self) -> io::Result<()> {
        fs_err::write(self.path().join(FAILED), "")?;
        let _ = self.directory.keep();
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// Changes whenever the same inputs would become another tree or another description.
const VERSION: u32 = 1;
/// Half a digest: enough that no two stages meet, and short enough for many layers.
const NAME_LENGTH: usize = 32;
const PARTIAL: &str = ".partial-";
const MAKING: &str = "making";
const ASKED: &str = "asked";
const LOCK: &str = "lock";
const LAYER: &str = "layer";
const WORK: &str = "work";
const VOLATILE: &str = "volatile";
const DESCRIPTION: &str = "stage.json";
const FAILED: &str = "failed";

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(layers: Vec<PathBuf>) -> Snapshot {
        Snapshot {
            key: None,
            stage: "files".into(),
            image: "debian/bookworm/amd64/default".into(),
            layers,
            volatile: None,
            from: "archive x".into(),
            inventory: Inventory::default(),
        }
    }

    fn kept(stages: &Stages, key: Key, below: &[PathBuf]) -> Snapshot {
        let partial = stages.partial().unwrap();
        fs_err::create_dir(partial.layer()).unwrap();
        let layers = below.iter().cloned().chain([partial.layer()]).collect();
        stages.keep(partial, key, snapshot(layers)).unwrap()
    }

    #[test]
    fn a_stage_is_found_by_its_key_with_everything_below_it() {
        let directory = tempfile::tempdir().unwrap();
        let stages = Stages::open(directory.path()).unwrap();
        let [one, two] = ["one", "two"].map(|part| Key::of(&part).unwrap());
        assert_eq!(stages.find(one).unwrap(), None);
        let first = kept(&stages, one, &[]);
        let second = kept(&stages, two, &first.layers);
        assert_eq!(stages.find(two).unwrap(), Some(second.clone()));
        assert!(second.layers.iter().all(|layer| layer.is_dir()));
        fs_err::remove_dir_all(first.layers[0].parent().unwrap()).unwrap();
        assert_eq!(stages.find(two).unwrap(), None, "a layer is missing");
        kept(&stages, two, &[]);
        assert!(stages.find(two).unwrap().is_some());
    }

    #[test]
    fn what_a_dead_build_was_making_is_removed_and_what_a_live_one_makes_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let stages = Stages::open(directory.path()).unwrap();
        let alive = stages.partial().unwrap();
        let dead = directory.path().join(".partial-dead00");
        let failed = directory.path().join(".partial-failed");
        let foreign = directory.path().join("holiday");
        for path in [&dead, &failed, &foreign] {
            std::fs::create_dir(path).unwrap();
            std::fs::write(path.join(LOCK), "").unwrap();
        }
        std::fs::write(failed.join(FAILED), "").unwrap();
        Stages::open(directory.path()).unwrap();
        assert!(alive.path().exists() && failed.exists() && foreign.exists() && !dead.exists());
    }

    #[test]
    fn a_description_of_another_version_is_no_stage() {
        let directory = tempfile::tempdir().unwrap();
        let stages = Stages::open(directory.path()).unwrap();
        let key = Key::of(&"one").unwrap();
        kept(&stages, key, &[]);
        std::fs::write(directory.path().join(key.name()).join(DESCRIPTION), "{\"future\": 1}").unwrap();
        assert_eq!(stages.find(key).unwrap(), None);
    }

    #[test]
    fn what_was_found_for_a_question_is_recalled_while_it_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let stages = Stages::open(directory.path()).unwrap();
        let [asked, one, two] = ["asked", "one", "two"].map(|part| Key::of(&part).unwrap());
        assert_eq!(stages.recall(asked).unwrap(), None);
        let first = kept(&stages, one, &[]);
        stages.remember(asked, one).unwrap();
        assert_eq!(stages.recall(asked).unwrap(), Some(first));
        stages.remember(asked, two).unwrap();
        assert_eq!(stages.recall(asked).unwrap(), None);
    }

    #[test]
    fn one_build_makes_a_stage_and_the_others_wait() {
        let directory = tempfile::tempdir().unwrap();
        let stages = Stages::open(directory.path()).unwrap();
        let key = Key::of(&"one").unwrap();
        let claim = stages.claim(key, None).unwrap();
        assert!(claim.is_some());
        let soon = Instant::now() + std::time::Duration::from_millis(120);
        assert!(stages.claim(key, Some(soon)).unwrap().is_none(), "two make the same stage");
        drop(claim);
        assert!(stages.claim(key, Some(soon)).unwrap().is_some());
    }
}
