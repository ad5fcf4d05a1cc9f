//! A container's console: what the engine hands over, and what is kept of it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{Winsize, tcsetwinsize};

use super::handover;
use super::pty::Pty;

/// Where the engine hands over the master side of the console's pseudo terminal.
pub(crate) struct ConsoleSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ConsoleSocket {
    /// Listens on `path`, in the working directory when it is relative: a socket's path has at most 107 bytes.
    pub(crate) fn listen(path: &Path) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        // The launcher may come as root of a user namespace; the directory is private.
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Takes the console. The engine sends it before it reports the container as made.
    pub(crate) fn accept(self) -> io::Result<Pty> {
        let mut fds = [PollFd::new(&self.listener, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: PATIENCE_SECONDS, tv_nsec: 0 }))?;
        let (connection, _) = self.listener.accept()?;
        connection.set_nonblocking(false)?;
        connection.set_read_timeout(Some(std::time::Duration::from_secs(5)))?;
        let (_, master) = handover::receive(&connection, &mut [0; 256])?;
        let master = master.ok_or_else(|| io::Error::other("the engine sent no console"))?;
        let _ = tcsetwinsize(&master, Winsize { ws_row: 25, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 });
        Pty::of_master(master)
    }
}

impl Drop for ConsoleSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// `console.log`, and `console.log.1` with what came before: never more than two times the limit.
pub(crate) struct ConsoleLog {
    file: File,
    path: PathBuf,
    size_bytes: u64,
}

impl ConsoleLog {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        Ok(Self { size_bytes: file.metadata()?.len(), file, path: path.to_owned() })
    }

    /// Adds to the log. A console that cannot be logged is still a console: errors only lose the text.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        if self.size_bytes > LOG_BYTES {
            let _ = std::fs::rename(&self.path, self.path.with_extension("log.1"));
            if let Ok(new) = Self::open(&self.path) {
                *self = new;
            }
        }
        if self.file.write_all(bytes).is_ok() {
            self.size_bytes += bytes.len() as u64;
        }
    }
}

/// The state directory is in memory.
const LOG_BYTES: u64 = 512 * 1024;
const PATIENCE_SECONDS: i64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_of_a_talkative_console_does_not_grow_without_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("console.log");
        let mut log = ConsoleLog::open(&path).unwrap();
        for _ in 0..40 {
            log.add(&vec![b'x'; 64 * 1024]);
        }
        let sizes = ["console.log", "console.log.1"].map(|name| dir.path().join(name).metadata().unwrap().len());
        assert!(sizes.iter().all(|size| *size <= LOG_BYTES + 64 * 1024), "{sizes:?}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn an_engine_that_never_connects_leaves_no_socket_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("console.sock");
        drop(ConsoleSocket::listen(&path).unwrap());
        assert!(!path.exists());
    }
}
