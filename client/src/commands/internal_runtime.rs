//! `rootcellar internal-runtime`, the program executed again by itself: see [`crate::runtime`].

use std::path::PathBuf;

use terminal::ExitStatus;

use crate::context::Context;
use crate::runtime::error::Error;
use crate::runtime::{cleaner, join, launcher, mapped, monitor};

/// The processes of the embedded runtime. Not for people.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    process: Process,
}

#[derive(Clone, Debug, clap::Subcommand)]
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

/// Becomes that process.
pub fn run(args: &Args, _: &Context) -> Result<ExitStatus, Error> {
    match &args.process {
        Process::Monitor { state, attached: false } => monitor::run_detached(state),
        Process::Monitor { state, attached: true } => monitor::run_attached(state),
        Process::Launch { state, monitor } => launcher::run(state, *monitor),
        Process::Clean { state } => cleaner::run(state),
        Process::Join { request } => join::run(*request),
        Process::Mapped { request } => mapped::work(*request),
    }
}
