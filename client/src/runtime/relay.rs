//! Bytes between a pseudo terminal and the terminal, the pipe or the log on our side.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

/// Carries what a pseudo terminal says to `sink`, and what standard input says to the pseudo terminal.
pub(crate) struct Relay {
    master: Option<OwnedFd>,
    reads_stdin: bool,
    /// Input the pseudo terminal did not take yet.
    pending: Vec<u8>,
}

impl Relay {
    /// Relays for the master side of a pseudo terminal. Without one, [`Relay::wait`] only waits.
    pub(crate) fn new(master: Option<OwnedFd>, reads_stdin: bool) -> io::Result<Self> {
        if let Some(master) = &master {
            fcntl_setfl(master, OFlags::RDWR | OFlags::NONBLOCK)?;
        }
        Ok(Self { reads_stdin: reads_stdin && master.is_some(), master, pending: Vec::new() })
    }

    /// Relays until one of `others` can be read, and says which can. Nothing can when `timeout` runs out.
    pub(crate) fn wait(
        &mut self,
        others: &[BorrowedFd<'_>],
        timeout: Option<Timespec>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> io::Result<Vec<bool>> {
        loop {
            let stdin = rustix::stdio::stdin();
            let mut fds: Vec<PollFd<'_>> =
                others.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
            let mut wanted = PollFlags::IN;
            if !self.pending.is_empty() {
                wanted |= PollFlags::OUT;
            }
            fds.extend(self.master.as_ref().map(|master| PollFd::new(master, wanted)));
            let polls_stdin = self.reads_stdin && self.pending.is_empty() && self.master.is_some();
            if polls_stdin {
                fds.push(PollFd::from_borrowed_fd(stdin, PollFlags::IN));
            }
            let count = match poll(&mut fds, timeout.as_ref()) {
                Err(Errno::INTR) => continue,
                result => result?,
            };
            let happened: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
            let (others_happened, ours) = happened.split_at(others.len());
            if self.master.is_some()
                && let Some(happened) = ours.first()
            {
                if happened.contains(PollFlags::OUT) {
                    self.flush();
                }
                if happened.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                    self.carry_output(sink);
                }
            }
            if polls_stdin && ours.get(1).is_some_and(|happened| !happened.is_empty()) {
                self.carry_input(stdin);
            }
            let ready: Vec<bool> = others_happened.iter().map(|happened| !happened.is_empty()).collect();
            if count == 0 || ready.contains(&true) {
                return Ok(ready);
            }
        }
    }

    /// Carries what the pseudo terminal still holds, without waiting for more.
    pub(crate) fn drain(&mut self, sink: &mut dyn FnMut(&[u8])) {
        while self.master.is_some() && self.carry_output(sink) {}
    }

    /// Gives the pseudo terminal the size of the terminal.
    pub(crate) fn copy_size(&self, terminal: impl AsFd) {
        if let (Some(master), Ok(size)) = (&self.master, tcgetwinsize(terminal)) {
            let _ = tcsetwinsize(master, size);
        }
    }

    /// Whether there may be more to read now.
    fn carry_output(&mut self, sink: &mut dyn FnMut(&[u8])) -> bool {
        let Some(master) = &self.master else { return false };
        let mut buffer = [0; BUFFER_BYTES];
        match rustix::io::read(master, &mut buffer) {
            Err(Errno::AGAIN) => false,
            Err(Errno::INTR) => true,
            // EIO: nobody has the other side open any more.
            Ok(0) | Err(_) => {
                self.master = None;
                false
            }
            Ok(count) => {
                sink(buffer.get(..count).unwrap_or_default());
                true
            }
        }
    }

    fn carry_input(&mut self, stdin: BorrowedFd<'_>) {
        let mut buffer = [0; BUFFER_BYTES];
        match rustix::io::read(stdin, &mut buffer) {
            Err(Errno::INTR | Errno::AGAIN) => {}
            Ok(0) | Err(_) => self.reads_stdin = false,
            Ok(count) => {
                self.pending.extend_from_slice(buffer.get(..count).unwrap_or_default());
                self.flush();
            }
        }
    }

    fn flush(&mut self) {
        let Some(master) = &self.master else { return };
        match rustix::io::write(master, &self.pending) {
            Ok(count) => drop(self.pending.drain(..count)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.pending.clear(),
        }
    }
}

/// A terminal that passes every key on as it is, until this is dropped.
pub(crate) struct RawMode {
    saved: Termios,
}

impl RawMode {
    /// Sets standard input to raw mode, if it is a terminal.
    pub(crate) fn of_stdin() -> io::Result<Option<Self>> {
        let stdin = rustix::stdio::stdin();
        if !isatty(stdin) {
            return Ok(None);
        }
        let saved = tcgetattr(stdin)?;
        let mut raw = saved.clone();
        raw.make_raw();
        tcsetattr(stdin, OptionalActions::Now, &raw)?;
        Ok(Some(Self { saved }))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.saved);
    }
}

/// Writes everything, to a file descriptor that may be shared with others. Errors are of no interest: who does not want
/// the output any more need not get it.
pub(crate) fn write_all(fd: impl AsFd, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match rustix::io::write(&fd, bytes) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::new(&fd, PollFlags::OUT)], None);
            }
            Err(_) => return,
        }
    }
}

const BUFFER_BYTES: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};

    fn pty() -> (OwnedFd, OwnedFd) {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        unlockpt(&master).unwrap();
        let slave = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        (master, slave)
    }

    #[test]
    fn output_is_carried_until_another_descriptor_is_ready() {
        let (master, slave) = pty();
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        write_all(&slave, b"hello\n");
        write_all(&writer, b"x");
        let mut seen = Vec::new();
        let mut relay = Relay::new(Some(master), false).unwrap();
        let ready = relay.wait(&[reader.as_fd()], None, &mut |bytes| seen.extend_from_slice(bytes)).unwrap();
        assert_eq!(ready, [true]);
        assert_eq!(seen, b"hello\r\n");
    }

    #[test]
    fn a_closed_pseudo_terminal_does_not_end_the_wait() {
        let (master, slave) = pty();
        drop(slave);
        let (reader, _writer) = rustix::pipe::pipe().unwrap();
        let mut relay = Relay::new(Some(master), false).unwrap();
        let timeout = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
        let ready = relay.wait(&[reader.as_fd()], Some(timeout), &mut |_| {}).unwrap();
        assert_eq!(ready, [false]);
    }

    #[test]
    fn what_is_left_is_drained_without_waiting() {
        let (master, slave) = pty();
        write_all(&slave, b"last words");
        let mut seen = Vec::new();
        Relay::new(Some(master), false).unwrap().drain(&mut |bytes| seen.extend_from_slice(bytes));
        assert_eq!(seen, b"last words");
    }
}
