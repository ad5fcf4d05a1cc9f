//! Output that can be read back.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// What a printer made by [`Printer::captured`](crate::Printer::captured) wrote so far.
#[derive(Clone, Debug, Default)]
pub struct Captured {
    stdout: Sink,
    stderr: Sink,
}

impl Captured {
    /// Everything written to stdout.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// Everything written to stderr.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    pub(super) fn stdout_sink(&self) -> Sink {
        self.stdout.clone()
    }

    pub(super) fn stderr_sink(&self) -> Sink {
        self.stderr.clone()
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
