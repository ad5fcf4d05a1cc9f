//! A terminal with a test at its keyboard.

use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// A terminal with a test at its keyboard.
pub(crate) struct Terminal {
    master: OwnedFd,
    slave: OwnedFd,
    /// What was shown so far.
    pub(crate) said: String,
}

impl Terminal {
    pub(crate) fn open() -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        unlockpt(&master).unwrap();
        let slave = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        Self { master, slave, said: String::new() }
    }

    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size).unwrap();
    }

    /// For a standard stream of a program.
    pub(crate) fn stream(&self) -> Stdio {
        Stdio::from(self.slave.try_clone().unwrap())
    }

    /// Runs a program with all its standard streams on the terminal.
    pub(crate) fn run(&self, command: &mut Command) -> Child {
        command.stdin(self.stream()).stdout(self.stream()).stderr(self.stream()).spawn().unwrap()
    }

    pub(crate) fn types(&self, keys: &str) {
        rustix::io::write(&self.master, keys.as_bytes()).unwrap();
    }

    /// Waits until it shows this.
    pub(crate) fn shows(&mut self, wanted: &str) {
        let patience = Instant::now() + Duration::from_mins(1);
        while !self.said.contains(wanted) {
            assert!(Instant::now() < patience, "no `{wanted}` in `{}`", self.said);
            self.reads(Timespec { tv_sec: 1, tv_nsec: 0 });
        }
    }

    /// Reads what an ended program has shown last.
    #[allow(dead_code, reason = "not every promise waits for an end")]
    pub(crate) fn reads_what_is_left(&mut self) {
        while self.reads(Timespec { tv_sec: 0, tv_nsec: 0 }) {}
    }

    /// Whether there was something to read within this time.
    fn reads(&mut self, patience: Timespec) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(self.master.as_fd(), PollFlags::IN)];
        let is_there = poll(&mut fds, Some(&patience)).unwrap() > 0;
        if is_there {
            let mut buffer = [0; 1024];
            let count = rustix::io::read(&self.master, &mut buffer).unwrap_or(0);
            self.said.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
        is_there
    }
}
