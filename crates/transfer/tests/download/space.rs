//! A full disk is an error, not a loss.

use std::process::Command;

use formats::digest::{FileDigest, Sha256};
use rootcellar_transfer::{Limits, NoReporter, TransferError};

use crate::cellar::{Cellar, content, fetcher, quick};
use crate::server::Server;

#[tokio::test]
async fn a_file_without_room_is_refused_before_the_disk_is_full() {
    let server = Server::of_file(Vec::new());
    let (cellar, fetcher) = (Cellar::new(), fetcher(Limits { file_bytes: u64::MAX, ..quick() }));
    let immense = FileDigest { size_bytes: 1 << 60, sha256: Sha256::of(b"") };
    let outcome = fetcher.file(&server.url("/rootfs"), immense, &cellar.partial(), &cellar.done(), &NoReporter).await;
    assert!(matches!(outcome, Err(TransferError::NoSpace { .. })), "{outcome:?}");
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_disk_that_fills_up_meanwhile_is_named() {
    let file = content(2_000_000);
    let (server, cellar) = (Server::of_file(file.clone()), Cellar::new());
    std::os::unix::fs::symlink("/dev/full", cellar.partial()).unwrap();
    let error = cellar.fetch(&fetcher(quick()), &server.url("/rootfs"), &file).await.unwrap_err();
    assert_eq!(error.to_string(), format!("no space left for `{}`", cellar.partial().display()));
    assert_eq!(server.asked().len(), 1, "there is no use in trying again");
    assert!(cellar.done_bytes().is_none());
}

#[tokio::test]
async fn a_download_goes_on_when_there_is_room_again() {
    let disk = tempfile::tempdir().unwrap();
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "none"]).arg(disk.path()).output();
    if !mount.is_ok_and(|output| output.status.success()) {
        testkit::skip("a small file system can only be mounted by root");
        return;
    }
    let mounted = Mounted(disk);
    let directory = mounted.0.path();
    let file = content(900_000);
    std::fs::write(directory.join("other"), content(600_000)).unwrap();
    std::fs::write(directory.join("partial"), &file[..100_000]).unwrap();
    let server = Server::of_file(file.clone());
    let (fetcher, expected) = (fetcher(quick()), FileDigest::of(&file));
    let (partial, done, url) = (directory.join("partial"), directory.join("done"), server.url("/rootfs"));

    let outcome = fetcher.file(&url, expected, &partial, &done, &NoReporter).await;
    assert!(matches!(outcome, Err(TransferError::NoSpace { .. })), "{outcome:?}");
    std::fs::remove_file(directory.join("other")).unwrap();
    fetcher.file(&url, expected, &partial, &done, &NoReporter).await.unwrap();
    assert_eq!(server.asked(), [Some(100_000)]);
    assert!(std::fs::read(&done).unwrap() == file);
}

#[tokio::test]
async fn a_directory_that_is_missing_is_named() {
    let server = Server::of_file(content(10));
    let partial = std::path::Path::new("/nonexistent/partial");
    let outcome = fetcher(quick())
        .file(&server.url("/rootfs"), FileDigest::of(&content(10)), partial, partial, &NoReporter)
        .await;
    assert_eq!(outcome.unwrap_err().to_string(), "cannot open `/nonexistent/partial`");
}

struct Mounted(tempfile::TempDir);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}
