//! Running programs so that nothing of them outlives the builder.
//!
//! Each session is a child process in its own mount, process, IPC and host name namespaces:
//!
//! ```text
//! builder ──► sandbox enter     makes the namespaces, waits
//!             └──► sandbox init  process 1 inside: mounts, changes its root, runs the steps in order
//!                  └──► a step   a package manager, a script of the spec, mmdebstrap
//! ```
//!
//! Steps have no network unless they are marked for it: then they run in a network namespace of their own, with nothing
//! but a loopback interface. Time, memory and number of processes of each step are watched from process 1.
//!
//! Both children ask the kernel to be killed with their parent, and a process namespace dies with its process 1: when
//! the builder goes, by whatever signal, every process and every mount of the session goes with it.

mod aside;
mod init;
mod loopback;
mod mounts;
mod watch;

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, set_parent_process_death_signal};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use serde::{Deserialize, Serialize};
use terminal::human;

use crate::limits;
use crate::userns;

/// Programs that run one after the other in the same surroundings.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Session {
    /// The tree that becomes `/`; without one the host's is kept.
    pub(crate) root: Option<PathBuf>,
    /// Directories of the host that are seen in the tree, by the path they are seen at. `/run` and `/tmp` are empty and
    /// in memory unless they are among them.
    pub(crate) binds: BTreeMap<String, PathBuf>,
    /// The whole environment: nothing of the builder's own is passed on.
    pub(crate) environment: BTreeMap<String, String>,
    /// Files that exist only while the session runs, by their path below `/run`.
    pub(crate) files: BTreeMap<String, String>,
    /// Where steps read and write, in place of the log: numbers of inherited files.
    pub(crate) terminal: Option<[i32; 3]>,
    /// What runs. The first failure ends the session.
    pub(crate) steps: Vec<Step>,
}

/// One program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Step {
    /// What it is, for people: `the post-packages action actions[3] (line 57)`.
    pub(crate) label: String,
    /// What is executed.
    pub(crate) run: Run,
    /// Whether it sees the host's network.
    #[serde(default)]
    pub(crate) network: bool,
}

impl Step {
    /// A step without a network.
    pub(crate) fn new(label: impl Into<String>, run: Run) -> Self {
        Self { label: label.into(), run, network: false }
    }

    /// The same with the host's network.
    pub(crate) fn with_network(self) -> Self {
        Self { network: true, ..self }
    }
}

/// What one step may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StepLimits {
    /// How long it may run.
    pub(crate) timeout: Option<Duration>,
    /// How much memory all its processes together may fill.
    pub(crate) memory_bytes: Option<u64>,
}

/// What process 1 is told.
#[derive(Debug, Serialize, Deserialize)]
struct Orders {
    session: Session,
    /// Whether it shares the host's network.
    network: bool,
    limits: StepLimits,
}

/// What is executed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Run {
    /// A program and its arguments.
    Command(Vec<String>),
    /// A text that begins with `#!`.
    Script(String),
}

/// What process 1 tells the builder, one JSON document per line.
#[derive(Debug, Serialize, Deserialize)]
enum Event {
    /// The step with this number begins.
    Started(usize),
    /// The session could not be prepared.
    NotPrepared(String),
    /// The step failed.
    Failed(String),
    /// The time is over, and everything was killed.
    TooLate,
    /// The time of this step is over.
    StepTooLate,
    /// Its processes fill so many bytes.
    TooMuchMemory(u64),
    /// It has too many processes.
    TooManyProcesses,
    /// Every step succeeded.
    Finished,
}

/// Where the output of a session goes, and until when it may run.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    /// Takes everything that the programs print.
    pub(crate) log: &'a std::fs::File,
    /// When everything is killed.
    pub(crate) deadline: Option<Instant>,
    /// What one step may take.
    pub(crate) limits: StepLimits,
    /// Whether there is a network for anybody.
    pub(crate) network: bool,
}

/// Input, output and errors of this process, as files that a session inherits.
pub(crate) fn terminal() -> io::Result<[i32; 3]> {
    // They stay open until this process ends; unlike others they are handed on.
    let keep = |file: BorrowedFd<'_>| -> io::Result<i32> { Ok(rustix::io::dup(file)?.into_raw_fd()) };
    Ok([keep(io::stdin().as_fd())?, keep(io::stdout().as_fd())?, keep(io::stderr().as_fd())?])
}

/// Makes mounts of this process and its children invisible to others, and end with it. Other threads must not exist
/// yet.
#[allow(unsafe_code, reason = "unshare is unsafe for the flags that are not used here")]
pub(crate) fn keep_mounts_private() -> io::Result<()> {
    // SAFETY: only `FILES` breaks assumptions about file descriptors between threads.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
    rustix::mount::mount_change(
        "/",
        rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC,
    )?;
    Ok(())
}

/// Runs a session to its end. When this returns, everything that ran in it is gone.
pub(crate) fn run(session: &Session, around: Surroundings<'_>) -> Result<(), SandboxError> {
    let left = around.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    let network = around.network && session.steps.iter().any(|step| step.network);
    let orders = Orders { session: session.clone(), network, limits: around.limits };
    let mut child = Command::new("/proc/self/exe")
        .args([COMMAND, ENTER, if network { SHARED } else { ISOLATED }])
        .args(left.map(|left| left.as_millis().to_string()))
        .env_clear()
        .envs(&session.environment)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(around.log.try_clone()?)
        .spawn()?;
    let outcome = follow(&mut child, &orders);
    child.wait()?;
    outcome
}

/// Hands the session to the child and listens to what becomes of it.
fn follow(child: &mut Child, orders: &Orders) -> Result<(), SandboxError> {
    let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(SandboxError::Vanished);
    };
    let session = &orders.session;
    let document = serde_json::to_vec(orders).map_err(io::Error::from)?;
    input.write_all(&document)?;
    drop(input);
    let label = |index: usize| session.steps.get(index).map_or_else(String::new, |step| step.label.clone());
    let mut outcome = Err(SandboxError::Vanished);
    let mut current = 0;
    for line in BufReader::new(output).lines() {
        match serde_json::from_str(&line?).map_err(io::Error::from)? {
            Event::Started(index) => current = index,
            Event::NotPrepared(reason) => outcome = Err(SandboxError::NotPrepared { reason }),
            Event::Failed(reason) => {
                let is_script = session.steps.get(current).is_some_and(|step| matches!(step.run, Run::Script(_)));
                let isolated = is_script && !orders.network;
                outcome = Err(SandboxError::Step { label: label(current), reason, isolated });
            }
            Event::StepTooLate => {
                let limit = orders.limits.timeout.unwrap_or_default();
                outcome = Err(SandboxError::StepTooLate { label: label(current), limit });
            }
            Event::TooMuchMemory(found) => {
                let limit = orders.limits.memory_bytes.unwrap_or_default();
                outcome = Err(SandboxError::TooMuchMemory { label: label(current), limit, found });
            }
            Event::TooManyProcesses => outcome = Err(SandboxError::TooManyProcesses { label: label(current) }),
            Event::TooLate => outcome = Err(SandboxError::TooLate { label: label(current) }),
            Event::Finished => outcome = Ok(()),
        }
    }
    outcome
}

/// The child processes' own `main`: `rootcellar-builder sandbox enter`, `… init` and `… map`, which only the builder
/// calls.
pub(crate) fn child_main(arguments: &[String]) -> ExitCode {
    let done = match arguments {
        [role, network] if role == ENTER => enter(network == SHARED, None),
        [role, network, left] if role == ENTER => {
            enter(network == SHARED, left.parse().ok().map(Duration::from_millis))
        }
        [role, rest @ ..] if role == userns::MAP => userns::map(rest),
        [role] if role == INIT => init::run(),
        _ => Ok(()),
    };
    if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(2) }
}

/// Makes the namespaces and waits for process 1, not longer than `left`.
#[allow(unsafe_code, reason = "unshare is unsafe for the flags that are not used here")]
fn enter(network: bool, left: Option<Duration>) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut namespaces = UnshareFlags::NEWNS | UnshareFlags::NEWPID | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    if !network {
        namespaces |= UnshareFlags::NEWNET;
    }
    // SAFETY: only `FILES` breaks assumptions about file descriptors between threads, and this process has one thread.
    let unshared = unsafe { unshare_unsafe(namespaces) };
    if let Err(error) = unshared {
        return report(&Event::NotPrepared(format!("cannot make namespaces: {error}")));
    }
    let mut init = Command::new("/proc/self/exe").args([COMMAND, INIT]).spawn()?;
    if let Some(left) = left
        && !ends_within(&init, left)?
    {
        // The kernel reports the end of process 1 after that of everything else in its namespace.
        init.kill()?;
        init.wait()?;
        return report(&Event::TooLate);
    }
    init.wait().map(drop)
}

fn ends_within(child: &Child, left: Duration) -> io::Result<bool> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let left = Timespec::try_from(left).map_err(|_| io::ErrorKind::InvalidInput)?;
    Ok(poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&left))? > 0)
}

fn report(event: &Event) -> io::Result<()> {
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    let mut output = io::stdout();
    output.write_all(&line)?;
    output.flush()
}

/// Why a session failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SandboxError {
    #[error("cannot run programs in a sandbox")]
    Io(#[from] io::Error),
    #[error("the sandbox cannot be prepared: {reason}")]
    NotPrepared { reason: String },
    #[error("{label} failed: {reason}")]
    Step { label: String, reason: String, isolated: bool },
    #[error("{label} was killed: it ran longer than the {} of `--step-timeout`", human::elapsed(*.limit))]
    StepTooLate { label: String, limit: Duration },
    #[error(
        "{label} was killed: its processes filled {} of memory, and `--step-memory` allows {}",
        human::bytes(*.found), human::bytes(*.limit)
    )]
    TooMuchMemory { label: String, limit: u64, found: u64 },
    #[error("{label} was killed: it had more than {} processes", limits::PROCESSES)]
    TooManyProcesses { label: String },
    #[error("{label} was killed because the time given with `--timeout` is over")]
    TooLate { label: String },
    #[error("the sandbox ended without a result")]
    Vanished,
}

/// The hidden command of the children.
pub(crate) const COMMAND: &str = "sandbox";
const ENTER: &str = "enter";
const INIT: &str = "init";
/// Whose network a session has.
const SHARED: &str = "shared";
const ISOLATED: &str = "isolated";
