//! Sitting at a container's console, or at one of its terminals.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::termios::{tcgetwinsize, tcsetwinsize};

use super::error::{Error, failed};
use super::handover;
use super::relay::{RawMode, write_all};
use super::terminals::{ANY, Answer, SOCKET, Verdict};
use super::{Container, State};

/// Where to sit, and how to leave.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConsoleOptions {
    /// The terminal: 0 for the console, otherwise 1 to `lxc.tty.max`. Without it the first that is free, and the console
    /// of a container without terminals.
    pub tty: Option<u32>,
    /// The key before `q` that leaves.
    pub escape: EscapeKey,
}

/// A key held together with Ctrl.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EscapeKey(char);

impl Default for EscapeKey {
    fn default() -> Self {
        Self('a')
    }
}

impl std::str::FromStr for EscapeKey {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut letters = text.strip_prefix('^').unwrap_or(text).chars();
        match (letters.next(), letters.next()) {
            (Some(letter), None) if letter.is_ascii_alphabetic() => Ok(Self(letter.to_ascii_lowercase())),
            _ => Err("expected a letter, as `a` or `^a`"),
        }
    }
}

impl std::fmt::Display for EscapeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ctrl+{}", self.0)
    }
}

/// Why somebody sits there no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// By the escape key, the end of the input, or a signal. The container runs on.
    Detached,
    /// The container ended.
    Ended,
}

/// Carries bytes between the standard streams and the terminal. `seated` gets its number.
pub(crate) fn sit(container: &Container, options: ConsoleOptions, seated: impl FnOnce(u32)) -> Result<Left, Error> {
    let status = container.status();
    match status.state {
        State::Running | State::Stopping | State::Frozen if status.is_watched => {}
        State::Running | State::Stopping | State::Frozen => {
            return Err(Error::Unwatched { name: container.name.to_string() });
        }
        State::Stopped | State::Starting | State::Aborted => return Err(container.not_running()),
    }
    let socket = container.state.file(SOCKET);
    let (connection, answer, master) = ask(container, options.tty).map_err(failed("use", &socket))?;
    let name = container.name.to_string();
    match (answer.verdict, master) {
        (Verdict::Granted, Some(master)) => {
            seated(answer.number);
            let escape = Escape::new(options.escape);
            let seat = Seat { connection, master, is_console: answer.number == 0, escape };
            seat.relay().map_err(failed("use", socket))
        }
        (Verdict::Busy, _) => Err(Error::TtyBusy { name, tty: options.tty }),
        (Verdict::Granted | Verdict::Missing, _) => Err(Error::NoTty { name, count: answer.number }),
    }
}

fn ask(container: &Container, tty: Option<u32>) -> io::Result<(UnixStream, Answer, Option<OwnedFd>)> {
    use std::os::fd::AsRawFd;
    // A socket's path has at most 107 bytes; through the directory's descriptor it is short.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(container.state.path(), flags, Mode::empty())?;
    let connection = UnixStream::connect(format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd()))?;
    io::Write::write_all(&mut &connection, &tty.unwrap_or(ANY).to_ne_bytes())?;
    let mut bytes = [0; Answer::BYTES];
    let (count, master) = handover::receive(&connection, &mut bytes)?;
    let answer = Answer::of_bytes(bytes).filter(|_| count == bytes.len());
    Ok((connection, answer.ok_or_else(|| io::Error::other("the monitor gave no answer"))?, master))
}

struct Seat {
    connection: UnixStream,
    master: OwnedFd,
    is_console: bool,
    escape: Escape,
}

impl Seat {
    fn relay(mut self) -> io::Result<Left> {
        let mut mask = SigSet::empty();
        for signal in [Signal::SIGWINCH, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT] {
            mask.add(signal);
        }
        mask.thread_block()?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let _raw = RawMode::of_stdin()?;
        let stdin = rustix::stdio::stdin();
        self.copy_size();
        loop {
            let mut fds = vec![
                PollFd::new(&signals, PollFlags::IN),
                PollFd::from_borrowed_fd(stdin, PollFlags::IN),
                PollFd::new(&self.connection, PollFlags::IN),
            ];
            if !self.is_console {
                fds.push(PollFd::new(&self.master, PollFlags::IN));
            }
            match poll(&mut fds, None) {
                Err(Errno::INTR) => continue,
                result => result?,
            };
            let happened: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            let happened = |place: usize| happened.get(place).copied().unwrap_or(false);
            if happened(3) && !carry(&self.master)? {
                return Ok(Left::Ended);
            }
            if happened(2) && !carry(&self.connection)? {
                return Ok(Left::Ended);
            }
            if happened(0) {
                while let Ok(Some(info)) = signals.read_signal() {
                    if i32::try_from(info.ssi_signo) != Ok(libc::SIGWINCH) {
                        return Ok(Left::Detached);
                    }
                    self.copy_size();
                }
            }
            if happened(1) && self.carry_input()? {
                return Ok(Left::Detached);
            }
        }
    }

    /// Whether that was the end of the input.
    fn carry_input(&mut self) -> io::Result<bool> {
        let mut buffer = [0; BUFFER_BYTES];
        let count = match rustix::io::read(rustix::stdio::stdin(), &mut buffer) {
            Err(Errno::INTR | Errno::AGAIN) => return Ok(false),
            result => result?,
        };
        let (keys, is_over) = self.escape.feed(buffer.get(..count).unwrap_or_default());
        write_all(&self.master, &keys);
        Ok(is_over || count == 0)
    }

    fn copy_size(&self) {
        if let Ok(size) = tcgetwinsize(rustix::stdio::stdin()) {
            let _ = tcsetwinsize(&self.master, size);
        }
    }
}

/// Carries what can be read now to standard output. Whether there can be more.
fn carry(source: impl AsFd) -> io::Result<bool> {
    let mut buffer = [0; BUFFER_BYTES];
    match rustix::io::read(source, &mut buffer) {
        Err(Errno::INTR | Errno::AGAIN) => Ok(true),
        Ok(0) | Err(Errno::IO | Errno::CONNRESET) => Ok(false),
        Err(error) => Err(error.into()),
        Ok(count) => {
            write_all(rustix::stdio::stdout(), buffer.get(..count).unwrap_or_default());
            Ok(true)
        }
    }
}

/// Looks for the escape key in what is typed: with `q` behind it, it leaves; typed twice, it is typed once; in front of
/// anything else it is dropped, as lxc-console(1) does.
struct Escape {
    key: u8,
    was_pressed: bool,
}

impl Escape {
    fn new(key: EscapeKey) -> Self {
        Self { key: key.0 as u8 & 0x1f, was_pressed: false }
    }

    /// What to pass on, and whether to leave.
    fn feed(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut keys = Vec::new();
        for byte in typed {
            match (self.was_pressed, *byte) {
                (false, byte) if byte == self.key => self.was_pressed = true,
                (true, b'q') => return (keys, true),
                (_, byte) => {
                    self.was_pressed = false;
                    keys.push(byte);
                }
            }
        }
        (keys, false)
    }
}

const BUFFER_BYTES: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_escape_key_leaves_only_in_front_of_q() {
        let mut escape = Escape::new(EscapeKey::default());
        assert_eq!(escape.feed(b"q\x01\x01q\x01"), (b"q\x01q".to_vec(), false));
        assert_eq!(escape.feed(b"q"), (Vec::new(), true));
    }

    #[test]
    fn another_key_after_the_escape_key_is_just_that_key() {
        assert_eq!(Escape::new("^b".parse().unwrap()).feed(b"\x02x\x01q"), (b"x\x01q".to_vec(), false));
    }

    #[test]
    fn an_escape_key_is_a_letter() {
        assert_eq!("^B".parse(), Ok(EscapeKey('b')));
        assert_eq!(EscapeKey::default().to_string(), "Ctrl+a");
        for text in ["", "^", "aa", "1", "ä"] {
            assert!(text.parse::<EscapeKey>().is_err(), "{text}");
        }
    }
}
