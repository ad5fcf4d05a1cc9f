//! The launcher: a short-lived process with one thread that makes the container's first process and ends.
//!
//! It prepares what that is born into: mount, network and user namespace, cgroups, terminals. It is executed where
//! nobody in the container can change our program, because init, its child, shows it to the container.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::sched::CloneFlags;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use terminal::ExitStatus;

use super::cgroup::Cgroup;
use super::error::{Error, chain, failed};
use super::hooks::Moment;
use super::init::{self, Init};
use super::plan::Plan;
use super::room::Room;
use super::seccomp::{self, Filter};
use super::state::StateDir;
use super::sys::SingleThread;
use super::{furniture, network, sys, ttys, unmounted};

/// What launcher and init tell the monitor, one line of JSON each on the launcher's standard output. When init has become
/// the container's program, the output ends.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Launch {
    /// Init has this pid.
    Init(i32),
    /// Init waits for the word to go.
    Ready,
    /// It ends here, for this reason.
    Failed(String),
}

/// Makes init as soon as a byte on standard input says that the cgroups are there. The next one is for init.
pub(crate) fn run(state: &Path, monitor: i32) -> Result<ExitStatus, Error> {
    let alone = sys::require_single_thread()?;
    let monitor = sys::inherited(monitor).map_err(failed("use the socket of", state))?;
    let monitor = UnixStream::from(OwnedFd::from(monitor));
    let reports = rustix::stdio::stdout().try_clone_to_owned().map_err(failed("use", "standard output"))?;
    let state = StateDir::at(state).map_err(failed("use the state directory", state))?;
    let plan = state.plan()?;
    let (launch, status) = match make(alone, &state, &plan, &monitor, &reports) {
        Ok(init) => (Launch::Init(init.as_raw()), ExitStatus::Done),
        Err(error) => (Launch::Failed(reason(error)), ExitStatus::Failed),
    };
    report(&reports, &launch)?;
    Ok(status)
}

fn make(
    alone: SingleThread,
    state: &StateDir,
    plan: &Plan,
    monitor: &UnixStream,
    reports: &OwnedFd,
) -> Result<Pid, Error> {
    let refuse = |action, error| failed(action, &plan.config)(error);
    let filter = Filter::compile()
        .and_then(|filter| filter.save(&state.file(seccomp::FILE)).map(|()| filter))
        .map_err(|error| refuse("make the system call filter of", error))?;
    let (room, cgroup) = prepare(alone, state, plan, monitor)?;
    let mut ttys = ttys::lay(&plan.ttys, &room.scratch.join("pts"), &furniture::devpts(plan))?;
    ttys.send(monitor).map_err(|error| refuse("hand over the terminals of", error))?;
    // Root of a user namespace may not move processes on the host: it has joined before.
    let unified = if plan.idmap.is_empty() { cgroup.open_unified()? } else { None };
    let reports = reports.try_clone().map_err(|error| refuse("report on", error))?;
    let namespaces = init::namespaces();
    match sys::clone(alone, namespaces, unified.as_ref().map(AsFd::as_fd)).map_err(|e| refuse("make the init of", e))? {
        Some(init) => Ok(init),
        None => Init { plan, room, ttys, filter, reports }.run(),
    }
}

/// Takes the calling process to where init can be born.
fn prepare(alone: SingleThread, state: &StateDir, plan: &Plan, monitor: &UnixStream) -> Result<(Room, Cgroup), Error> {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    if let Err(error) = sys::join_new_session_keyring() {
        tracing::debug!(%error, "The container gets no session keyring of its own");
    }
    let cgroup = Cgroup::of(state)?;
    let wait = || init::wait_for_word().map_err(failed("wait for the cgroups of", &plan.config));
    if !plan.idmap.is_empty() {
        wait()?;
        cgroup.join_all()?;
        return Ok((Room::enter(alone, state, plan, &cgroup, monitor)?, cgroup));
    }
    let network = if plan.network.is_own() { CloneFlags::CLONE_NEWNET } else { CloneFlags::empty() };
    unmounted::enter_own_mount_namespace(network)?;
    if plan.network.is_own() {
        sys::bring_up_loopback().map_err(failed("bring up the interface", "lo"))?;
    }
    network::send(&plan.network, monitor)?;
    wait()?;
    cgroup.join_v1()?;
    run_pre_mount_hooks(plan)?;
    Ok((Room::in_state(state, plan, &cgroup)?, cgroup))
}

/// Only in a mount namespace that becomes the container's.
pub(crate) fn run_pre_mount_hooks(plan: &Plan) -> Result<(), Error> {
    let run = plan.hooks.run(&plan.subject(), Moment::PreMount, &[]);
    run.map_err(|reason| Error::Start { name: plan.name.clone(), reason })
}

/// Who reads it knows which container it is about.
pub(crate) fn reason(error: Error) -> String {
    match error {
        Error::Start { reason, .. } => reason,
        error => chain(&error),
    }
}

/// Writes one line.
pub(crate) fn report(reports: &OwnedFd, launch: &Launch) -> Result<(), Error> {
    let mut line = serde_json::to_vec(launch).map_err(failed("write", "the report of the launcher"))?;
    line.push(b'\n');
    let reports = reports.try_clone().map_err(failed("use", "standard output"))?;
    File::from(reports).write_all(&line).map_err(failed("write", "the report of the launcher"))
}
