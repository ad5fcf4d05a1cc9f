//! Stopping a container.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::cgroup::Cgroup;
use super::error::{Error, failed};
use super::lock::Lock;
use super::monitor::STOPPING;
use super::plan::Plan;
use super::process::Process;
use super::status::{State, Status};
use super::{Container, halt, signal, status};

/// How to stop a container.
#[derive(Clone, Debug)]
pub struct StopOptions {
    /// How long init may take to shut down before it is killed. lxc-stop(1) waits as long.
    pub timeout: Duration,
    /// Kill it at once.
    pub kill: bool,
}

impl Default for StopOptions {
    fn default() -> Self {
        Self { timeout: Duration::from_mins(1), kill: false }
    }
}

/// How a container came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It shut down when asked.
    Halted,
    /// It was killed, as wanted.
    Killed,
    /// It was killed because it did not shut down in time.
    TimedOut,
    /// It was killed because its init takes no signal that could ask it to shut down.
    Deaf,
    /// It was dead already; what was left of it is cleaned up.
    Cleaned,
}

pub(crate) fn stop(container: &Container, options: &StopOptions) -> Result<Stopped, Error> {
    let status = settled(container);
    let stopped = match (status.state, status.init) {
        (State::Aborted, _) => Stopped::Cleaned,
        (State::Running | State::Stopping | State::Frozen, Some(init)) => end(container, init, options)?,
        (State::Stopping, None) => Stopped::Halted,
        (State::Stopped | State::Starting | State::Running | State::Frozen, _) => return Err(container.not_running()),
    };
    // A monitor cleans up by itself. What else is left is left by one that was killed.
    if let Some(monitor) = status.monitor.and_then(Process::open) {
        wait(&monitor, PATIENCE).map_err(failed("wait for the monitor of", container.directory()))?;
    }
    let _lock = Lock::take(container)?;
    if status::of_locked(&container.state).state == State::Aborted {
        container.clean()?;
    }
    Ok(stopped)
}

/// Halts a container and never kills it.
pub(crate) fn shut_down(container: &Container, timeout: Duration) -> Result<bool, Error> {
    let status = settled(container);
    let Some(init) = status.init else { return Err(container.not_running()) };
    let Some(pidfd) = init.open() else { return Ok(true) };
    let plan = container.state.plan()?;
    let Some(number) = halt_signal(container, &plan, init) else { return Ok(false) };
    let marker = container.state.file(STOPPING);
    std::fs::write(&marker, "").map_err(failed("write", &marker))?;
    let asked = signal::send(&pidfd, number).map_err(failed("send a signal to the init of", container.directory()));
    asked.and_then(|()| Cgroup::of(&container.state)?.thaw())?;
    let has_ended = wait(&pidfd, timeout).map_err(failed("wait for the init of", container.directory()))?;
    if !has_ended {
        // It goes on as if it had not been asked.
        let _ = std::fs::remove_file(marker);
        return Ok(false);
    }
    if let Some(monitor) = status.monitor.and_then(Process::open) {
        wait(&monitor, PATIENCE).map_err(failed("wait for the monitor of", container.directory()))?;
    }
    let _lock = Lock::take(container)?;
    if status::of_locked(&container.state).state == State::Aborted {
        container.clean()?;
    }
    Ok(true)
}

/// The status, once a start that is under way has come to something.
fn settled(container: &Container) -> Status {
    let patience = Instant::now() + PATIENCE;
    loop {
        let status = container.status();
        if status.state != State::Starting || Instant::now() > patience {
            return status;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn end(container: &Container, init: Process, options: &StopOptions) -> Result<Stopped, Error> {
    let Some(pidfd) = init.open() else { return Ok(Stopped::Halted) };
    let plan = container.state.plan()?;
    let marker = container.state.file(STOPPING);
    std::fs::write(&marker, "").map_err(failed("write", marker))?;
    let cgroup = Cgroup::of(&container.state)?;
    // A frozen process gets no signal.
    let send = |number| match signal::send(&pidfd, number) {
        Err(error) if error.raw_os_error() != Some(libc::ESRCH) => {
            Err(failed("send a signal to the init of", container.directory())(error))
        }
        _ => cgroup.thaw(),
    };
    let has_ended = |timeout| wait(&pidfd, timeout).map_err(failed("wait for the init of", container.directory()));
    let reason = match (options.kill, halt_signal(container, &plan, init)) {
        (true, _) => Stopped::Killed,
        (false, None) => Stopped::Deaf,
        (false, Some(number)) => {
            send(number)?;
            if has_ended(options.timeout)? {
                return Ok(Stopped::Halted);
            }
            Stopped::TimedOut
        }
    };
    send(plan.stop_signal.unwrap_or(libc::SIGKILL))?;
    if !has_ended(PATIENCE)? {
        send(libc::SIGKILL)?;
        has_ended(PATIENCE)?;
    }
    Ok(reason)
}

/// An init that was let go a moment ago has not told the kernel yet which signals it takes.
fn halt_signal(container: &Container, plan: &Plan, init: Process) -> Option<i32> {
    let age =
        container.state.file("state.json").metadata().and_then(|data| data.modified()).map(|start| start.elapsed());
    let age = age.ok().and_then(Result::ok).unwrap_or_default();
    let patience = Instant::now() + Duration::from_secs(1).saturating_sub(age);
    loop {
        match halt::choose(plan, init) {
            None if init.is_alive() && Instant::now() < patience => std::thread::sleep(Duration::from_millis(20)),
            choice => return choice,
        }
    }
}

/// Whether the process behind a pidfd ends within the time.
fn wait(pidfd: &OwnedFd, timeout: Duration) -> std::io::Result<bool> {
    let patience = Instant::now() + timeout;
    loop {
        let left = patience.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(std::io::Error::other)?;
        match poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&left)) {
            Err(rustix::io::Errno::INTR) => {}
            result => return Ok(result? > 0),
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_with_the_process_or_with_the_time() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pidfd = Process::find(child.id().cast_signed()).unwrap().open().unwrap();
        assert!(!wait(&pidfd, Duration::from_millis(5)).unwrap());
        child.kill().unwrap();
        assert!(wait(&pidfd, Duration::from_secs(10)).unwrap());
        child.wait().unwrap();
    }
}
