//! The console and the terminals of a running container, for who wants to sit at them. The monitor keeps them.
//!
//! A client connects to `terminals.sock` and says which it wants, as four bytes in the machine's order: 0 is the console,
//! [`ANY`] the first terminal that is free. The answer is a [`Verdict`] and the number, and with them the master side of
//! the pseudo terminal. A terminal is then the client's to read and to write, until the connection ends. The console is
//! read by the monitor, for the log; it passes on through the connection what it reads.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use super::handover;
use super::pty::Pty;

/// Wanted: whichever terminal is free, and the console when there is no terminal.
pub(crate) const ANY: u32 = u32::MAX;
/// In the state directory.
pub(crate) const SOCKET: &str = "terminals.sock";

/// The first byte of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Verdict {
    Granted = 0,
    /// Somebody sits there.
    Busy = 1,
    /// There is no such terminal; the number is how many there are.
    Missing = 2,
}

/// The answer to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) verdict: Verdict,
    pub(crate) number: u32,
}

impl Answer {
    pub(crate) const BYTES: usize = 5;

    fn to_bytes(self) -> [u8; Self::BYTES] {
        let [a, b, c, d] = self.number.to_ne_bytes();
        [self.verdict as u8, a, b, c, d]
    }

    pub(crate) fn of_bytes([verdict, a, b, c, d]: [u8; Self::BYTES]) -> Option<Self> {
        let verdict =
            [Verdict::Granted, Verdict::Busy, Verdict::Missing].into_iter().find(|one| *one as u8 == verdict)?;
        Some(Self { verdict, number: u32::from_ne_bytes([a, b, c, d]) })
    }
}

/// What there is to sit at, and who does.
pub(crate) struct Terminals {
    listener: UnixListener,
    console: Pty,
    ttys: Vec<Pty>,
    seats: Vec<Seat>,
}

struct Seat {
    connection: UnixStream,
    number: u32,
}

impl Terminals {
    /// Listens in the working directory, which is the state directory: a socket's path has at most 107 bytes.
    pub(crate) fn listen(console: Pty, ttys: Vec<Pty>) -> io::Result<Self> {
        match std::fs::remove_file(SOCKET) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(Path::new(SOCKET))?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, console, ttys, seats: Vec::new() })
    }

    /// The console.
    pub(crate) fn console(&self) -> &Pty {
        &self.console
    }

    /// What to wait for: see [`Terminals::serve`].
    pub(crate) fn fds(&self) -> Vec<BorrowedFd<'_>> {
        let seats = self.seats.iter().map(|seat| seat.connection.as_fd());
        std::iter::once(self.listener.as_fd()).chain(seats).collect()
    }

    /// Deals with those of [`Terminals::fds`] that can be read: lets clients sit down, and up.
    pub(crate) fn serve(&mut self, ready: &[bool]) {
        let mut ready = ready.iter().copied();
        let has_newcomer = ready.next().unwrap_or(false);
        // A client has nothing to say once it sits: what can be read is the end.
        self.seats.retain(|_| !ready.next().unwrap_or(false));
        if has_newcomer && let Ok((connection, _)) = self.listener.accept() {
            let _ = self.seat(connection);
        }
    }

    fn seat(&mut self, mut connection: UnixStream) -> io::Result<()> {
        connection.set_nonblocking(false)?;
        connection.set_read_timeout(Some(Duration::from_secs(1)))?;
        let mut wanted = [0; 4];
        connection.read_exact(&mut wanted)?;
        let answer = self.judge(u32::from_ne_bytes(wanted));
        let master = (answer.verdict == Verdict::Granted).then(|| self.pty(answer.number)).flatten();
        handover::send(&connection, &answer.to_bytes(), master.map(|pty| pty.master.as_fd()))?;
        if answer.verdict == Verdict::Granted {
            connection.set_nonblocking(true)?;
            self.seats.push(Seat { connection, number: answer.number });
        }
        Ok(())
    }

    /// Any number of clients may share the console.
    fn judge(&self, wanted: u32) -> Answer {
        let is_taken = |number: u32| self.seats.iter().any(|seat| seat.number == number);
        let count = u32::try_from(self.ttys.len()).unwrap_or(0);
        let (verdict, number) = match wanted {
            0 => (Verdict::Granted, 0),
            ANY if count == 0 => (Verdict::Granted, 0),
            ANY => match (1..=count).find(|number| !is_taken(*number)) {
                Some(number) => (Verdict::Granted, number),
                None => (Verdict::Busy, count),
            },
            number if number > count => (Verdict::Missing, count),
            number if is_taken(number) => (Verdict::Busy, number),
            number => (Verdict::Granted, number),
        };
        Answer { verdict, number }
    }

    fn pty(&self, number: u32) -> Option<&Pty> {
        match usize::try_from(number).ok()?.checked_sub(1) {
            None => Some(&self.console),
            Some(place) => self.ttys.get(place),
        }
    }

    /// Shows output of the console to who sits there. Who does not read it in time misses it.
    pub(crate) fn show(&self, bytes: &[u8]) {
        for seat in self.seats.iter().filter(|seat| seat.number == 0) {
            let _ = (&seat.connection).write(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_it_was_written() {
        let answer = Answer { verdict: Verdict::Busy, number: 7 };
        assert_eq!(Answer::of_bytes(answer.to_bytes()), Some(answer));
        assert_eq!(Answer::of_bytes([9; 5]), None);
    }
}
