//! The first process of a container, from its birth until it becomes the container's own init.
//!
//! It is born in the container's cgroups and in namespaces of its own, furnishes the root file system, makes it its
//! root, gives up what a container may not have, and waits for the word to go. Our program is a stranger's file in there
//! for that time: the launcher was executed where nobody in the container can change it.

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::sched::{CloneFlags, unshare};
use rustix::fs::{CWD, Mode, OFlags, openat};

use super::account;
use super::error::{Error, chain, failed};
use super::furniture;
use super::hooks::Moment;
use super::launcher::{self, Launch, report};
use super::plan::Plan;
use super::program::{self, Bounds, Failure};
use super::room::Room;
use super::seccomp::Filter;
use super::sys;
use super::ttys::Laid;

/// Everything init needs.
pub(crate) struct Init<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) room: Room,
    pub(crate) ttys: Laid,
    pub(crate) filter: Filter,
    /// To the monitor. It is closed by becoming the program.
    pub(crate) reports: OwnedFd,
}

/// What init is made in. The launcher has made the mount and the network namespace, and init makes the one of cgroups,
/// whose root is where it is then.
pub(crate) fn namespaces() -> CloneFlags {
    CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS
}

impl Init<'_> {
    /// Becomes the program, or says why it cannot and ends.
    pub(crate) fn run(self) -> ! {
        let Self { plan, room, ttys, filter, reports } = self;
        let Err(reason) = become_program(plan, room, &ttys, &filter, &reports);
        let _ = report(&reports, &Launch::Failed(reason));
        sys::exit_child(1)
    }
}

fn become_program(
    plan: &Plan,
    room: Room,
    ttys: &Laid,
    filter: &Filter,
    reports: &OwnedFd,
) -> Result<Infallible, String> {
    // Capabilities are asked for where the host's `/proc` is.
    let bounds = Bounds::new(plan.capabilities).map_err(|error| chain(&error))?;
    let (console, environment) = arrive(plan, room, ttys, reports).map_err(launcher::reason)?;
    program::check(&plan.command, &environment).map_err(|failure| failure.reason)?;
    report(reports, &Launch::Ready).map_err(launcher::reason)?;
    wait_for_word().map_err(|error| chain(&error))?;
    plan.hooks.run_inside(&plan.subject(), Moment::Start, &[])?;
    give_up(plan, &console, filter, bounds)
        .map_err(|error| format!("cannot prepare the process: {}", chain(&error)))?;
    let Failure { reason, .. } = program::execute(&plan.command, &environment);
    Err(reason)
}

/// Goes into the container, from where nothing of the host can be reached. Returns the console and the program's
/// environment.
fn arrive(plan: &Plan, room: Room, ttys: &Laid, reports: &OwnedFd) -> Result<(OwnedFd, Vec<String>), Error> {
    furnish(plan, &room, ttys)?;
    room.root.enter()?;
    // Before a path of the configuration is used: one through a descriptor would lead out again (CVE-2024-21626).
    sys::close_all_but(reports).map_err(failed("close the descriptors of", "/proc/self"))?;
    rustix::process::chdir(plan.directory.as_str()).map_err(failed("enter", &plan.directory))?;
    let console = openat(CWD, "/dev/console", OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty());
    Ok((console.map_err(failed("open", "/dev/console"))?, environment(plan)?))
}

/// Takes its terminal and gives up what a process of the container has not.
fn give_up(plan: &Plan, console: &OwnedFd, filter: &Filter, bounds: Bounds) -> io::Result<()> {
    take_console(console)?;
    if plan.is_32_bit {
        sys::set_linux32_personality()?;
    }
    sys::reset_signals();
    nix::unistd::setgroups(&[])?;
    if plan.no_new_privileges {
        rustix::thread::set_no_new_privs(true)?;
    }
    filter.load()?;
    bounds.apply()
}

fn furnish(plan: &Plan, room: &Room, ttys: &Laid) -> Result<(), Error> {
    unshare(CloneFlags::CLONE_NEWCGROUP).map_err(failed("make a cgroup namespace for", &plan.config))?;
    rustix::system::sethostname(plan.hostname.as_bytes()).map_err(failed("give its name to", &plan.config))?;
    rustix::process::setsid().map_err(failed("make a session for", &plan.config))?;
    furniture::furnish(plan, room, ttys)
}

fn environment(plan: &Plan) -> Result<Vec<String>, Error> {
    let mut environment = plan.environment();
    environment.push("TERM=linux".to_owned());
    environment.extend(plan.ttys.environment());
    if !environment.iter().any(|entry| entry.starts_with("HOME=")) {
        let root = account::find("0").map_err(failed("read", Path::new("/etc/passwd")))?;
        environment.push(format!("HOME={}", root.home));
    }
    Ok(environment)
}

/// The console becomes the controlling terminal and the standard streams.
fn take_console(console: &OwnedFd) -> io::Result<()> {
    rustix::process::ioctl_tiocsctty(console)?;
    rustix::stdio::dup2_stdin(console)?;
    rustix::stdio::dup2_stdout(console)?;
    Ok(rustix::stdio::dup2_stderr(console)?)
}

/// A monitor that is gone says nothing.
pub(crate) fn wait_for_word() -> io::Result<()> {
    let mut stdin = File::from(rustix::stdio::stdin().try_clone_to_owned()?);
    let gone = |_| io::Error::other("the monitor is gone");
    stdin.read_exact(&mut [0; 1]).map_err(gone)
}
