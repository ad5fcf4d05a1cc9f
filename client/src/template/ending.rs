//! The end of the template before its time.
//!
//! liblxc runs the template as a child, or for mapped ids as a grandchild: `lxc-usernsexec` stands between, waits, and knows
//! nothing of its own parent. It also takes a template that a signal ended for one that succeeded (lxc
//! `src/lxc/cmd/lxc_usernsexec.c`), and liblxc would keep a container that is not filled.

use std::os::fd::{AsFd as _, OwnedFd};
use std::thread;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::set_parent_process_death_signal;
use terminal::{ExitStatus, Printer, finish};

use super::TemplateError;
use crate::files::unfinished;
use crate::runtime::process::Process;

/// From now on this process ends, with a failure and without its unfinished files, when it is told to, or when nobody
/// waits for it any more: a killed `lxc-create` would leave it downloading. It must have no other thread yet.
pub(super) fn watch(printer: &Printer) -> Result<(), TemplateError> {
    let signals = signals().map_err(|errno| TemplateError::Watch(errno.into()))?;
    let parent = rustix::process::getppid();
    let asked = set_parent_process_death_signal(Some(rustix::process::Signal::TERM));
    if asked.is_ok() && rustix::process::getppid() != parent {
        return Err(TemplateError::Unwanted);
    }
    let creator = match parent.map(|parent| parent.as_raw_nonzero().get()) {
        Some(parent) => creator_behind(parent)?,
        None => None,
    };
    let printer = printer.clone();
    let wait = move || {
        let reason = wait(&signals, creator.as_ref());
        unfinished::abandon();
        let _ = finish(&printer, Err::<ExitStatus, _>(reason));
        std::process::exit(FAILED);
    };
    thread::Builder::new().name("ending".to_owned()).spawn(wait).map(drop).map_err(TemplateError::Watch)
}

/// The process that wants a container, where its child does nothing but wait for this one. `None` where the parent wants
/// it itself, or nobody can tell.
fn creator_behind(parent: i32) -> Result<Option<OwnedFd>, TemplateError> {
    let name = std::fs::read_to_string(format!("/proc/{parent}/comm")).unwrap_or_default();
    if name.trim_end() != BETWEEN {
        return Ok(None);
    }
    let Some(creator) = Process::parent_of(parent).and_then(Process::find) else { return Ok(None) };
    let handle = creator.open();
    // Children of the dead get another parent: if this one still has the same, it was the one that is held now.
    if Process::parent_of(parent) == Some(creator.pid) { Ok(handle) } else { Err(TemplateError::Unwanted) }
}

/// Waits until this process is to end, and says why.
fn wait(signals: &SignalFd, creator: Option<&OwnedFd>) -> TemplateError {
    let mut sources = vec![PollFd::new(signals, PollFlags::IN)];
    sources.extend(creator.map(|creator| PollFd::from_borrowed_fd(creator.as_fd(), PollFlags::IN)));
    loop {
        match poll(&mut sources, None) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(errno) => return TemplateError::Watch(errno.into()),
            Ok(_) => {}
        }
        if let Ok(Some(signal)) = signals.read_signal() {
            let number = i32::try_from(signal.ssi_signo).unwrap_or_default();
            let name = Signal::try_from(number).map_or("a signal", Signal::as_str);
            return TemplateError::Told { signal: name };
        }
        if sources.get(1).is_some_and(|creator| !creator.revents().is_empty()) {
            return TemplateError::Unwanted;
        }
    }
}

/// The signals that tell this process to end, but for those that whoever runs it has had it ignore, as nohup(1) does.
fn signals() -> nix::Result<SignalFd> {
    let handling = Process::current().ok().and_then(Process::signal_handling);
    let ignored = |signal: Signal| handling.is_some_and(|handling| handling.ignores(signal as i32));
    let mut mask = SigSet::empty();
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM].into_iter().filter(|signal| !ignored(*signal)) {
        mask.add(signal);
    }
    mask.thread_block()?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

const BETWEEN: &str = "lxc-usernsexec";
/// What every failure of the template ends with.
const FAILED: i32 = 1;
