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
//! Both children ask the kernel to be killed with their parent, and a process namespace dies with its process 1: when
//! the builder goes, by whatever signal, every process and every mount of the session goes with it.

mod init;
mod mounts;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use serde::{Deserialize, Serialize};

/// Programs that run one after the other in the same surroundings.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Session {
    /// The tree that becomes `/`; without one the host's is kept.
    pub(crate) root: Option<PathBuf>,
    /// The whole environment: nothing of the builder's own is passed on.
    pub(crate) environment: BTreeMap<String, String>,
    /// Files that exist only while the session runs, by their path below `/run`.
    pub(crate) files: BTreeMap<String, String>,
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
    /// The step with this number failed.
    Failed(usize, String),
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
}

/// Runs a session to its end.
pub(crate) fn run(session: &Session, around: Surroundings<'_>) -> Result<(), SandboxError> {
    let mut child = Command::new("/proc/self/exe")
        .args([COMMAND, ENTER])
        .env_clear()
        .envs(&session.environment)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(around.log.try_clone()?)
        .spawn()?;
    let outcome = supervise(&mut child, session, around);
    // The child ends by itself once its process 1 has: this also collects the one that was killed.
    child.wait()?;
    outcome
}

fn supervise(child: &mut Child, session: &Session, around: Surroundings<'_>) -> Result<(), SandboxError> {
    let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(SandboxError::Vanished);
    };
    let document = serde_json::to_vec(session).map_err(std::io::Error::from)?;
    input.write_all(&document)?;
    drop(input);
    let (stop, stopped) = mpsc::channel::<()>();
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let watchdog = around.deadline.zip(pid).map(|(deadline, pid)| {
        std::thread::spawn(move || {
            let left = deadline.saturating_duration_since(Instant::now());
            let late = stopped.recv_timeout(left) == Err(mpsc::RecvTimeoutError::Timeout);
            // It may have ended in this very moment; it is not collected before this thread is.
            late && kill_process(pid, Signal::KILL).is_ok()
        })
    });
    let mut outcome = Err(SandboxError::Vanished);
    let mut current = 0;
    for line in BufReader::new(output).lines() {
        let event = serde_json::from_str(&line?).map_err(std::io::Error::from)?;
        match event {
            Event::Started(index) => current = index,
            Event::NotPrepared(reason) => outcome = Err(SandboxError::NotPrepared { reason }),
            Event::Failed(index, reason) => {
                outcome = Err(SandboxError::Step { label: label(session, index), reason });
            }
            Event::Finished => outcome = Ok(()),
        }
    }
    drop(stop);
    if watchdog.is_some_and(|thread| thread.join().unwrap_or(false)) {
        outcome = Err(SandboxError::TooLate { label: label(session, current) });
    }
    outcome
}

fn label(session: &Session, index: usize) -> String {
    session.steps.get(index).map_or_else(String::new, |step| step.label.clone())
}

/// The child processes' own `main`: `rootcellar-builder sandbox enter` and `… init`, which only the builder calls.
pub(crate) fn child_main(arguments: &[String]) -> std::process::ExitCode {
    let done = match arguments {
        [role] if role == ENTER => enter(),
        [role] if role == INIT => init::run(),
        _ => Ok(()),
    };
    match done {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(_) => std::process::ExitCode::from(2),
    }
}

/// Makes the namespaces and waits for process 1.
#[allow(unsafe_code, reason = "unshare is unsafe for the flags that are not used here")]
fn enter() -> std::io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let namespaces = UnshareFlags::NEWNS | UnshareFlags::NEWPID | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    // SAFETY: only `FILES` breaks assumptions about file descriptors between threads, and this process has one thread.
    let unshared = unsafe { unshare_unsafe(namespaces) };
    if let Err(error) = unshared {
        return report(&Event::NotPrepared(format!("cannot make namespaces: {error}")));
    }
    Command::new("/proc/self/exe").args([COMMAND, INIT]).spawn()?.wait()?;
    Ok(())
}

fn report(event: &Event) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    let mut output = std::io::stdout();
    output.write_all(&line)?;
    output.flush()
}

/// Why a session failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SandboxError {
    #[error("cannot run programs in a sandbox")]
    Io(#[from] std::io::Error),
    #[error("the sandbox cannot be prepared: {reason}")]
    NotPrepared { reason: String },
    #[error("{label} failed: {reason}")]
    Step { label: String, reason: String },
    #[error("{label} was killed because the time given with `--timeout` is over")]
    TooLate { label: String },
    #[error("the sandbox ended without a result")]
    Vanished,
}

/// The hidden command of the children.
pub(crate) const COMMAND: &str = "sandbox";
const ENTER: &str = "enter";
const INIT: &str = "init";
