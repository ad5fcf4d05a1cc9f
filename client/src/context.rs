//! What every command is given.

use std::time::SystemTime;

use formats::time::Timestamp;
use terminal::{OutputFormat, Printer};

use crate::directories::Directories;

/// What every command is given: where to speak, where things are.
#[derive(Clone, Debug)]
pub struct Context {
    /// The way to stdout and stderr.
    pub printer: Printer,
    /// How listings are written.
    pub format: OutputFormat,
    /// Where configuration, state, cache and containers are.
    pub directories: Directories,
}

impl Context {
    /// The time of this machine's clock.
    pub fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }
}
