//! A file that nobody vouches for is taken whole, measured, and never put together from parts.

use formats::digest::FileDigest;
use rootcellar_transfer::{Limits, NoReporter, TransferError};

use crate::cellar::{content, fetcher, quick};
use crate::server::{Reply, Server};

#[tokio::test]
async fn what_came_is_what_the_digest_says_and_what_was_there_is_gone() {
    let file = content(50_000);
    let server = Server::start({
        let file = file.clone();
        move |_| Reply::whole(&file)
    });
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    std::fs::write(&path, content(90_000)).unwrap();
    let found = fetcher(quick()).unvouched_file(&server.url("/rootfs"), &path, &NoReporter).await.unwrap();
    assert_eq!(found, FileDigest::of(&file));
    assert_eq!(std::fs::read(&path).unwrap(), file);
}

#[tokio::test]
async fn after_a_cut_the_file_is_fetched_from_its_beginning() {
    let file = content(50_000);
    let server = Server::start({
        let file = file.clone();
        move |ask| {
            assert_eq!(ask.from(), None, "no range is asked for");
            let reply = Reply::whole(&file);
            if ask.number == 0 { reply.cut_after(20_000) } else { reply }
        }
    });
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let fetcher = fetcher(Limits { retries: 2, ..quick() });
    let found = fetcher.unvouched_file(&server.url("/rootfs"), &path, &NoReporter).await.unwrap();
    assert_eq!(found, FileDigest::of(&file));
}

#[tokio::test]
async fn more_than_the_limit_is_refused_announced_or_not() {
    for announced in [true, false] {
        let server = Server::start(move |_| {
            let file = content(50_000);
            if announced { Reply::whole(&file) } else { Reply::unannounced(&file) }
        });
        let directory = tempfile::tempdir().unwrap();
        let fetcher = fetcher(Limits { file_bytes: 40_000, ..quick() });
        let path = directory.path().join("file");
        let outcome = fetcher.unvouched_file(&server.url("/rootfs"), &path, &NoReporter).await;
        assert!(matches!(outcome, Err(TransferError::TooLarge { .. })), "{outcome:?}");
    }
}
