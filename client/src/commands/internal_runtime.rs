//! `rootcellar internal-runtime`, the program executed again by itself: see [`crate::runtime`].

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use terminal::log::{self, LogArgs};
use terminal::{ExitStatus, Printer, finish};

use super::CommandError;
use crate::runtime::error::Error;
use crate::runtime::{cleaner, join, launcher, mapped, monitor};

/// The processes of the embedded runtime. Not for people.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Process {
    /// `monitor STATE [--attached]`: watches over the container of this state directory. When attached, the standard
    /// streams are its console.
    Monitor { state: PathBuf, is_attached: bool },
    /// `launch STATE FD`: makes a container. The socket leads to the monitor.
    Launch { state: PathBuf, monitor: i32 },
    /// `clean STATE`: removes what a killed monitor left behind.
    Clean { state: PathBuf },
    /// `join FD`: runs one command in a container. The request is behind the file descriptor.
    Join { request: i32 },
    /// `mapped FD`: works in a user namespace, for the request behind the file descriptor.
    Mapped { request: i32 },
}

impl Process {
    /// Reads the words without a library: a container takes several of these processes to start, and none of the words
    /// comes from people.
    fn parse(words: &[OsString]) -> Option<Self> {
        let number = |word: &OsString| word.to_str()?.parse().ok();
        Some(match words {
            [name, state] if name == "monitor" => Self::Monitor { state: state.into(), is_attached: false },
            [name, state, attached] if name == "monitor" && attached == "--attached" => {
                Self::Monitor { state: state.into(), is_attached: true }
            }
            [name, state, fd] if name == "launch" => Self::Launch { state: state.into(), monitor: number(fd)? },
            [name, state] if name == "clean" => Self::Clean { state: state.into() },
            [name, fd] if name == "join" => Self::Join { request: number(fd)? },
            [name, fd] if name == "mapped" => Self::Mapped { request: number(fd)? },
            _ => return None,
        })
    }
}

/// Becomes the process that these words ask for.
pub fn main(words: impl Iterator<Item = OsString>) -> ExitCode {
    let printer = Printer::new(false);
    let Some(process) = Process::parse(&words.collect::<Vec<_>>()) else {
        printer.warn("`internal-runtime` is for the program itself; see `rootcellar --help`");
        return ExitStatus::Refused.into();
    };
    let outcome = log::init(&LogArgs::default()).map_err(CommandError::from).and_then(|()| Ok(run(&process)?));
    finish(&printer, outcome)
}

fn run(process: &Process) -> Result<ExitStatus, Error> {
    match process {
        Process::Monitor { state, is_attached: false } => monitor::run_detached(state),
        Process::Monitor { state, is_attached: true } => monitor::run_attached(state),
        Process::Launch { state, monitor } => launcher::run(state, *monitor),
        Process::Clean { state } => cleaner::run(state),
        Process::Join { request } => join::run(*request),
        Process::Mapped { request } => mapped::work(*request),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_requests_are_taken() {
        let parse = |line: &str| Process::parse(&line.split(' ').map(Into::into).collect::<Vec<_>>());
        assert_eq!(parse("monitor /s --attached"), Some(Process::Monitor { state: "/s".into(), is_attached: true }));
        assert_eq!(parse("launch /s 7"), Some(Process::Launch { state: "/s".into(), monitor: 7 }));
        for line in ["", "join", "join x", "join 7 8", "monitor /s --else", "launch /s"] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
