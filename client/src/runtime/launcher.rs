//! The launcher: a short-lived process with one thread that makes the container and lets its init go.
//!
//! The engine forks without exec and runs ordinary code in the child, so it must never be called in a process with
//! threads; it also knows neither the `name=systemd` hierarchy nor the `unified` one of a hybrid host. So the launcher
//! enters those itself, and is executed where nobody in the container can change our program, because the engine's
//! child shows it to the container.

use std::fs::File;
use std::io::{BufRead, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::syscall::syscall::SyscallType;
use nix::sched::CloneFlags;
use serde::{Deserialize, Serialize};
use terminal::ExitStatus;

use super::cgroup::Cgroup;
use super::error::{Error, chain, failed};
use super::hooks::Moment;
use super::plan::Plan;
use super::process::Process;
use super::room::Room;
use super::state::StateDir;
use super::sys::SingleThread;
use super::{network, sys, ttys, unmounted};
use super::{signal, spec};

/// What the launcher tells the monitor, one line of JSON on its standard output.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Launch {
    /// The container is made; its init, with this pid, waits for the word to go.
    Made(i32),
    /// It could not be made.
    Failed(String),
}

/// Makes the container, hands its terminals over through the socket, reports it, waits for a line on standard input, lets init go.
pub(crate) fn run(state: &Path, monitor: i32) -> Result<ExitStatus, Error> {
    let alone = sys::require_single_thread()?;
    let monitor = sys::inherited(monitor).map_err(failed("use the socket of", state))?;
    let monitor = UnixStream::from(OwnedFd::from(monitor));
    let state = StateDir::at(state).map_err(failed("use the state directory", state))?;
    let plan = state.plan()?;
    let made = make(alone, &state, &plan, &monitor);
    drop(monitor);
    let launch = match &made {
        Ok(container) => Launch::Made(container.pid().map_or(0, i32::from)),
        Err(reason) => Launch::Failed(reason.clone()),
    };
    report(&launch)?;
    let Ok(mut container) = made else { return Ok(ExitStatus::Failed) };
    let mut word = String::new();
    let heard = std::io::stdin().lock().read_line(&mut word).unwrap_or(0);
    let go = if heard == 0 { Err("the monitor is gone".to_owned()) } else { container.start().map_err(|e| chain(&e)) };
    if let Err(reason) = go {
        kill(&container);
        return Err(Error::Start { name: plan.name, reason });
    }
    Ok(ExitStatus::Done)
}

fn kill(container: &libcontainer::container::Container) {
    if let Some(init) = container.pid().and_then(|pid| Process::find(pid.as_raw())?.open()) {
        let _ = signal::send(init, libc::SIGKILL);
    }
}

fn make(
    alone: SingleThread,
    state: &StateDir,
    plan: &Plan,
    monitor: &UnixStream,
) -> Result<libcontainer::container::Container, String> {
    let room = prepare(alone, state, plan, monitor).map_err(|error| chain(&error))?;
    let laid = ttys::lay(&plan.ttys, &room.bundle.join("pts"), &spec::devpts(plan)).map_err(|error| chain(&error))?;
    let spec = spec::build(&room.plan, &room.rootfs, &room.cgroup, &room.view, &laid).map_err(|error| chain(&error))?;
    laid.send(monitor).map_err(|error| chain(&error))?;
    spec.save(room.bundle.join("config.json")).map_err(|error| chain(&error))?;
    sys::reset_signals();
    ContainerBuilder::new(plan.name.clone(), SyscallType::default())
        .with_root_path(room.engine)
        .map_err(|error| chain(&error))?
        .with_console_socket(Some(room.console))
        .validate_id()
        .map_err(|error| chain(&error))?
        .as_init(&room.bundle)
        .with_systemd(false)
        .with_detach(true)
        .build()
        .map_err(|error| chain(&error))
}

/// Takes the calling process as close to the container as the engine lets us.
fn prepare(alone: SingleThread, state: &StateDir, plan: &Plan, monitor: &UnixStream) -> Result<Room, Error> {
    let cgroup = Cgroup::of(state)?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    if let Err(error) = sys::join_new_session_keyring() {
        tracing::debug!(%error, "The container gets no session keyring of its own");
    }
    if !plan.idmap.is_empty() {
        cgroup.join_all()?;
        return Room::enter(alone, state, plan, &cgroup, monitor);
    }
    cgroup.join_what_the_engine_does_not()?;
    let network = if plan.network.is_own() { CloneFlags::CLONE_NEWNET } else { CloneFlags::empty() };
    unmounted::enter_own_mount_namespace(network)?;
    if plan.network.is_own() {
        sys::bring_up_loopback().map_err(failed("bring up the interface", "lo"))?;
    }
    network::send(&plan.network, monitor)?;
    run_pre_mount_hooks(plan)?;
    let scratch = state.file("cgroup");
    std::fs::create_dir_all(&scratch).map_err(failed("create", &scratch))?;
    let view = cgroup.mount_view(&scratch)?;
    Room::in_state(state, plan, view, cgroup.engine_path())
}

/// Only in a mount namespace that becomes the container's.
pub(crate) fn run_pre_mount_hooks(plan: &Plan) -> Result<(), Error> {
    let run = plan.hooks.run(&plan.subject(), Moment::PreMount, &[]);
    run.map_err(|reason| Error::Start { name: plan.name.clone(), reason })
}

fn report(launch: &Launch) -> Result<(), Error> {
    let mut line = serde_json::to_vec(launch).map_err(failed("write", "the report of the launcher"))?;
    line.push(b'\n');
    let stdout = rustix::stdio::stdout().try_clone_to_owned().map_err(failed("use", "standard output"))?;
    File::from(stdout).write_all(&line).map_err(failed("write", "the report of the launcher"))
}
