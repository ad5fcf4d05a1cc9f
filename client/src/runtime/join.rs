//! `exec`: one more process in a running container.
//!
//! The calling program is replaced by, or starts, a protected twin of itself with one thread. That enters the cgroups and
//! the namespaces of init and forks the command, which the container sees only from there on: nothing of ours is open
//! in it, its `/proc/self/exe` cannot be written, and until it executes the command it cannot be traced.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use nix::sched::CloneFlags;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::fs::Mode;
use rustix::process::DumpableBehavior;
use rustix::termios::isatty;
use rustix::thread::ThreadNameSpaceType;
use serde::{Deserialize, Serialize};
use terminal::ExitStatus;

use super::account::{self, Account};
use super::cgroup::{self, Cgroup};
use super::error::{Error, chain};
use super::plan::Plan;
use super::process::Process;
use super::program::{Bounds, CANNOT_RUN, Failure, NOT_FOUND, execute};
use super::pty::Pty;
use super::relay::{RawMode, Relay, write_all};
use super::seccomp::{self, Filter};
use super::state::{End, StateDir};
use super::sys::SingleThread;
use super::{executable, sys, unmounted};

/// What to run, and where.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) state: PathBuf,
    pub(crate) init: Process,
    pub(crate) command: Vec<String>,
    /// By name or number.
    pub(crate) user: String,
    /// Leaves out what the configuration sets.
    pub(crate) clear_environment: bool,
    /// Added to the environment, `NAME=VALUE`.
    pub(crate) environment: Vec<String>,
    pub(crate) directory: String,
    pub(crate) no_new_privileges: bool,
}

/// Runs the command of the request behind the file descriptor, and ends as it ends.
pub(crate) fn run(request: i32) -> Result<ExitStatus, Error> {
    let refuse = |reason| Error::Exec { name: String::new(), reason };
    let request: Request = sys::inherited(request)
        .and_then(|mut file| executable::take(&mut file))
        .map_err(|error| refuse(chain(&error)))?;
    let state = StateDir::at(&request.state).map_err(|error| refuse(chain(&error)))?;
    let plan = state.plan()?;
    let end = Joiner { request, plan, state }.run(Task::Command)?;
    Ok(ExitStatus::Code(end.code()))
}

/// What the process in the container does.
enum Task<'a> {
    /// Executes the command of the request.
    Command,
    /// Runs a function of the calling program.
    Function(&'a mut dyn FnMut() -> u8),
}

/// Runs a function in a forked child of the calling program, which must have one thread, as the command of the request
/// would run. What it returns is the exit status.
pub(crate) fn run_function(
    request: Request,
    plan: Plan,
    state: StateDir,
    function: &mut dyn FnMut() -> u8,
) -> Result<End, Error> {
    let alone = sys::require_single_thread()?;
    let name = plan.name.clone();
    let refuse = |error: &dyn std::error::Error| Error::Exec { name: name.clone(), reason: chain(error) };
    let (mut said, mut says) = io::pipe().map_err(|error| refuse(&error))?;
    // What is not written yet would be written twice.
    let _ = io::stdout().flush();
    let Some(joiner) = sys::fork(alone)? else {
        drop(said);
        let outcome = Joiner { request, plan, state }.run(Task::Function(function)).map_err(|error| chain(&error));
        let _ = serde_json::to_writer(&mut says, &outcome);
        sys::exit_child(0);
    };
    drop(says);
    let mut text = String::new();
    let read = said.read_to_string(&mut text);
    let ended = waitpid(joiner, None).map_err(|error| refuse(&error))?;
    read.map_err(|error| refuse(&error))?;
    match serde_json::from_str::<Result<End, String>>(&text) {
        Ok(Ok(end)) => Ok(end),
        Ok(Err(reason)) => Err(Error::Exec { name, reason }),
        Err(_) => Err(Error::Exec { name, reason: format!("the process that enters it ended: {ended:?}") }),
    }
}

struct Joiner {
    request: Request,
    plan: Plan,
    state: StateDir,
}

impl Joiner {
    fn run(self, task: Task<'_>) -> Result<End, Error> {
        let alone = sys::require_single_thread()?;
        let init = self.request.init;
        let pidfd = init.open().ok_or_else(|| Error::NotRunning { name: self.plan.name.clone() })?;
        let filter = Filter::read(&self.state.file(seccomp::FILE))
            .map_err(|error| self.refuse("make the system call filter", &error))?;
        unmounted::mount_here(alone)?;
        let places = Cgroup::of(&self.state)?.join_running(init.pid, self.plan.idmap.is_empty())?;
        self.enter(pidfd.as_fd()).map_err(|error| self.refuse("enter the container", &error))?;
        let terminals =
            [isatty(rustix::stdio::stdin()), isatty(rustix::stdio::stdout()), isatty(rustix::stdio::stderr())];
        let pty = if terminals.contains(&true) { Some(Pty::open()) } else { None };
        let pty = pty.transpose().map_err(|error| self.refuse("open a terminal in the container", &error))?;
        let signals = signals().map_err(|error| self.refuse("read signals", &error))?;
        let (mut report, reporter) = io::pipe().map_err(|error| self.refuse("make a pipe", &error))?;
        let capabilities =
            Bounds::new(self.plan.capabilities).map_err(|error| self.refuse("read capabilities", &error))?;
        let Some(child) = bear(alone, &places).map_err(|error| self.refuse("join the cgroup", &error))? else {
            drop(report);
            let (reporter, slave) = (OwnedFd::from(reporter), pty.as_ref().map(|pty| &pty.slave));
            let become_it = self.prepare(pidfd.as_fd(), capabilities, &filter, slave, terminals, &reporter);
            let failure = match (become_it, task) {
                (Err(failure), _) => failure,
                (Ok(account), Task::Command) => {
                    execute(&self.request.command, &self.environment(terminals.contains(&true), &account))
                }
                (Ok(_), Task::Function(function)) => {
                    drop(reporter);
                    sys::exit_child(call(function).into());
                }
            };
            write_all(&reporter, failure.reason.as_bytes());
            sys::exit_child(failure.code);
        };
        drop(reporter);
        let master = pty.map(|pty| pty.master);
        let mut reason = String::new();
        let _ = report.read_to_string(&mut reason);
        if !reason.is_empty() {
            let code = match waitpid(child, None) {
                Ok(WaitStatus::Exited(_, NOT_FOUND)) => NOT_FOUND,
                _ => CANNOT_RUN,
            };
            let code = u8::try_from(code).unwrap_or(u8::MAX);
            return Err(Error::Command { name: self.plan.name, reason, code });
        }
        relay(child, master, &signals, terminals)
            .map_err(|error| Error::Exec { name: self.plan.name.clone(), reason: chain(&error) })
    }

    fn refuse(&self, action: &str, error: &dyn std::error::Error) -> Error {
        Error::Exec { name: self.plan.name.clone(), reason: format!("cannot {action}: {}", chain(error)) }
    }

    /// The pid namespace is entered by the next child only.
    fn enter(&self, init: std::os::fd::BorrowedFd<'_>) -> io::Result<()> {
        let _ = sys::join_new_session_keyring();
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        if self.plan.is_32_bit {
            sys::set_linux32_personality()?;
        }
        let namespaces = ThreadNameSpaceType::MOUNT
            | ThreadNameSpaceType::PROCESS_ID
            | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
            | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
            | ThreadNameSpaceType::NETWORK;
        if self.plan.idmap.is_empty() {
            // The namespace of cgroups is for the child: from inside, a cgroup outside is no place to come from.
            return Ok(rustix::thread::move_into_thread_name_spaces(init, namespaces)?);
        }
        // The kernel enters the user namespace first, which gives the right to enter the others, and only that: nothing
        // of the caller's own rights is left.
        let more = ThreadNameSpaceType::CONTROL_GROUP | ThreadNameSpaceType::USER;
        rustix::thread::move_into_thread_name_spaces(init, namespaces | more)?;
        nix::unistd::setgroups(&[])?;
        nix::unistd::setresgid(0.into(), 0.into(), 0.into())?;
        Ok(nix::unistd::setresuid(0.into(), 0.into(), 0.into())?)
    }

    /// In the child: makes it a process of the container. Says why it cannot, and with which status to end.
    fn prepare(
        &self,
        init: std::os::fd::BorrowedFd<'_>,
        capabilities: Bounds,
        filter: &Filter,
        slave: Option<&OwnedFd>,
        terminals: [bool; 3],
        report: &OwnedFd,
    ) -> Result<Account, Failure> {
        let account = account::find(&self.request.user);
        let account = account.map_err(|error| Failure { reason: chain(&error), code: CANNOT_RUN })?;
        let prepared = (|| {
            if self.plan.idmap.is_empty() {
                rustix::thread::move_into_thread_name_spaces(init, ThreadNameSpaceType::CONTROL_GROUP)?;
            }
            if let Some(slave) = slave {
                take_terminal(slave, terminals)?;
            } else {
                rustix::process::setsid()?;
            }
            sys::close_all_but(report)?;
            // Only now: a path through one of our descriptors would have led out of the container.
            rustix::process::chdir(&self.request.directory)?;
            rustix::process::umask(Mode::from_raw_mode(0o022));
            nix::unistd::setgroups(&[])?;
            nix::unistd::setresgid(0.into(), 0.into(), 0.into())?;
            nix::unistd::setresuid(0.into(), 0.into(), 0.into())?;
            if self.plan.no_new_privileges || self.request.no_new_privileges {
                rustix::thread::set_no_new_privs(true)?;
            }
            filter.load()?;
            capabilities.apply()?;
            become_user(&account)
        })();
        let prepared: io::Result<()> = prepared;
        prepared.map_err(|error| Failure {
            reason: format!("cannot prepare the process: {}", chain(&error)),
            code: CANNOT_RUN,
        })?;
        sys::reset_signals();
        Ok(account)
    }

    fn environment(&self, has_terminal: bool, account: &Account) -> Vec<String> {
        let mut environment =
            if self.request.clear_environment { Plan::base_environment() } else { self.plan.environment() };
        environment.push(format!("HOME={}", if account.uid == 0 { "/root" } else { &account.home }));
        if has_terminal {
            environment.push(format!("TERM={}", std::env::var("TERM").unwrap_or_else(|_| "linux".to_owned())));
        }
        environment.extend(self.request.environment.iter().cloned());
        let name = |entry: &str| entry.split('=').next().map(str::to_owned);
        let mut last: Vec<String> = Vec::new();
        for entry in environment.into_iter().rev() {
            if !last.iter().any(|known| name(known) == name(&entry)) {
                last.push(entry);
            }
        }
        last
    }
}

/// Forks into the first of these cgroups that takes the child, or where the calling process is when there are none.
fn bear(alone: SingleThread, places: &[OwnedFd]) -> io::Result<Option<Pid>> {
    let mut refusal = None;
    for place in places {
        match sys::clone(alone, CloneFlags::empty(), Some(place.as_fd())) {
            Err(error) if cgroup::takes_no_processes(&error) => refusal = Some(error),
            result => return result,
        }
    }
    refusal.map_or_else(|| sys::clone(alone, CloneFlags::empty(), None), Err)
}

/// Runs a function of the calling program to its end, as Rust would run `main`.
fn call(function: &mut dyn FnMut() -> u8) -> u8 {
    let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(function)).unwrap_or(PANICKED);
    let _ = io::stdout().flush();
    code
}

/// Another user than root keeps no capabilities: the kernel takes them with the change.
fn become_user(account: &Account) -> io::Result<()> {
    if account.uid == 0 {
        return Ok(());
    }
    let groups: Vec<nix::unistd::Gid> = account.groups.iter().map(|gid| (*gid).into()).collect();
    nix::unistd::setgroups(&groups)?;
    let (uid, gid) = (account.uid.into(), account.gid.into());
    nix::unistd::setresgid(gid, gid, gid)?;
    Ok(nix::unistd::setresuid(uid, uid, uid)?)
}

/// Makes the pseudo terminal the controlling terminal and puts it where our side has a terminal. A terminal of the host
/// never enters a container: its root could type into it.
fn take_terminal(slave: &OwnedFd, terminals: [bool; 3]) -> io::Result<()> {
    rustix::process::setsid()?;
    rustix::process::ioctl_tiocsctty(slave)?;
    let [stdin, stdout, stderr] = terminals;
    if stdin {
        rustix::stdio::dup2_stdin(slave)?;
    }
    if stdout {
        rustix::stdio::dup2_stdout(slave)?;
    }
    if stderr {
        rustix::stdio::dup2_stderr(slave)?;
    }
    Ok(())
}

/// Signals that whoever runs us may send, to be passed on.
fn signals() -> nix::Result<SignalFd> {
    let mut mask = SigSet::empty();
    for signal in PASSED_ON.into_iter().chain([Signal::SIGCHLD, Signal::SIGWINCH]) {
        mask.add(signal);
    }
    mask.thread_block()?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

fn relay(child: Pid, master: Option<OwnedFd>, signals: &SignalFd, terminals: [bool; 3]) -> io::Result<End> {
    let [stdin, stdout, stderr] = terminals;
    let _raw = if stdin { RawMode::of_stdin()? } else { None };
    let mut relay = Relay::new(master, stdin)?;
    let terminal = match (stdout, stderr) {
        (true, _) => rustix::stdio::stdout(),
        (false, true) => rustix::stdio::stderr(),
        (false, false) => rustix::stdio::stdin(),
    };
    relay.copy_size(terminal);
    let mut sink = |bytes: &[u8]| write_all(terminal, bytes);
    loop {
        relay.wait(&[signals.as_fd()], None, &mut sink)?;
        while let Ok(Some(info)) = signals.read_signal() {
            let Ok(signal) =
                i32::try_from(info.ssi_signo).map_err(drop).and_then(|n| Signal::try_from(n).map_err(drop))
            else {
                continue;
            };
            match signal {
                Signal::SIGCHLD => {}
                Signal::SIGWINCH => relay.copy_size(terminal),
                signal => {
                    let _ = nix::sys::signal::kill(child, signal);
                }
            }
        }
        let end = match waitpid(child, Some(WaitPidFlag::WNOHANG))? {
            WaitStatus::Exited(_, status) => End::Exited(status),
            WaitStatus::Signaled(_, signal, _) => End::Killed(signal as i32),
            _ => continue,
        };
        relay.drain(&mut sink);
        return Ok(end);
    }
}

const PASSED_ON: [Signal; 7] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
];
/// How Rust ends a program that panics.
const PANICKED: u8 = 101;
