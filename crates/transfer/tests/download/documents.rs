//! Small documents.

use std::io::Write;
use std::process::{Command, Stdio};

use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use rootcellar_transfer::TransferError;

use crate::cellar::{content, fetcher, quick};
use crate::server::{Reply, Server};

/// `bytes` as gzip makes them.
fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = Command::new("gzip").arg("-9").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = gzip.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(bytes).unwrap());
        gzip.wait_with_output().unwrap().stdout
    })
}

#[tokio::test]
async fn a_document_of_the_largest_allowed_size_is_read() {
    let server = Server::start(|_| Reply::whole(&content(1_000)));
    assert_eq!(fetcher(quick()).document(&server.url("/index.sjson"), 1_000).await.unwrap(), content(1_000));
}

#[tokio::test]
async fn a_document_is_read_again_after_a_cut_and_a_busy_server() {
    let server = Server::start(|ask| match ask.number {
        0 => Reply::whole(&content(50_000)).cut_after(20_000),
        1 => Reply::status(503),
        _ => Reply::whole(&content(50_000)),
    });
    let document = fetcher(quick()).document(&server.url("/index.sjson"), 50_000).await.unwrap();
    assert!(document == content(50_000));
    assert_eq!(server.asked(), [None, None, None]);
}

#[tokio::test]
async fn a_missing_document_is_not_asked_for_twice() {
    let server = Server::start(|_| Reply::status(404));
    let error = fetcher(quick()).document(&server.url("/index.sjson"), 10).await.unwrap_err();
    assert_eq!(error.to_string(), format!("`{}` does not exist on the server", server.url("/index.sjson")));
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_compressed_document_counts_by_its_decoded_size() {
    let bomb = gzipped(&vec![b' '; 10_000_000]);
    assert!(bomb.len() < 20_000);
    let server = Server::start(move |ask| {
        assert!(ask.headers[ACCEPT_ENCODING].to_str().unwrap().contains("gzip"));
        Reply::whole(&bomb).header(CONTENT_ENCODING, "gzip")
    });
    let document = fetcher(quick()).document(&server.url("/images.json"), 10_000_000).await.unwrap();
    assert_eq!(document.len(), 10_000_000);
    let error = fetcher(quick()).document(&server.url("/images.json"), 9_999_999).await.unwrap_err();
    assert!(matches!(error, TransferError::TooLarge { .. }), "{error:?}");
}

#[tokio::test]
async fn a_file_is_taken_as_it_is_even_when_the_server_calls_it_compressed() {
    let file = gzipped(&content(50_000));
    let copy = file.clone();
    let server = Server::start(move |ask| {
        assert!(!ask.headers.contains_key(ACCEPT_ENCODING));
        Reply::whole(&copy).header(CONTENT_ENCODING, "gzip")
    });
    let cellar = crate::cellar::Cellar::new();
    cellar.fetch(&fetcher(quick()), &server.url("/rootfs.tar.gz"), &file).await.unwrap();
    assert!(cellar.done_bytes() == Some(file));
}

#[tokio::test]
async fn the_size_of_a_file_is_learned_without_its_content() {
    let server = Server::start(|ask| match ask.number {
        0 => Reply::status(503),
        1 => Reply::whole(&content(50_000)),
        2 => Reply::status(405),
        _ => Reply::status(404),
    });
    let url = server.url("/rootfs");
    assert_eq!(fetcher(quick()).size(&url).await.unwrap(), Some(50_000));
    assert_eq!(fetcher(quick()).size(&url).await.unwrap(), None);
    assert!(matches!(fetcher(quick()).size(&url).await, Err(TransferError::NotFound { .. })));
}
