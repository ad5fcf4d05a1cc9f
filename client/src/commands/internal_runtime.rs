//! `rootcellar internal-runtime`, the program executed again by itself: see [`crate::runtime`].

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser as _;
use terminal::log::{self, LogArgs};
use terminal::{ExitStatus, Printer, finish};

use super::CommandError;
use crate::runtime::error::Error;
use crate::runtime::{cleaner, join, launcher, mapped, monitor};

/// The processes of the embedded runtime. Not for people.
#[derive(Clone, Debug, clap::Parser)]
enum Process {
    /// Watch over one container.
    Monitor {
        /// The container's state directory.
        state: PathBuf,
        /// Keep the standard streams as the container's console.
        #[arg(long)]
        attached: bool,
    },
    /// Make one container.
    Launch {
        /// The container's state directory.
        state: PathBuf,
        /// The file descriptor of the socket to the monitor.
        monitor: i32,
    },
    /// Remove what a killed monitor left behind.
    Clean {
        /// The container's state directory.
        state: PathBuf,
    },
    /// Run one command in a container.
    Join {
        /// The file descriptor with the request.
        request: i32,
    },
    /// Work in a user namespace.
    Mapped {
        /// The file descriptor with the request.
        request: i32,
    },
}

/// Becomes the process that these words, with the command first, ask for. It has a command line of its own: a container
/// takes several of these processes to start, and the command line for people takes longer to set up than some of them
/// run.
pub fn main(words: impl Iterator<Item = OsString>) -> ExitCode {
    let process = match Process::try_parse_from(words) {
        Ok(process) => process,
        Err(error) => {
            let _ = error.print();
            return ExitStatus::Refused.into();
        }
    };
    let outcome = log::init(&LogArgs::default()).map_err(CommandError::from).and_then(|()| Ok(run(&process)?));
    finish(&Printer::new(false), outcome)
}

fn run(process: &Process) -> Result<ExitStatus, Error> {
    match process {
        Process::Monitor { state, attached: false } => monitor::run_detached(state),
        Process::Monitor { state, attached: true } => monitor::run_attached(state),
        Process::Launch { state, monitor } => launcher::run(state, *monitor),
        Process::Clean { state } => cleaner::run(state),
        Process::Join { request } => join::run(*request),
        Process::Mapped { request } => mapped::work(*request),
    }
}
