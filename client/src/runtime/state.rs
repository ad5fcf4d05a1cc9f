//! What the runtime remembers of a container while it runs.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use formats::digest::Sha256;
use formats::name::Name;
use serde::{Deserialize, Serialize};

use super::cgroup;
use super::error::{Error, failed};
use super::hierarchy::Hierarchies;
use super::plan::Plan;
use super::process::Process;

/// The state directory of one container.
///
/// ```text
/// /run/rootcellar/runtime/v1/             0700, gone with the boot; for a plain user in $XDG_RUNTIME_DIR or
///                                         /run/user/UID, else in ~/.local/state/rootcellar/run
/// └── 3f2a9c0d1e4b5a67/                   one containers directory: the first 16 digits of the sha256 of its path
///     └── web1/                           there from start until a clean end
///         ├── state.json                  boot, monitor, init, how it ended; replaced as a whole
///         ├── plan.json                   what was started
///         ├── seccomp.bpf                 the system calls its processes may not make, for `exec`
///         ├── cgroups.json                where a plain user's container has its cgroups
///         ├── rootfs/  cgroup/  pts/      where the launcher, in its own mount namespace, mounts an overlay, lays out
///         │                               /sys/fs/cgroup and opens terminals; not with mapped ids
///         ├── terminals.sock              where the monitor lets people sit at the console and the terminals
///         ├── console.log  console.log.1  what the container wrote to /dev/console
///         └── monitor.log                 what the monitor and the launcher had to say
/// ```
///
/// A container whose init ended badly by itself keeps `state.json` and its logs until the next start or its destruction.
#[derive(Clone, Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
    name: Name,
    key: String,
}

/// `state.json`: who runs the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Of the boot in which it was written: pids and start times mean nothing in another.
    pub(crate) boot_id: String,
    pub(crate) monitor: Process,
    /// The container's first process, once there is one.
    pub(crate) init: Option<Process>,
    /// The program that carries a plain user's network, where there is one.
    pub(crate) helper: Option<Process>,
    /// Whether init has become the container's program.
    pub(crate) is_started: bool,
    /// How the container ended, when it did not end well.
    pub(crate) end: Option<End>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// It exited with this status.
    Exited(i32),
    /// This signal killed it.
    Killed(i32),
}

impl End {
    /// The status a shell would show: that of the process, or 128 and the signal.
    pub fn code(self) -> u8 {
        let code = match self {
            Self::Exited(status) => status,
            Self::Killed(signal) => 128 + signal,
        };
        u8::try_from(code & 0xff).unwrap_or(u8::MAX)
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited(status) => write!(f, "exited with status {status}"),
            Self::Killed(signal) => write!(f, "was killed by signal {signal}"),
        }
    }
}

impl StateDir {
    /// The state directory of a container. `containers` is an absolute path.
    pub(crate) fn of(containers: &Path, name: &Name) -> Self {
        let digest = Sha256::of(containers.as_os_str().as_encoded_bytes()).to_string();
        let key: String = digest.chars().take(16).collect();
        Self { path: root().join(&key).join(name.as_str()), name: name.clone(), key }
    }

    /// The state directory the monitor or the launcher was started with.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        let part = |path: Option<&Path>| path?.file_name()?.to_str().map(str::to_owned);
        let name = part(Some(path)).and_then(|name| name.parse().ok());
        match (name, part(path.parent())) {
            (Some(name), Some(key)) => Ok(Self { path: path.to_owned(), name, key }),
            _ => Err(io::Error::from(io::ErrorKind::InvalidInput)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Where the container's cgroups are below each hierarchy.
    pub(crate) fn cgroup_path(&self) -> PathBuf {
        Path::new(cgroup::PREFIX).join(&self.key).join(self.name.as_str())
    }

    /// Makes the directory, empty and for root alone.
    pub(crate) fn create(&self) -> Result<(), Error> {
        use std::os::unix::fs::DirBuilderExt;
        let mut builder = std::fs::DirBuilder::new();
        builder.mode(0o700).recursive(true);
        builder.create(&self.path).map_err(failed("create", &self.path))
    }

    /// Removes the directory, and its parent when it was the last there. It disappears in one step.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        let doomed = self.path.with_file_name(format!(".{}.{}", self.name, std::process::id()));
        match std::fs::rename(&self.path, &doomed) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            result => result.map_err(failed("remove", &self.path))?,
        }
        std::fs::remove_dir_all(&doomed).map_err(failed("remove", doomed))?;
        if let Some(parent) = self.path.parent() {
            let _ = std::fs::remove_dir(parent);
        }
        Ok(())
    }

    pub(crate) fn exists(&self) -> bool {
        self.path.exists()
    }

    /// What `state.json` says. `None` when there is none, when it cannot be read, and when it is of another boot.
    pub(crate) fn record(&self) -> Option<Record> {
        let record: Record = serde_json::from_slice(&std::fs::read(self.file("state.json")).ok()?).ok()?;
        (boot_id().ok()? == record.boot_id).then_some(record)
    }

    pub(crate) fn write_record(&self, record: &Record) -> Result<(), Error> {
        self.write_json("state.json", record)
    }

    /// The hierarchies a plain user's container was started in.
    pub(crate) fn hierarchies(&self) -> Option<Hierarchies> {
        serde_json::from_slice(&std::fs::read(self.file("cgroups.json")).ok()?).ok()
    }

    pub(crate) fn write_hierarchies(&self, hierarchies: &Hierarchies) -> Result<(), Error> {
        self.write_json("cgroups.json", hierarchies)
    }

    pub(crate) fn plan(&self) -> Result<Plan, Error> {
        let file = self.file("plan.json");
        let read = || Ok::<_, io::Error>(serde_json::from_slice(&std::fs::read(&file)?)?);
        read().map_err(failed("read", &file))
    }

    pub(crate) fn write_plan(&self, plan: &Plan) -> Result<(), Error> {
        self.write_json("plan.json", plan)
    }

    fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), Error> {
        let write = || {
            let mut file = tempfile::NamedTempFile::new_in(&self.path)?;
            file.write_all(&serde_json::to_vec(value)?)?;
            file.persist(self.file(name))?;
            Ok::<_, io::Error>(())
        };
        write().map_err(failed("write", self.file(name)))
    }
}

impl Record {
    /// The record of a monitor that has just started.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            boot_id: boot_id()?,
            monitor: Process::current()?,
            init: None,
            helper: None,
            is_started: false,
            end: None,
        })
    }
}

fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// Where the states of this user's containers are. A directory of somebody else's is no place for it.
fn root() -> PathBuf {
    use std::os::unix::fs::MetadataExt;
    let uid = rustix::process::geteuid();
    if uid.is_root() {
        return Path::new("/run").join(ROOT);
    }
    let is_ours = |path: &PathBuf| path.is_absolute() && path.metadata().is_ok_and(|data| data.uid() == uid.as_raw());
    let given = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let usual = PathBuf::from(format!("/run/user/{}", uid.as_raw()));
    match given.into_iter().chain([usual]).find(is_ours) {
        Some(directory) => directory.join(ROOT),
        None => std::env::home_dir().unwrap_or_default().join(".local/state/rootcellar/run/v1"),
    }
}

const ROOT: &str = "rootcellar/runtime/v1";

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> Name {
        "web1".parse().unwrap()
    }

    #[test]
    fn containers_of_one_name_in_two_directories_have_states_of_their_own() {
        let one = StateDir::of(Path::new("/var/lib/lxc"), &name());
        let other = StateDir::of(Path::new("/srv/lxc"), &name());
        assert_ne!(one.path(), other.path());
        assert_ne!(one.cgroup_path(), other.cgroup_path());
        assert_eq!(StateDir::at(one.path()).unwrap().cgroup_path(), one.cgroup_path());
    }

    #[test]
    fn a_record_of_another_boot_counts_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir { path: dir.path().to_owned(), name: name(), key: "k".to_owned() };
        let record = Record::new().unwrap();
        state.write_record(&record).unwrap();
        assert_eq!(state.record(), Some(record.clone()));
        state.write_record(&Record { boot_id: "another".to_owned(), ..record }).unwrap();
        assert_eq!(state.record(), None);
    }

    #[test]
    fn a_torn_record_counts_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir { path: dir.path().to_owned(), name: name(), key: "k".to_owned() };
        std::fs::write(state.file("state.json"), "{\"boot_id\":").unwrap();
        assert_eq!(state.record(), None);
    }

    #[test]
    fn ends_have_the_codes_of_a_shell() {
        assert_eq!((End::Exited(7).code(), End::Killed(9).code()), (7, 137));
    }
}
