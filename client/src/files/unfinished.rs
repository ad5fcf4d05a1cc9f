//! Files that must not outlive this process, however politely it is told to end.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A file that is not in its place yet. Who holds this renames or removes the file; [`abandon`] removes it, too.
#[derive(Debug)]
pub struct Unfinished {
    path: PathBuf,
    among: &'static Files,
}

impl Unfinished {
    /// Begins a file: `make` makes it, and says where.
    pub fn begin<T>(make: impl FnOnce() -> io::Result<(T, PathBuf)>) -> io::Result<(T, Self)> {
        FILES.begin(make)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.among.locked().remove(&self.path);
    }
}

/// Removes the files of this process that are not finished. It is about to end: whoever begins or finishes another one
/// waits for that.
pub fn abandon() {
    FILES.abandon();
}

#[derive(Debug, Default)]
struct Files(Mutex<BTreeSet<PathBuf>>);

impl Files {
    fn begin<T>(&'static self, make: impl FnOnce() -> io::Result<(T, PathBuf)>) -> io::Result<(T, Unfinished)> {
        // Locked while it is made: no file appears after the others were removed.
        let mut files = self.locked();
        let (file, path) = make()?;
        files.insert(path.clone());
        Ok((file, Unfinished { path, among: self }))
    }

    fn abandon(&self) {
        let files = self.locked();
        for path in &*files {
            let _ = std::fs::remove_file(path);
        }
        std::mem::forget(files);
    }

    fn locked(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

static FILES: Files = Files(Mutex::new(BTreeSet::new()));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_finished_is_removed_and_nothing_is_begun_afterwards() {
        let directory = tempfile::tempdir().unwrap();
        let files: &'static Files = Box::leak(Box::default());
        let begin = |name: &str| {
            let path = directory.path().join(name);
            files.begin(|| Ok((std::fs::write(&path, "half")?, path.clone()))).unwrap().1
        };
        // Finishing it would wait for the end of the process.
        std::mem::forget(begin("half"));
        drop(begin("finished"));
        files.abandon();
        assert!(!directory.path().join("half").exists() && directory.path().join("finished").exists());
        assert!(files.0.try_lock().is_err());
    }
}
