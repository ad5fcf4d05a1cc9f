//! Files that appear whole or not at all.

use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fs_err as fs;

/// Puts a file in its place: written in `staging`, which must be on the same file system, made durable, and renamed
/// over what is there.
pub fn write_whole(staging: &Path, path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(staging)?;
    file.write_all(content)?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| io::Error::new(error.error.kind(), Placing(path.into(), error.error)))?;
    sync_parent(path)
}

/// Makes the names in a directory durable.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

/// Makes the name of a file durable.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), sync_directory)
}

/// Makes files and directories durable, a few at a time: the file system then commits them together.
pub fn sync_all(paths: &[PathBuf]) -> io::Result<()> {
    let share = paths.len().div_ceil(SYNCED_AT_A_TIME).max(1);
    std::thread::scope(|scope| {
        let threads: Vec<_> = paths
            .chunks(share)
            .map(|paths| scope.spawn(|| paths.iter().try_for_each(|path| fs::File::open(path)?.sync_all())))
            .collect();
        let died = |_| Err(io::Error::other("a thread that made files durable died"));
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(died))
    })
}

/// The content of a file, or `None` when there is none.
pub fn read_if_there(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

const SYNCED_AT_A_TIME: usize = 8;

#[derive(Debug, thiserror::Error)]
#[error("failed to put `{}` in its place", .0.display())]
struct Placing(Box<Path>, #[source] io::Error);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_replaces_another_with_the_mode_asked_for_and_leaves_nothing_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let (staging, path) = (directory.path().join("staging"), directory.path().join("secret"));
        fs::create_dir(&staging).unwrap();
        write_whole(&staging, &path, b"old", 0o644).unwrap();
        write_whole(&staging, &path, b"new", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&staging).unwrap().count(), 0);
    }

    #[test]
    fn a_file_that_cannot_be_placed_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let error = write_whole(directory.path(), &directory.path().join("none/file"), b"", 0o644).unwrap_err();
        assert!(error.to_string().contains("none/file"), "{error}");
    }

    #[test]
    fn a_missing_file_is_no_error_and_an_unreadable_one_is() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read_if_there(&directory.path().join("none")).unwrap(), None);
        assert!(read_if_there(directory.path()).is_err());
    }
}
