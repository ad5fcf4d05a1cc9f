//! Locks on files that end with the process that holds them.

use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// A locked file; closing it releases the lock.
pub(crate) type Lock = File;

/// Who else may hold the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Everyone who shares it.
    Shared,
    /// Nobody.
    Exclusive,
}

/// Waits for the lock, not longer than `deadline`; whether it was had.
pub(crate) fn take(file: &File, mode: Mode, deadline: Option<Instant>) -> io::Result<bool> {
    let Some(deadline) = deadline else {
        let operation = match mode {
            Mode::Shared => FlockOperation::LockShared,
            Mode::Exclusive => FlockOperation::LockExclusive,
        };
        return flock(file, operation).map(|()| true).map_err(io::Error::from);
    };
    loop {
        if try_take(file, mode)? {
            return Ok(true);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        std::thread::sleep(left.min(PAUSE));
    }
}

/// Takes the lock unless it is held.
pub(crate) fn try_take(file: &File, mode: Mode) -> io::Result<bool> {
    let operation = match mode {
        Mode::Shared => FlockOperation::NonBlockingLockShared,
        Mode::Exclusive => FlockOperation::NonBlockingLockExclusive,
    };
    match flock(file, operation) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The kernel has no wait for a lock that ends by itself.
const PAUSE: Duration = Duration::from_millis(50);
