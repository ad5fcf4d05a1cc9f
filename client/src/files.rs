//! Files that appear whole, locks, and files that belong to somebody else than the process.

pub mod unfinished;

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use fs_err as fs;
use rustix::fs::{AtFlags, FlockOperation, Gid, Uid, flock};
use rustix::io::{Errno, retry_on_intr};

use unfinished::Unfinished;

/// Writes a file that appears whole: beside, to disk, then renamed into place.
pub fn write_whole(path: &Path, content: &[u8], mode: u32, owner: Owner) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let begin = || {
        let beside = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(directory);
        let beside = beside.map_err(|error| named("write to", directory, &error))?;
        let path = beside.path().to_owned();
        Ok((beside, path))
    };
    let (mut beside, _unfinished) = Unfinished::begin(begin)?;
    let failed = |error: io::Error| named("write", path, &error);
    beside.write_all(content).map_err(failed)?;
    beside.as_file().set_permissions(std::fs::Permissions::from_mode(mode)).map_err(failed)?;
    owner.give(beside.as_file()).map_err(failed)?;
    beside.as_file().sync_all().map_err(failed)?;
    beside.persist(path).map_err(|error| failed(error.error))?;
    sync_directory(directory)
}

/// Makes what was renamed in a directory survive a power cut.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    fs::File::open(directory)?.sync_all()
}

/// Makes a directory and those above it, each of which is given to `owner` when it is new.
pub fn make_directories(path: &Path, owner: Owner) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_directories(parent, owner)?;
    }
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(()) => owner.give(fs::File::open(path)?.file()),
    }
}

/// The content of a file, or nothing when there is no such file.
pub fn read_if_there(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes a file that may already be gone.
pub fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A lock between processes, held until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Waits until nobody else holds the lock. `waiting` is called when somebody does.
    pub fn exclusive(path: &Path, owner: Owner, waiting: impl FnOnce()) -> io::Result<Self> {
        Self::exclusive_after(path, owner, Duration::ZERO, waiting)
    }

    /// The same for a lock that is held for moments: `waiting` is called once it was not had for so long.
    pub fn exclusive_after(path: &Path, owner: Owner, silence: Duration, waiting: impl FnOnce()) -> io::Result<Self> {
        let ways = [FlockOperation::NonBlockingLockExclusive, FlockOperation::LockExclusive];
        Self::take(path, owner, ways, silence, waiting)
    }

    /// Waits until nobody holds the lock exclusively. `waiting` is called when somebody does.
    pub fn shared(path: &Path, owner: Owner, waiting: impl FnOnce()) -> io::Result<Self> {
        let ways = [FlockOperation::NonBlockingLockShared, FlockOperation::LockShared];
        Self::take(path, owner, ways, Duration::ZERO, waiting)
    }

    fn take(
        path: &Path,
        owner: Owner,
        [at_once, in_time]: [FlockOperation; 2],
        silence: Duration,
        waiting: impl FnOnce(),
    ) -> io::Result<Self> {
        let new = !path.exists();
        let file = File::options().create(true).truncate(false).write(true).open(path);
        let file = file.map_err(|error| named("lock", path, &error))?;
        if new {
            owner.give(&file)?;
        }
        let lock = |how| retry_on_intr(|| flock(&file, how));
        let begun = Instant::now();
        let locked = loop {
            match lock(at_once) {
                Err(Errno::WOULDBLOCK) if begun.elapsed() < silence => thread::sleep(PAUSE),
                Err(Errno::WOULDBLOCK) => {
                    waiting();
                    break lock(in_time);
                }
                locked => break locked,
            }
        };
        locked.map_err(|errno| named("lock", path, &errno.into()))?;
        Ok(Self { _file: file })
    }
}

/// Who new files belong to. In a user namespace the process is root there, while its files belong to the user who
/// made the namespace, known by the ids that user has inside (`--mapped-uid`, `--mapped-gid`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// The user, unless new files belong to whoever runs.
    pub uid: Option<u32>,
    /// The group, likewise.
    pub gid: Option<u32>,
}

impl Owner {
    /// Whoever runs.
    pub const SELF: Self = Self { uid: None, gid: None };

    fn is_self(self) -> bool {
        self == Self::SELF
    }

    /// Gives an open file to the owner.
    pub fn give(self, file: impl AsFd) -> io::Result<()> {
        if self.is_self() {
            return Ok(());
        }
        Ok(rustix::fs::fchown(file, self.uid.map(Uid::from_raw), self.gid.map(Gid::from_raw))?)
    }

    /// Gives everything below `tree` that still belongs to this process to the owner. Links are not followed.
    pub fn adopt(self, tree: &Path) -> io::Result<()> {
        if self.is_self() {
            return Ok(());
        }
        let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        self.adopt_as(own, tree)
    }

    fn adopt_as(self, own: (u32, u32), path: &Path) -> io::Result<()> {
        let about = fs::symlink_metadata(path)?;
        if about.uid() == own.0 || about.gid() == own.1 {
            let (uid, gid) = (self.uid.map(Uid::from_raw), self.gid.map(Gid::from_raw));
            rustix::fs::chownat(rustix::fs::CWD, path, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        if about.is_dir() {
            for entry in fs::read_dir(path)? {
                self.adopt_as(own, &entry?.path())?;
            }
        }
        Ok(())
    }
}

/// How often a lock that is held for moments is tried.
const PAUSE: Duration = Duration::from_millis(10);
/// How the names of files begin that are not renamed into place yet.
pub const UNFINISHED: &str = ".new-";

fn named(action: &str, path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("failed to {action} `{}`: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_whole_with_its_mode_and_leaves_nothing_beside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        for content in ["one", "two"] {
            write_whole(&path, content.as_bytes(), 0o640, Owner::SELF).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failure_names_the_directory() {
        let error = write_whole(Path::new("/nonexistent/a"), b"", 0o600, Owner::SELF).unwrap_err();
        assert!(error.to_string().contains("`/nonexistent`"), "{error}");
    }

    #[test]
    fn a_lock_keeps_others_out_until_it_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let first = Lock::exclusive(&path, Owner::SELF, || panic!("there is nobody to wait for")).unwrap();
        let (say, heard) = std::sync::mpsc::channel();
        let second = std::thread::spawn({
            let path = path.clone();
            move || {
                let _lock = Lock::exclusive(&path, Owner::SELF, || say.send("waiting").unwrap()).unwrap();
                say.send("entered").unwrap();
            }
        });
        assert_eq!(heard.recv(), Ok("waiting"));
        assert!(heard.recv_timeout(std::time::Duration::from_millis(100)).is_err());
        drop(first);
        assert_eq!(heard.recv(), Ok("entered"));
        second.join().unwrap();
    }

    #[test]
    fn a_short_wait_is_not_worth_a_word_where_locks_are_held_for_moments() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let first = Lock::exclusive(&path, Owner::SELF, || ()).unwrap();
        let second = std::thread::spawn(move || {
            Lock::exclusive_after(&path, Owner::SELF, Duration::from_mins(1), || panic!("too early")).unwrap();
        });
        std::thread::sleep(Duration::from_millis(50));
        assert!(!second.is_finished());
        drop(first);
        second.join().unwrap();
    }

    #[test]
    fn a_file_that_is_not_there_is_no_error() {
        assert_eq!(read_if_there(Path::new("/nonexistent/a")).unwrap(), None);
        remove_if_there(Path::new("/nonexistent/a")).unwrap();
    }
}
