//! What is kept of what a container writes to its console.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

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
}
