//! What a container is doing: what is remembered of it, compared with the processes that exist.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use super::cgroup::Cgroup;
use super::lock::Lock;
use super::monitor::STOPPING;
use super::process::Process;
use super::state::{End, Record, StateDir};

/// The states of a container. The names are LXC's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing runs and nothing is left.
    Stopped,
    /// A start is under way.
    Starting,
    /// Init runs.
    Running,
    /// Init and all others were told to hold still.
    Frozen,
    /// Init has been asked to end, or has ended and is being cleaned up behind.
    Stopping,
    /// Nothing runs, but the end was not a good one. What it left behind goes with the next start, stop or destruction.
    Aborted,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Stopped => "STOPPED",
            Self::Starting => "STARTING",
            Self::Running => "RUNNING",
            Self::Frozen => "FROZEN",
            Self::Stopping => "STOPPING",
            Self::Aborted => "ABORTED",
        })
    }
}

/// What a container is doing now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// In one word.
    pub state: State,
    /// Whether a monitor watches it. A container whose monitor was killed runs on; nobody restarts it or cleans up.
    pub is_watched: bool,
    /// Whether its network was carried by a program that has ended.
    pub has_lost_network: bool,
    /// How init ended, when it ended badly of its own accord.
    pub end: Option<End>,
    pub(crate) init: Option<Process>,
    pub(crate) monitor: Option<Process>,
}

impl Status {
    /// The pid of init in the host's pid namespace.
    pub fn pid(&self) -> Option<i32> {
        self.init.map(|init| init.pid)
    }

    fn new(state: State) -> Self {
        Self { state, is_watched: false, has_lost_network: false, end: None, init: None, monitor: None }
    }
}

/// The status, for who does not have the container's lock.
pub(crate) fn of(state: &StateDir, container: &Path) -> Status {
    let status = of_locked(state);
    // Whoever starts a container holds the lock until the monitor has written its record.
    if status.state == State::Aborted && state.record().is_none() && matches!(Lock::try_take(container), Ok(None)) {
        return Status::new(State::Starting);
    }
    status
}

/// The status, for who has the container's lock.
pub(crate) fn of_locked(state: &StateDir) -> Status {
    match state.record() {
        Some(record) => {
            let status = of_record(&record, state.file(STOPPING).exists());
            let is_frozen = status.state == State::Running && Cgroup::of(state).is_ok_and(|cgroup| cgroup.is_frozen());
            if is_frozen { Status { state: State::Frozen, ..status } } else { status }
        }
        None if state.exists() => Status::new(State::Aborted),
        None => Status::new(State::Stopped),
    }
}

fn of_record(record: &Record, is_stopping: bool) -> Status {
    let monitor = Some(record.monitor).filter(|monitor| monitor.is_alive());
    let init = record.init.filter(|init| init.is_alive());
    let state = match (init, monitor) {
        (Some(_), _) if is_stopping => State::Stopping,
        (Some(_), _) if record.is_started => State::Running,
        (Some(_), Some(_)) => State::Starting,
        (_, Some(_)) if record.init.is_none() => State::Starting,
        (_, Some(_)) => State::Stopping,
        (_, None) => State::Aborted,
    };
    let has_lost_network = init.is_some() && record.helper.is_some_and(|helper| !helper.is_alive());
    Status { state, is_watched: monitor.is_some(), has_lost_network, end: record.end, init, monitor }
}

/// Whether liblxc runs the container: it then listens on an abstract socket named after the container's directory (lxc
/// `src/lxc/commands.c`). Long names are hashed there; those are not recognised.
pub(crate) fn runs_under_lxc(container: &Path) -> bool {
    let socket = format!("@{}/command", container.display());
    let sockets = std::fs::read_to_string("/proc/net/unix").unwrap_or_default();
    sockets.lines().any(|line| line.ends_with(&socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone() -> Process {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::find(child.id().cast_signed()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        process
    }

    fn state(monitor: Process, init: Option<Process>, is_started: bool) -> State {
        let record = Record { monitor, init, is_started, ..Record::new().unwrap() };
        of_record(&record, false).state
    }

    #[test]
    fn the_state_follows_from_the_processes_that_exist() {
        let (here, gone) = (Process::current().unwrap(), gone());
        assert_eq!(state(here, None, false), State::Starting);
        assert_eq!(state(here, Some(here), false), State::Starting);
        assert_eq!(state(here, Some(here), true), State::Running);
        assert_eq!(state(here, Some(gone), true), State::Stopping);
        assert_eq!(state(gone, Some(here), true), State::Running);
        assert_eq!(state(gone, Some(gone), true), State::Aborted);
        assert_eq!(state(gone, None, false), State::Aborted);
        assert_eq!(state(gone, Some(here), false), State::Aborted);
    }

    #[test]
    fn a_container_that_was_asked_to_end_is_stopping() {
        let here = Process::current().unwrap();
        let record = Record { init: Some(here), is_started: true, ..Record::new().unwrap() };
        assert_eq!(of_record(&record, true).state, State::Stopping);
    }

    #[test]
    fn a_container_nobody_started_runs_under_nobody() {
        assert!(!runs_under_lxc(Path::new("/nowhere/web1")));
    }
}
