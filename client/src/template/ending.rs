//! The end of the template before its time.
//!
//! liblxc runs the template as a child, or for mapped ids as a grandchild: `lxc-usernsexec` stands between, waits, and knows
//! nothing of its own parent. It also takes a template that a signal ended for one that succeeded (lxc
//! `src/lxc/cmd/lxc_usernsexec.c`), and liblxc would keep a container that is not filled. So behind it the work is done by
//! another process, and this one reports how that ended.
//!
//! If this one is killed itself, nobody is left to say so. Nor can the configuration say it, by a line that liblxc refuses:
//! if `lxc-create` was killed, too, `lxc-destroy` would refuse it just so.

use std::os::fd::{AsFd as _, OwnedFd};
use std::thread;

use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::set_parent_process_death_signal;
use terminal::{ExitStatus, Printer, finish};

use super::TemplateError;
use crate::files::unfinished;
use crate::runtime::process::Process;
use crate::runtime::sys;

/// Behind `lxc-usernsexec`, returns in another process, which does the work. This one waits for it and returns how it
/// ended. It must have no other thread yet.
///
/// Only behind that program does liblxc pass mapped ids, which `is_mapped` says: where `/proc` shows nobody else's processes
/// (hidepid), nothing else tells who is there, and who wants the container is not seen at all.
pub(super) fn guard(is_mapped: bool) -> Result<Option<ExitStatus>, TemplateError> {
    let Some(parent) = rustix::process::getppid().map(|parent| parent.as_raw_nonzero().get()) else { return Ok(None) };
    let name = std::fs::read_to_string(format!("/proc/{parent}/comm")).unwrap_or_default();
    let is_seen = name.trim_end() == BETWEEN;
    let Some(alone) = sys::require_single_thread().ok().filter(|_| is_seen || is_mapped) else { return Ok(None) };
    let signals = signals(&[Signal::SIGCHLD]).map_err(failed)?;
    end_with_parent()?;
    let creator = if is_seen { creator_behind(parent)? } else { None };
    match sys::fork(alone).map_err(|error| TemplateError::Watch(std::io::Error::other(error)))? {
        None => Ok(None),
        Some(worker) => wait_for(worker, &signals, creator.as_ref()).map(Some),
    }
}

/// From now on this process ends, with a failure and without its unfinished files, when it is told to, or when nobody
/// waits for it any more: a killed `lxc-create` would leave it downloading. It must have no other thread yet.
pub(super) fn watch(printer: &Printer) -> Result<(), TemplateError> {
    let signals = signals(&[]).map_err(failed)?;
    end_with_parent()?;
    let printer = printer.clone();
    let wait = move || {
        let reason = told(&signals);
        unfinished::abandon();
        let _ = finish(&printer, Err::<ExitStatus, _>(reason));
        std::process::exit(FAILED);
    };
    thread::Builder::new().name("ending".to_owned()).spawn(wait).map(drop).map_err(TemplateError::Watch)
}

/// Has this process told to end when its parent ends.
fn end_with_parent() -> Result<(), TemplateError> {
    let parent = rustix::process::getppid();
    let asked = set_parent_process_death_signal(Some(rustix::process::Signal::TERM));
    let is_gone = asked.is_ok() && rustix::process::getppid() != parent;
    if is_gone { Err(TemplateError::Unwanted) } else { Ok(()) }
}

/// The parent of `lxc-usernsexec`, which wants the container. `None` where that cannot be seen.
fn creator_behind(between: i32) -> Result<Option<OwnedFd>, TemplateError> {
    let Some(creator) = Process::parent_of(between).and_then(Process::find) else { return Ok(None) };
    let handle = creator.open();
    // Children of the dead get another parent: if this one still has the same, it was the one that is held now.
    if Process::parent_of(between) == Some(creator.pid) { Ok(handle) } else { Err(TemplateError::Unwanted) }
}

/// Waits for the end of the worker, and sees to it when this process is told to end or the creator does.
fn wait_for(worker: Pid, signals: &SignalFd, creator: Option<&OwnedFd>) -> Result<ExitStatus, TemplateError> {
    let mut sources = vec![PollFd::new(signals, PollFlags::IN)];
    sources.extend(creator.map(|creator| PollFd::from_borrowed_fd(creator.as_fd(), PollFlags::IN)));
    loop {
        match poll(&mut sources, None) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(errno) => return Err(TemplateError::Watch(errno.into())),
            Ok(_) => {}
        }
        let mut is_over = sources.get(1).is_some_and(|creator| !creator.revents().is_empty());
        // The end of the creator stays to be seen; it is told once.
        sources.truncate(if is_over { 1 } else { 2 });
        while let Ok(Some(signal)) = signals.read_signal() {
            is_over |= Signal::try_from(signal.ssi_signo.cast_signed()) != Ok(Signal::SIGCHLD);
        }
        if is_over {
            let _ = kill(worker, Signal::SIGTERM);
        }
        match waitpid(worker, Some(WaitPidFlag::WNOHANG)).map_err(failed)? {
            WaitStatus::Exited(_, 0) => return Ok(ExitStatus::Done),
            WaitStatus::Exited(..) => return Ok(ExitStatus::Refused),
            WaitStatus::Signaled(_, signal, _) => return Err(TemplateError::Killed { signal: signal.as_str() }),
            _ => {}
        }
    }
}

/// Waits until this process is told to end.
fn told(signals: &SignalFd) -> TemplateError {
    let mut sources = [PollFd::new(signals, PollFlags::IN)];
    loop {
        match (poll(&mut sources, None), signals.read_signal()) {
            (Ok(_), Ok(Some(signal))) => {
                let name = Signal::try_from(signal.ssi_signo.cast_signed()).map_or("a signal", Signal::as_str);
                return TemplateError::Told { signal: name };
            }
            (Ok(_) | Err(rustix::io::Errno::INTR), _) => {}
            (Err(errno), _) => return TemplateError::Watch(errno.into()),
        }
    }
}

/// The signals that tell this process to end, but for those that whoever runs it has had it ignore, as nohup(1) does, and
/// `more`.
fn signals(more: &[Signal]) -> nix::Result<SignalFd> {
    let handling = Process::current().ok().and_then(Process::signal_handling);
    let ignored = |signal: Signal| handling.is_some_and(|handling| handling.ignores(signal as i32));
    let mut mask: SigSet = more.iter().copied().collect();
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM].into_iter().filter(|signal| !ignored(*signal)) {
        mask.add(signal);
    }
    mask.thread_block()?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

fn failed(errno: nix::Error) -> TemplateError {
    TemplateError::Watch(errno.into())
}

const BETWEEN: &str = "lxc-usernsexec";
/// What every failure of the template ends with.
const FAILED: i32 = 1;
