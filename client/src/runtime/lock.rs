//! One command at a time on one container.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::Container;
use super::error::{Error, failed};

/// Held by a command while it changes what runs or is left behind; on the container's directory itself, so nothing has
/// to be made for it or removed after it.
pub(crate) struct Lock {
    _directory: File,
}

impl Lock {
    /// Waits for the lock, not for ever.
    pub(crate) fn take(container: &Container) -> Result<Self, Error> {
        Self::take_at(&container.directory(), container.name.as_str())
    }

    /// The same for a container of which only the directory is known.
    pub(crate) fn take_at(directory: &Path, name: &str) -> Result<Self, Error> {
        let patience = Instant::now() + PATIENCE;
        loop {
            match Self::try_take(directory)? {
                Some(lock) => return Ok(lock),
                None if Instant::now() > patience => {
                    return Err(Error::Busy { name: name.to_owned(), seconds: PATIENCE.as_secs() });
                }
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// The lock, if nobody has it.
    pub(crate) fn try_take(directory: &Path) -> Result<Option<Self>, Error> {
        let file = File::open(directory).map_err(failed("open", directory))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => Ok(None),
            result => {
                result.map_err(failed("lock", directory))?;
                Ok(Some(Self { _directory: file }))
            }
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_waits_for_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let first = Lock::try_take(dir.path()).unwrap();
        assert!(first.is_some() && Lock::try_take(dir.path()).unwrap().is_none());
        drop(first);
        assert!(Lock::try_take(dir.path()).unwrap().is_some());
    }
}
