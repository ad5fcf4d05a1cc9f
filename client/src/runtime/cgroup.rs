//! The cgroups of a container, in every hierarchy the host has.
//!
//! ```text
//! <mount>/rootcellar/<key>/web1/           limits are set here, out of the container's reach
//!                          └── inner/      the root of the container's cgroup namespace: what it sees as `/`
//! ```
//!
//! `<mount>` is each of: every v1 controller, the named v1 hierarchies (`name=systemd`), and v2, be it all there is or
//! the `unified` of a hybrid host. A hierarchy left out would leave the container in the host's root of it, where its
//! init would then rule. Root in a container can write every file of the cgroup it sees as its root: hence the two
//! levels.

mod freezer;
mod usage;

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use rustix::fs::{Mode, OFlags};

use super::devices;
use super::error::{ConfigProblem, Error, failed};
use super::executable::Executable;
use super::hierarchy::{Hierarchies, Hierarchy};
use super::idmap::IdMap;
use super::mapped::{self, Work};
use super::settings::{CgroupVersion, Limit};
use super::state::StateDir;

pub use usage::Usage;

/// One container's cgroups.
#[derive(Clone, Debug)]
pub(crate) struct Cgroup {
    hierarchies: Hierarchies,
    path: PathBuf,
}

impl Cgroup {
    /// The cgroups of a container. They need not exist. A plain user has them below those that were the user's own when
    /// the container was started.
    pub(crate) fn of(state: &StateDir) -> Result<Self, Error> {
        let hierarchies = if rustix::process::geteuid().is_root() {
            Hierarchies::of_host().map_err(failed("read", "/proc/self/mountinfo"))?
        } else {
            state.hierarchies().unwrap_or_default()
        };
        Ok(Self { hierarchies, path: state.cgroup_path() })
    }

    /// Makes the cgroups and sets the limits, before any process is in them.
    pub(crate) fn create(&self, limits: &[Limit]) -> Result<(), CreateError> {
        for hierarchy in self.hierarchies.iter() {
            hierarchy.create(&self.path).map_err(CreateError::System)?;
        }
        for limit in limits {
            self.set(limit)?;
        }
        self.restrict_devices(limits)?;
        for hierarchy in self.hierarchies.iter() {
            hierarchy.create(&self.path.join(INNER)).map_err(CreateError::System)?;
        }
        Ok(())
    }

    fn set(&self, limit: &Limit) -> Result<(), CreateError> {
        let Some(hierarchy) = self.hierarchies.of_limit(limit) else { return Ok(()) };
        let file = hierarchy.base.join(&self.path).join(&limit.file);
        write(&file, &limit.value).map_err(|error| refuse(&limit.key, &error))
    }

    /// In v2, devices are kept in bounds by a program in the kernel.
    fn restrict_devices(&self, limits: &[Limit]) -> Result<(), CreateError> {
        if let (CgroupVersion::V2, Some(unified)) = (self.hierarchies.device_version(), self.hierarchies.unified()) {
            let restricted = devices::restrict(&unified.base.join(&self.path), limits);
            restricted.map_err(|error| refuse("the list of devices", &error))?;
        }
        Ok(())
    }

    /// Gives the root of the container's namespace to the container's root, so that an init system can go on from there.
    pub(crate) fn give_to(&self, map: &IdMap) -> Result<(), Error> {
        let inner = self.hierarchies.iter().map(|hierarchy| hierarchy.base.join(&self.path).join(INNER));
        if !rustix::process::geteuid().is_root() {
            return mapped::run(&Executable::default(), map, Work::OwnCgroups(inner.collect())).map(drop);
        }
        let (uid, gid) = map.root().map_err(|error| failed("map", &self.path)(io::Error::other(error)))?;
        for inner in inner {
            mapped::own(&inner, uid, Some(gid)).map_err(failed("give away the cgroup", inner))?;
        }
        Ok(())
    }

    /// Moves the calling process into the cgroup of every hierarchy.
    pub(crate) fn join_all(&self) -> Result<(), Error> {
        self.hierarchies.iter().try_for_each(|hierarchy| self.join(hierarchy))
    }

    /// Moves the calling process, which has one thread, into the cgroups of v1. [`Cgroup::open_unified`] is for v2.
    pub(crate) fn join_v1(&self) -> Result<(), Error> {
        let v1 = self.hierarchies.iter().filter(|hierarchy| hierarchy.is(CgroupVersion::V1));
        v1.into_iter().try_for_each(|hierarchy| self.join(hierarchy))
    }

    fn join(&self, hierarchy: &Hierarchy) -> Result<(), Error> {
        let inner = hierarchy.base.join(&self.path).join(INNER);
        hierarchy.join(&inner).map_err(failed("join the cgroup", inner))
    }

    /// The cgroup of v2, where there is one, for [`super::sys::clone`]: a child that is born there needs not be moved.
    pub(crate) fn open_unified(&self) -> Result<Option<OwnedFd>, Error> {
        let Some(unified) = self.hierarchies.unified() else { return Ok(None) };
        let inner = unified.base.join(&self.path).join(INNER);
        open_directory(&inner).map(Some).map_err(failed("open the cgroup", inner))
    }

    /// Moves the calling process, which has one thread, into the cgroups of a running container. In v2 a cgroup that has
    /// given its controllers to its children, as an init system makes it, takes no processes: there, next to init. With
    /// `may_bear` that is left to the birth of a child, in one of the returned places.
    pub(crate) fn join_running(&self, init: i32, may_bear: bool) -> Result<Vec<OwnedFd>, Error> {
        for hierarchy in self.hierarchies.iter().filter(|one| !may_bear || one.is(CgroupVersion::V1)) {
            let inner = hierarchy.base.join(&self.path).join(INNER);
            let result = hierarchy.join(&inner).or_else(|error| {
                if !takes_no_processes(&error) {
                    return Err(error);
                }
                let beside = hierarchy.cgroup_of(init)?;
                if beside.starts_with(&inner) { hierarchy.join(&beside) } else { Err(error) }
            });
            match result {
                // From a session of its own a plain user may not move processes into a cgroup of another.
                Err(error) if !rustix::process::geteuid().is_root() => {
                    tracing::debug!(%error, "The command stays out of the cgroup `{}`", inner.display());
                }
                result => result.map_err(failed("join the cgroup", inner))?,
            }
        }
        let Some(unified) = self.hierarchies.unified().filter(|_| may_bear) else { return Ok(Vec::new()) };
        let inner = unified.base.join(&self.path).join(INNER);
        let beside = unified.cgroup_of(init).ok().filter(|beside| beside.starts_with(&inner));
        let places = std::iter::once(inner).chain(beside);
        places.map(|place| open_directory(&place).map_err(failed("open the cgroup", place))).collect()
    }

    /// Lays out what the container sees below `/sys/fs/cgroup`, on `scratch` in the mount namespace of the calling
    /// process, and returns the directory to bind there.
    pub(crate) fn mount_view(&self, scratch: &Path) -> Result<PathBuf, Error> {
        if !self.hierarchies.has(CgroupVersion::V1)
            && let Some(unified) = self.hierarchies.unified()
        {
            return Ok(unified.base.join(&self.path).join(INNER));
        }
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(Some("tmpfs"), scratch, Some("tmpfs"), flags, Some("mode=755,size=64k"))
            .map_err(failed("mount a tmpfs on", scratch))?;
        for hierarchy in self.hierarchies.iter() {
            let name = [ROOT, UNMOUNTED].iter().find_map(|root| hierarchy.name_below(Path::new(root)));
            let Some(name) = name else { continue };
            let target = scratch.join(name);
            std::fs::create_dir(&target).map_err(failed("create", &target))?;
            let inner = hierarchy.base.join(&self.path).join(INNER);
            mount(Some(&inner), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
                .map_err(failed("bind the cgroup", inner))?;
        }
        if self.hierarchies.has(CgroupVersion::V1) {
            copy_links(Path::new(ROOT), scratch).map_err(failed("copy the links of", ROOT))?;
        }
        Ok(scratch.to_owned())
    }

    /// Whether there is anything left of them.
    pub(crate) fn exists(&self) -> bool {
        self.hierarchies.iter().any(|hierarchy| hierarchy.base.join(&self.path).exists())
    }

    /// Removes the cgroups, the guest's own included, and their parents when these are empty. Processes that linger in
    /// them are killed after a while: only ours can be there, for the container's own died with its init.
    pub(crate) fn remove(&self, map: &IdMap) -> Result<(), Error> {
        // What is frozen cannot even die.
        let _ = self.thaw();
        if !rustix::process::geteuid().is_root() {
            // What the guest made in them belongs to its users.
            let left = self.hierarchies.iter().map(|hierarchy| hierarchy.base.join(&self.path));
            let left: Vec<PathBuf> = left.filter(|path| path.exists()).collect();
            if !left.is_empty() {
                mapped::run(&Executable::default(), map, Work::RemoveCgroups(left))?;
            }
        }
        for hierarchy in self.hierarchies.iter() {
            remove_all(&hierarchy.base.join(&self.path))?;
            for parent in self.path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()) {
                if std::fs::remove_dir(hierarchy.base.join(parent)).is_err() {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// Why cgroups could not be made.
#[derive(Debug)]
pub(crate) enum CreateError {
    System(Error),
    Limit(ConfigProblem),
}

fn refuse(key: &str, error: &io::Error) -> CreateError {
    CreateError::Limit(ConfigProblem::Limit { key: key.to_owned(), reason: error.to_string() })
}

/// Whether a cgroup was refused because its processes have to be in its children.
pub(crate) fn takes_no_processes(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EOPNOTSUPP))
}

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Writes a control file in one write, as the kernel wants it.
pub(crate) fn write(file: &Path, value: &str) -> io::Result<()> {
    use std::io::Write;
    std::fs::OpenOptions::new().write(true).open(file)?.write_all(value.as_bytes())
}

/// Removes a cgroup and those in it, and in the end kills what lingers there.
pub(crate) fn remove_all(directory: &Path) -> Result<(), Error> {
    let patience = Instant::now() + PATIENCE;
    while let Err(error) = remove_tree(directory) {
        if error.raw_os_error() != Some(libc::EBUSY) || Instant::now() > patience + PATIENCE {
            return Err(failed("remove the cgroup", directory)(error));
        }
        if Instant::now() > patience {
            kill_tree(directory);
        }
        sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Directories of a cgroup file system go by rmdir, deepest first; their files go with them.
fn remove_tree(directory: &Path) -> io::Result<()> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    std::fs::remove_dir(directory)
}

fn kill_tree(directory: &Path) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        kill_tree(&entry.path());
    }
    let pids = std::fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    for pid in pids.lines().filter_map(|pid| pid.parse().ok()).filter(|pid| *pid > 0) {
        tracing::warn!(pid, "Killing process {pid}, which outlived its container");
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
    }
}

/// Where controllers share a mount, links lead to it: `cpu -> cpu,cpuacct`.
fn copy_links(from: &Path, to: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(entry.path())?, to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// The parent of the cgroups of all containers.
pub(crate) const PREFIX: &str = "rootcellar";
const INNER: &str = "inner";
/// Where the runtime mounts hierarchies that the host has not.
pub(crate) const UNMOUNTED: &str = "/run/rootcellar/hierarchies";
const ROOT: &str = "/sys/fs/cgroup";
const PATIENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_of_directories_is_removed_deepest_first() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("web1/inner/system.slice/a.service")).unwrap();
        remove_tree(&dir.path().join("web1")).unwrap();
        assert!(!dir.path().join("web1").exists());
        remove_tree(&dir.path().join("web1")).unwrap();
    }

    #[test]
    fn links_of_shared_controllers_are_copied_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        std::fs::create_dir_all(from.join("cpu,cpuacct")).unwrap();
        std::fs::create_dir(&to).unwrap();
        std::os::unix::fs::symlink("cpu,cpuacct", from.join("cpu")).unwrap();
        copy_links(&from, &to).unwrap();
        assert_eq!(std::fs::read_link(to.join("cpu")).unwrap(), Path::new("cpu,cpuacct"));
        assert!(!to.join("cpu,cpuacct").exists());
    }
}
