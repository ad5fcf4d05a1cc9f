//! What is wrong is named, and what is right is kept.

use std::net::TcpListener;

use axum::http::header::RETRY_AFTER;
use rootcellar_transfer::TransferError;

use crate::cellar::{Cellar, content, fetcher, quick};
use crate::server::{Reply, Server};

#[tokio::test]
async fn a_file_with_one_flipped_byte_is_refused_and_removed() {
    let file = content(50_000);
    let mut flipped = file.clone();
    flipped[49_999] ^= 1;
    let (server, cellar) = (Server::of_file(flipped), Cellar::new());
    let error = cellar.fetch(&fetcher(quick()), &server.url("/rootfs"), &file).await.unwrap_err();
    assert!(matches!(error, TransferError::WrongDigest { .. }), "{error:?}");
    assert_eq!(server.asked(), [None], "an honest first answer is not asked for again");
    assert!(cellar.partial_bytes().is_none() && cellar.done_bytes().is_none());
    assert!(!cellar.log.told().finished);
}

#[tokio::test]
async fn a_server_that_cuts_and_lies_gets_one_second_chance() {
    let file = content(50_000);
    let server = Server::start(move |ask| {
        let lie = Reply::ranged(ask, &content(50_001)[1..]);
        if ask.from().is_none() { lie.cut_after(20_000) } else { lie }
    });
    let cellar = Cellar::new();
    let error = cellar.fetch(&fetcher(quick()), &server.url("/rootfs"), &file).await.unwrap_err();
    assert!(matches!(error, TransferError::WrongDigest { .. }), "{error:?}");
    assert_eq!(server.asked(), [None, Some(20_000), None, Some(20_000)]);
}

#[tokio::test]
async fn a_file_announced_with_another_size_is_refused_before_its_body() {
    for size in [40_000, 60_000] {
        let file = content(50_000);
        let (server, cellar) = (Server::of_file(content(size)), Cellar::new());
        let error = cellar.fetch(&fetcher(quick()), &server.url("/rootfs"), &file).await.unwrap_err();
        let found = size as u64;
        assert!(
            matches!(error, TransferError::WrongSize { expected: 50_000, found: f, .. } if f == found),
            "{error:?}"
        );
        assert_eq!(cellar.log.told().advanced, 0);
    }
}

#[tokio::test]
async fn a_body_longer_than_the_file_is_never_written_beyond_its_size() {
    let file = content(50_000);
    let copy = content(60_000);
    let server = Server::start(move |_| Reply::unannounced(&copy));
    let cellar = Cellar::new();
    let error = cellar.fetch(&fetcher(quick()), &server.url("/rootfs"), &file).await.unwrap_err();
    assert!(matches!(error, TransferError::TooLarge { limit: 50_000, .. }), "{error:?}");
    assert!(cellar.log.told().advanced <= 50_000);
    assert!(cellar.partial_bytes().is_none() && cellar.done_bytes().is_none());
}

#[tokio::test]
async fn a_missing_file_is_not_asked_for_twice() {
    for (status, is_expected) in [
        (404, (|e| matches!(e, TransferError::NotFound { .. })) as fn(&TransferError) -> bool),
        (410, |e| matches!(e, TransferError::NotFound { .. })),
        (403, |e| matches!(e, TransferError::Refused { status: 403, .. })),
        (400, |e| matches!(e, TransferError::Refused { status: 400, .. })),
        (204, |e| matches!(e, TransferError::BadResponse { .. })),
    ] {
        let server = Server::start(move |_| Reply::status(status));
        let cellar = Cellar::new();
        let error = cellar.fetch(&fetcher(quick()), &server.url("/rootfs"), b"x").await.unwrap_err();
        assert!(is_expected(&error) && !error.is_retryable(), "{status}: {error:?}");
        assert_eq!(server.asked().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_busy_server_is_asked_again_and_then_given_up() {
    for status in [500, 502, 503, 504, 429, 408] {
        let file = content(1_000);
        let copy = file.clone();
        let server = Server::start(move |ask| match ask.number {
            0 | 1 => Reply::status(status).header(RETRY_AFTER, "3600"),
            _ => Reply::ranged(ask, &copy),
        });
        let cellar = Cellar::new();
        cellar.fetch(&fetcher(quick()), &server.url("/rootfs"), &file).await.unwrap();
        assert_eq!(server.asked().len(), 3);
    }
    let server = Server::start(|_| Reply::status(503));
    let error = Cellar::new().fetch(&fetcher(quick()), &server.url("/rootfs"), b"x").await.unwrap_err();
    assert!(matches!(error, TransferError::Unavailable { status: 503, .. }), "{error:?}");
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://user:secret@127.0.0.1:{port}/rootfs");
    let error = Cellar::new().fetch(&fetcher(quick()), &url, b"x").await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(error.to_string(), format!("cannot connect to the server of `http://***@127.0.0.1:{port}/rootfs`"));
    assert_eq!(source, "Connection refused (os error 111)");
    assert!(!format!("{error:?}").contains("secret"));
}

#[tokio::test]
async fn a_password_in_the_url_reaches_the_server_and_nobody_else() {
    let server = Server::start(|ask| {
        let known = ask.headers.get("authorization").is_some_and(|value| value == "Basic dXNlcjpzZWNyZXQ=");
        Reply::status(if known { 403 } else { 401 })
    });
    let url = server.url("/rootfs").replace("http://", "http://user:secret@");
    let error = Cellar::new().fetch(&fetcher(quick()), &url, b"x").await.unwrap_err();
    assert!(matches!(error, TransferError::Refused { status: 403, .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("secret"));
}
