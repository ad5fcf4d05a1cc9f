//! What every command is given.

use std::time::SystemTime;

use formats::time::Timestamp;
use terminal::{OutputFormat, Printer};

use crate::cache::{Cache, CacheError};
use crate::directories::Directories;
use crate::files::Owner;
use crate::narrator::{self, PRUNES};

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
    /// The image cache.
    pub fn cache(&self) -> Result<Cache, CacheError> {
        Cache::open(&self.directories.cache, Owner::SELF, || narrator::waiting(&self.printer, PRUNES))
    }

    /// The time of this machine's clock.
    pub fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }
}
