//! The embedded runtime: containers without LXC installed.
//!
//! A container is an ordinary LXC container directory, `<containers>/<name>/{config,rootfs}`; `lxc-start` runs the same
//! one. What is done on the way changes the whole calling process, and some of it can only be done with one thread. So
//! every step is a process of its own, our program executed again:
//!
//! ```text
//! rootcellar start ──→ monitor ──→ launcher ──→ init          (launcher ends; init falls to the monitor)
//!                      │ own session, no container namespace; console, exit status, reboot, cleaning up
//! rootcellar exec ───→ joiner ───→ the command                (both end together)
//!                      │ in init's namespaces and cgroups
//! ```
//!
//! Launcher and joiner touch the container's namespaces and run from a program that nobody in there can change. There is no daemon:
//! what is known of a container is in its state directory, and each command compares it with the processes that exist.
//!
//! The functions here block and must not be called from asynchronous code.
//!
//! # For programs
//!
//! Each step is a process of the program that uses this library, executed again: it begins with [`step`]. One that
//! cannot says with [`Container::with_executable`] where `rootcellar` is.
//!
//! ```standalone_crate
//! use std::process::ExitCode;
//! use std::time::Duration;
//!
//! use rootcellar::runtime::{self, Container, CopyOptions, End, ExecOptions, StartOptions, StopOptions};
//!
//! fn main() -> ExitCode {
//!     if let Some(code) = runtime::step() {
//!         return code;
//!     }
//! #   if !rustix::process::geteuid().is_root() || std::fs::metadata("/bin/busybox").is_err() {
//! #       testkit::skip("root and busybox-static are needed");
//! #       return ExitCode::SUCCESS;
//! #   }
//!     live().expect("a container lives")
//! }
//!
//! fn live() -> Result<ExitCode, Box<dyn std::error::Error>> {
//! #   let directory = tempfile::tempdir()?;
//! #   let rootfs = directory.path().join("web1/rootfs");
//! #   for name in ["bin", "proc", "sys", "dev", "run"] {
//! #       std::fs::create_dir_all(rootfs.join(name))?;
//! #   }
//! #   std::fs::copy("/bin/busybox", rootfs.join("bin/busybox"))?;
//! #   std::os::unix::fs::symlink("busybox", rootfs.join("bin/sh"))?;
//! #   let config = format!("lxc.rootfs.path = dir:{}\nlxc.net.0.type = empty\n", rootfs.display());
//! #   std::fs::write(directory.path().join("web1/config"), config)?;
//! #   let containers = directory.path();
//!     // Made before: `Container::create(containers, &"web1".parse()?, "debian/bookworm", CreateOptions::default())?`
//!     let web1 = Container::open(containers, &"web1".parse()?)?;
//!     web1.start(&StartOptions { command: ["sh", "-c", "trap 'exit 0' TERM; while :; do busybox sleep 1; done"].map(str::to_owned).to_vec() })?;
//!     let end = web1.exec(&ExecOptions::new(["sh", "-c", "echo hello > /greeting; exit 7"]))?;
//!     assert_eq!(end, End::Exited(7));
//!     assert!(web1.ips(None, Duration::ZERO).is_empty(), "it has no network");
//!     if !web1.shutdown(Duration::from_secs(30))? {
//!         web1.stop(&StopOptions { kill: true, ..StopOptions::default() })?;
//!     }
//!
//!     // A clone shares what it does not change; the base stays for as long as the clone.
//!     let web2 = web1.copy(&"web2".parse()?, &CopyOptions { snapshot: true })?.container;
//!     assert!(web1.destroy().is_err());
//!     for container in [web2, web1] {
//!         container.destroy()?;
//!     }
//!     Ok(ExitCode::SUCCESS)
//! }
//! ```
//!
//! `client/examples/` has whole programs.
//!
//! With `lxc.idmap` the container has a user namespace, and everything works for a plain user, too, who has subordinate
//! ids and newuidmap(1). Without it only root can start the container: capabilities, devices, system calls and cgroups
//! keep the container's root in bounds, as they do for privileged LXC containers, and like these it is no jail for
//! hostile code.

pub(crate) mod backing;
pub(crate) mod cleaner;
pub(crate) mod error;
pub(crate) mod executable;
pub(crate) mod idmap;
mod idmapped;
pub(crate) mod join;
pub(crate) mod launcher;
pub(crate) mod mapped;
pub(crate) mod monitor;
pub(crate) mod sys;

mod account;
mod addresses;
mod attributes;
mod auto_mount;
mod autostart;
mod builtin;
mod capability;
mod cgroup;
mod config;
mod console;
pub(crate) mod copying;
mod creation;
mod devices;
mod execution;
mod furniture;
mod halt;
mod handover;
pub(crate) mod hierarchy;
mod hooks;
mod init;
mod links;
mod lock;
mod mount;
pub(crate) mod network;
mod plan;
pub(crate) mod process;
mod program;
mod pty;
mod relay;
mod removal;
mod room;
mod root;
mod seat;
mod seccomp;
mod settings;
mod signal;
mod snapshot;
mod start;
mod state;
mod status;
mod stop;
mod terminals;
mod ttys;
mod unmounted;
mod user_namespace;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use formats::name::Name;

pub use addresses::Addresses;
pub use autostart::{Autostart, Choice, chosen};
pub use cgroup::Usage;
pub use copying::{Copied, CopyOptions};
pub use creation::CreateOptions;
pub use error::{ConfigProblem, Error};
pub use execution::ExecOptions;
pub use idmap::{IdMap, IdMapError};
pub use links::Link;
pub use network::Family;
pub use seat::{ConsoleOptions, EscapeKey, Left};
pub use settings::Notice;
pub use snapshot::Snapshot;
pub use start::{StartOptions, Started};
pub use state::End;
pub use status::{State, Status};
pub use stop::{StopOptions, Stopped};

use error::failed;
use executable::{Executable, STEP};
use lock::Lock;
use mapped::Work;
use state::StateDir;

/// One container.
#[derive(Clone, Debug)]
pub struct Container {
    containers: PathBuf,
    name: Name,
    state: StateDir,
    executable: Executable,
}

impl Container {
    /// The container `name` of a containers directory. It must have a `config`.
    pub fn open(containers: &Path, name: &Name) -> Result<Self, Error> {
        let unknown = || Error::Unknown { name: name.to_string(), containers: containers.to_owned() };
        let containers = containers.canonicalize().map_err(|_| unknown())?;
        let directory = containers.join(name.as_str());
        if !directory.symlink_metadata().is_ok_and(|data| data.is_dir()) || !directory.join("config").is_file() {
            return Err(unknown());
        }
        let state = StateDir::of(&containers, name);
        Ok(Self { containers, name: name.clone(), state, executable: Executable::default() })
    }

    /// For programs other than `rootcellar`: where that is.
    #[must_use]
    pub fn with_executable(mut self, rootcellar: &Path) -> Self {
        self.executable = Executable::at(rootcellar);
        self
    }

    /// The name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The container's directory.
    pub fn directory(&self) -> PathBuf {
        self.containers.join(self.name.as_str())
    }

    /// What the container is doing now.
    pub fn status(&self) -> Status {
        status::of(&self.state, &self.directory())
    }

    /// Its addresses. None while it does not run.
    pub fn addresses(&self) -> Addresses {
        self.status().pid().map(addresses::of).unwrap_or_default()
    }

    /// Its network interfaces. None while it does not run, and those of the host when it has no network of its own.
    pub fn links(&self) -> Vec<Link> {
        self.status().pid().map(links::of).unwrap_or_default()
    }

    /// Whether a process of the container runs now.
    pub fn is_running(&self) -> bool {
        self.status().pid().is_some()
    }

    /// Its addresses of one family, or of both, as soon as it has any. None when it has none in that time.
    pub fn ips(&self, family: Option<Family>, timeout: Duration) -> Vec<IpAddr> {
        let patience = Instant::now() + timeout;
        loop {
            let Addresses { ipv4, ipv6 } = self.addresses();
            let all = ipv4.into_iter().map(IpAddr::from).chain(ipv6.into_iter().map(IpAddr::from));
            let found: Vec<IpAddr> = all.filter(|ip| family.is_none_or(|family| Family::of(*ip) == family)).collect();
            if !found.is_empty() || Instant::now() >= patience || !self.is_running() {
                return found;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What it uses of the machine. Nothing while it does not run.
    pub fn usage(&self) -> Usage {
        match self.status().pid() {
            Some(_) => cgroup::Cgroup::of(&self.state).map(|cgroup| cgroup.usage()).unwrap_or_default(),
            None => Usage::default(),
        }
    }

    /// What its configuration says of its start with the machine.
    pub fn autostart(&self) -> Result<Autostart, Error> {
        Ok(Autostart::new(&start::items(self)?))
    }

    /// Sits at the container's console, or at one of its terminals, with the standard streams of the calling program.
    /// `seated` gets the number of the terminal. For a program with one thread: signals are taken from the calling one.
    pub fn console(&self, options: ConsoleOptions, seated: impl FnOnce(u32)) -> Result<Left, Error> {
        seat::sit(self, options, seated)
    }

    /// Lets every process of the container hold still. One that is frozen already stays so.
    pub fn freeze(&self) -> Result<(), Error> {
        let _lock = Lock::take(self)?;
        match status::of_locked(&self.state).state {
            State::Running => {}
            State::Frozen => return Ok(()),
            State::Stopped | State::Starting | State::Stopping | State::Aborted => return Err(self.not_running()),
        }
        let frozen = cgroup::Cgroup::of(&self.state)?.freeze()?;
        if frozen { Ok(()) } else { Err(Error::NoFreezer { name: self.name.to_string() }) }
    }

    /// Lets a frozen container go on. One that is not frozen goes on anyway.
    pub fn unfreeze(&self) -> Result<(), Error> {
        let _lock = Lock::take(self)?;
        match status::of_locked(&self.state).state {
            State::Running => Ok(()),
            State::Frozen => cgroup::Cgroup::of(&self.state)?.thaw(),
            State::Stopped | State::Starting | State::Stopping | State::Aborted => Err(self.not_running()),
        }
    }

    /// What it has written to its console since it was started. It is kept while the container runs, and after a bad
    /// end.
    pub fn console_log(&self) -> Result<String, Error> {
        let mut log = Vec::new();
        for name in ["console.log.1", "console.log"] {
            let path = self.state.file(name);
            match std::fs::read(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                bytes => log.extend(bytes.map_err(failed("read", path))?),
            }
        }
        Ok(String::from_utf8_lossy(&log).into_owned())
    }

    /// Starts the container in the background and returns when its init runs.
    pub fn start(&self, options: &StartOptions) -> Result<Started, Error> {
        start::detached(self, options)
    }

    /// Starts the container with the console on the standard streams, in place of the calling program. Returns only
    /// when that is not possible.
    pub fn start_in_place(&self, options: &StartOptions, notice: impl FnMut(&Notice)) -> Error {
        start::in_place(self, options, notice)
    }

    /// Halts the container, or kills it when it does not halt in time, and cleans up behind it.
    pub fn stop(&self, options: &StopOptions) -> Result<Stopped, Error> {
        stop::stop(self, options)
    }

    /// Asks the container's init to shut down. `false` when it has not ended in that time, or takes no such request.
    pub fn shutdown(&self, timeout: Duration) -> Result<bool, Error> {
        stop::shut_down(self, timeout)
    }

    /// Deletes the container's directory. Refuses while the container runs, while anything is mounted there, and while
    /// it has clones or snapshots.
    pub fn destroy(&self) -> Result<(), Error> {
        let _lock = Lock::take(self)?;
        self.refuse_if_running()?;
        let snapshots: Vec<String> = self.snapshots()?.into_iter().map(|snapshot| snapshot.name).collect();
        if !snapshots.is_empty() {
            return Err(Error::HasSnapshots { name: self.name.to_string(), snapshots });
        }
        self.destroy_locked()
    }

    /// Like [`Container::destroy`], with all its snapshots.
    pub fn destroy_with_snapshots(&self) -> Result<(), Error> {
        let _lock = Lock::take(self)?;
        self.refuse_if_running()?;
        self.refuse_if_needed()?;
        for snapshot in list(&self.snaps())? {
            Self { executable: self.executable.clone(), ..snapshot }.destroy()?;
        }
        self.destroy_locked()
    }

    fn destroy_locked(&self) -> Result<(), Error> {
        self.refuse_if_needed()?;
        let directory = self.directory();
        let needs = self.needs()?;
        let refuse = |reason| Error::Destroy { name: self.name.to_string(), reason };
        let mounts = removal::mounts_beneath(&directory).map_err(failed("read", "/proc/self/mountinfo"))?;
        if let Some(mount) = mounts.first() {
            return Err(refuse(format!("something is mounted on `{}`", mount.display())));
        }
        self.clean()?;
        if let Ok(settings) = start::settings(self) {
            let config = directory.join("config");
            let rootfs = settings.rootfs.as_ref().map(backing::Backing::path).unwrap_or_default();
            let subject = hooks::Subject { name: self.name.as_str(), config: &config, rootfs: &rootfs };
            settings.hooks.run(&subject, hooks::Moment::Destroy, &[]).map_err(refuse)?;
        }
        if !rustix::process::geteuid().is_root()
            && let Some(map) = start::settings(self).ok().map(|settings| settings.idmap).filter(|map| !map.is_empty())
        {
            let work = Work::RemoveDirectory(self.containers.clone(), self.name.to_string());
            mapped::run(&self.executable, &map, work)?;
        } else {
            removal::remove(&self.containers, self.name.as_str()).map_err(failed("delete", directory))?;
        }
        self.leave_bases(&needs)
    }

    /// Refuses while other containers need this one.
    fn refuse_if_needed(&self) -> Result<(), Error> {
        let clones = self.clones()?;
        if clones.is_empty() { Ok(()) } else { Err(Error::HasClones { name: self.name.to_string(), clones }) }
    }

    fn not_running(&self) -> Error {
        Error::NotRunning { name: self.name.to_string() }
    }

    /// Refuses unless nothing runs, under us or under LXC. Only with the lock.
    fn refuse_if_running(&self) -> Result<(), Error> {
        let status = status::of_locked(&self.state);
        let name = || self.name.to_string();
        match status.state {
            State::Stopped | State::Aborted => {}
            State::Starting | State::Running | State::Frozen | State::Stopping => {
                return Err(Error::Running { name: name(), pid: status.pid() });
            }
        }
        if status::runs_under_lxc(&self.directory()) { Err(Error::UnderLxc { name: name() }) } else { Ok(()) }
    }

    /// Removes what a monitor that was killed left behind. Only with the lock, and when nothing runs.
    fn clean(&self) -> Result<(), Error> {
        if !self.state.exists() && !cgroup::Cgroup::of(&self.state)?.exists() {
            return Ok(());
        }
        let mut command = self.executable.command();
        let output =
            command.arg("clean").arg(self.state.path()).output().map_err(failed("execute", "/proc/self/exe"))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(failed("clean up", self.state.path())(std::io::Error::other(said)))
    }
}

/// Does a step of the runtime when the program was executed for one. A program that has the runtime in it, and not
/// `rootcellar` beside it, begins with this, before anything else:
///
/// ```no_run
/// fn main() -> std::process::ExitCode {
///     if let Some(code) = rootcellar::runtime::step() {
///         return code;
///     }
///     // The program itself.
///     std::process::ExitCode::SUCCESS
/// }
/// ```
pub fn step() -> Option<ExitCode> {
    let mut arguments = std::env::args_os();
    let is_step = arguments.nth(1).is_some_and(|word| word == STEP);
    is_step.then(|| crate::commands::internal_runtime::main(std::env::args_os().skip(2)))
}

/// Every container of a directory, by name. Directories with other names than containers can have, and those without a
/// `config`, are none.
pub fn list(containers: &Path) -> Result<Vec<Container>, Error> {
    let entries = match std::fs::read_dir(containers) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed("read", containers))?,
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<Name>().ok());
    let mut found: Vec<Container> = names.filter_map(|name| Container::open(containers, &name).ok()).collect();
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_directories_with_a_config_are_containers() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["web2", "web1", "empty", ".hidden"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        for name in ["web2", "web1", ".hidden"] {
            std::fs::write(dir.path().join(name).join("config"), "").unwrap();
        }
        std::os::unix::fs::symlink("web1", dir.path().join("link")).unwrap();
        let names: Vec<String> = list(dir.path()).unwrap().iter().map(|found| found.name().to_string()).collect();
        assert_eq!(names, ["web1", "web2"]);
    }

    #[test]
    fn an_unknown_container_is_named_with_its_directory() {
        let error = Container::open(Path::new("/nowhere"), &"web1".parse().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "there is no container `web1` in `/nowhere`");
    }

    #[test]
    fn a_directory_that_is_not_there_has_no_containers() {
        assert!(list(Path::new("/nowhere")).unwrap().is_empty());
    }
}
