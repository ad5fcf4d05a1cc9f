//! One process, named so that a recycled pid cannot be mistaken for it.

use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

/// A process: its pid and when it started, in clock ticks since boot (field 22 of `/proc/PID/stat`, proc(5)). A pid
/// alone is handed out again after the process is gone; together with the start time it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    /// The pid in the host's pid namespace.
    pub(crate) pid: i32,
    start_ticks: u64,
}

impl Process {
    /// The process that has this pid now. `None` when there is none, or only a zombie.
    pub(crate) fn find(pid: i32) -> Option<Self> {
        let stat = Stat::read(pid)?;
        (!stat.is_zombie).then_some(Self { pid, start_ticks: stat.start_ticks })
    }

    /// The pid of the parent of the process that has this pid now.
    pub(crate) fn parent_of(pid: i32) -> Option<i32> {
        Stat::read(pid).map(|stat| stat.parent)
    }

    /// The calling process.
    pub(crate) fn current() -> io::Result<Self> {
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        Self::find(pid).ok_or_else(|| io::Error::other("`/proc` does not show the calling process"))
    }

    /// Whether the process still runs. A zombie does not.
    pub(crate) fn is_alive(self) -> bool {
        Self::find(self.pid) == Some(self)
    }

    /// A handle to the process: whatever happens to the pid later, it never names another one. `None` when the
    /// process is gone.
    pub(crate) fn open(self) -> Option<OwnedFd> {
        let pidfd = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()?;
        self.is_alive().then_some(pidfd)
    }

    /// How the process treats each signal. `None` when it is gone.
    pub(crate) fn signal_handling(self) -> Option<SignalHandling> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        self.is_alive().then(|| SignalHandling::parse(&status))
    }

    /// Whether the process sits in sigtimedwait(2), as the init of busybox does. The kernel does not show what it waits
    /// for, and shows it as not blocked meanwhile.
    pub(crate) fn waits_for_signals(self) -> bool {
        let call = std::fs::read_to_string(format!("/proc/{}/syscall", self.pid)).unwrap_or_default();
        let number = call.split(' ').next().and_then(|number| number.parse().ok());
        number == Some(libc::SYS_rt_sigtimedwait) && self.is_alive()
    }
}

/// Which signals a process blocks, catches and ignores: bit `n - 1` is signal `n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SignalHandling {
    blocked: u64,
    caught: u64,
    ignored: u64,
}

impl SignalHandling {
    fn parse(status: &str) -> Self {
        let mask = |field| {
            let hex = status.lines().find_map(|line| line.strip_prefix(field));
            hex.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0)
        };
        Self { blocked: mask("SigBlk:"), caught: mask("SigCgt:"), ignored: mask("SigIgn:") }
    }

    /// Whether the process blocks the signal, as one does that reads it from a signalfd.
    pub(crate) fn blocks(self, signal: i32) -> bool {
        self.blocked & bit(signal) != 0
    }

    /// Whether the signal does nothing to the process.
    pub(crate) fn ignores(self, signal: i32) -> bool {
        self.ignored & bit(signal) != 0
    }

    /// Whether the process does something of its own when the signal arrives.
    pub(crate) fn handles(self, signal: i32) -> bool {
        (self.blocked | self.caught) & bit(signal) != 0
    }
}

struct Stat {
    is_zombie: bool,
    parent: i32,
    start_ticks: u64,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The second field is the name in parentheses and may itself hold blanks and parentheses: fields are counted
    /// from the last `)`.
    fn parse(stat: &str) -> Option<Self> {
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let is_zombie = matches!(fields.next()?, "Z" | "X");
        let parent = fields.next()?.parse().ok()?;
        let start_ticks = fields.nth(17)?.parse().ok()?;
        Some(Self { is_zombie, parent, start_ticks })
    }
}

fn bit(signal: i32) -> u64 {
    u32::try_from(signal - 1).ok().and_then(|shift| 1_u64.checked_shl(shift)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calling_process_is_alive_and_has_a_handle() {
        let process = Process::current().unwrap();
        assert!(process.is_alive());
        assert!(process.open().is_some());
    }

    #[test]
    fn a_recycled_pid_is_not_the_process_that_had_it_before() {
        let process = Process::current().unwrap();
        let earlier = Process { start_ticks: process.start_ticks - 1, ..process };
        assert!(!earlier.is_alive());
        assert!(earlier.open().is_none());
    }

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) Z 1 (b) S 1 7 7 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        let parsed = Stat::parse(stat).unwrap();
        assert_eq!((parsed.is_zombie, parsed.parent, parsed.start_ticks), (false, 1, 4242));
    }

    #[test]
    fn a_child_that_has_ended_but_was_not_waited_for_is_not_alive() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let process = Process::find(child.id().cast_signed());
        let ended = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while Process::find(child.id().cast_signed()).is_some() && std::time::Instant::now() < ended {
            std::thread::yield_now();
        }
        assert!(process.is_none_or(|process| !process.is_alive()));
        child.wait().unwrap();
    }

    #[test]
    fn signal_masks_are_read_from_the_status_file() {
        let handling = SignalHandling::parse(
            "Name:\tsystemd\nSigBlk:\t7be3c0fe28014a03\nSigCgt:\t0000000000000400\nSigIgn:\t0000000000001000\n",
        );
        assert!(handling.blocks(37), "systemd blocks SIGRTMIN+3");
        assert!(handling.handles(11) && !handling.blocks(11));
        assert!(!handling.handles(64) && !handling.handles(0));
        assert!(handling.ignores(13) && !handling.ignores(15));
    }
}
