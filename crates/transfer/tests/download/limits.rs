//! Endless and slow servers run into a limit.

use std::time::Duration;

use rootcellar_transfer::{Limits, TransferError};

use crate::cellar::{Cellar, content, fetcher, quick};
use crate::server::{Ask, Reply, Server};

#[tokio::test]
async fn an_endless_body_ends_at_the_announced_size() {
    let file = content(100_000);
    let server = Server::start(|_| Reply::unannounced(&content(30_000)).endless());
    let cellar = Cellar::new();
    let error = cellar.fetch(&fetcher(quick()), &server.url("/rootfs"), &file).await.unwrap_err();
    assert!(matches!(error, TransferError::TooLarge { limit: 100_000, .. }), "{error:?}");
    assert!(cellar.log.told().advanced <= 100_000);
}

#[tokio::test]
async fn a_file_beyond_the_limit_is_not_even_asked_for() {
    let server = Server::of_file(content(2_000));
    let fetcher = fetcher(Limits { file_bytes: 1_999, ..quick() });
    let error = Cellar::new().fetch(&fetcher, &server.url("/rootfs"), &content(2_000)).await.unwrap_err();
    assert!(matches!(error, TransferError::TooLarge { limit: 1_999, .. }), "{error:?}");
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_server_that_trickles_is_too_slow() {
    let limits = Limits { minimum_rate: 10_000_000, rate_window: Duration::from_millis(100), retries: 0, ..quick() };
    let file = content(1_000_000);
    let copy = file.clone();
    let server = Server::start(move |_| Reply::whole(&copy).pausing(Duration::from_millis(30)));
    let cellar = Cellar::new();
    let error = cellar.fetch(&fetcher(limits), &server.url("/rootfs"), &file).await.unwrap_err();
    assert!(matches!(error, TransferError::TooSlow { minimum_rate: 10_000_000, .. }), "{error:?}");
    let kept = cellar.partial_bytes().unwrap();
    assert!(!kept.is_empty() && file.starts_with(&kept), "what came slowly is kept");
}

#[tokio::test]
async fn an_index_that_trickles_is_too_slow() {
    let limits = Limits { minimum_rate: 10_000_000, rate_window: Duration::from_millis(100), retries: 0, ..quick() };
    for path in ["/streams/v1/index.sjson", "/meta/1.0/index-system.7"] {
        let trickle = |_: &Ask| Reply::unannounced(&content(100_000)).pausing(Duration::from_millis(30)).endless();
        let server = Server::start(trickle);
        let error = fetcher(limits.clone()).document(&server.url(path), 1 << 20).await.unwrap_err();
        assert!(matches!(error, TransferError::TooSlow { minimum_rate: 10_000_000, .. }), "{error:?}");
        assert!(server.sent_bytes() < 1 << 20);
    }
}

#[tokio::test]
async fn an_index_of_single_bytes_is_too_slow_by_the_default_rate() {
    // The window is short, so that the test is; the rate is the one that is used.
    let limits = Limits { rate_window: Duration::from_millis(200), retries: 0, ..quick() };
    assert_eq!(limits.minimum_rate, Limits::default().minimum_rate);
    let server = Server::start(|_| Reply::unannounced(b"-").pausing(Duration::from_millis(20)).endless());
    let error = fetcher(limits).document(&server.url("/streams/v1/index.sjson"), 1 << 20).await.unwrap_err();
    assert!(matches!(error, TransferError::TooSlow { .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_that_trickles_fast_enough_is_not() {
    let limits = Limits { minimum_rate: 1_000, rate_window: Duration::from_millis(50), retries: 0, ..quick() };
    let file = content(100_000);
    let copy = file.clone();
    let server = Server::start(move |_| Reply::whole(&copy).pausing(Duration::from_millis(20)));
    let cellar = Cellar::new();
    cellar.fetch(&fetcher(limits), &server.url("/rootfs"), &file).await.unwrap();
}

#[tokio::test]
async fn a_server_that_falls_silent_times_out() {
    let limits = Limits { read_timeout: Duration::from_millis(100), retries: 1, ..quick() };
    let file = content(100_000);
    let copy = file.clone();
    let server = Server::start(move |ask| Reply::ranged(ask, &copy).pausing(Duration::from_mins(1)));
    let cellar = Cellar::new();
    let error = cellar.fetch(&fetcher(limits), &server.url("/rootfs"), &file).await.unwrap_err();
    assert!(matches!(error, TransferError::TimedOut { .. }), "{error:?}");
    assert_eq!(server.asked(), [None, Some(10_000)]);
}

#[tokio::test]
async fn a_server_that_never_answers_times_out() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/rootfs", listener.local_addr().unwrap());
    let limits =
        Limits { connect_timeout: Duration::from_millis(100), read_timeout: Duration::from_millis(100), ..quick() };
    let error = Cellar::new().fetch(&fetcher(limits), &url, b"x").await.unwrap_err();
    assert!(matches!(error, TransferError::TimedOut { .. }), "{error:?}");
}

#[tokio::test]
async fn a_complete_file_is_accepted_from_a_connection_that_hangs() {
    let limits = Limits { read_timeout: Duration::from_millis(100), retries: 0, ..quick() };
    let file = content(10_000);
    let copy = file.clone();
    let server = Server::start(move |_| Reply::unannounced(&copy).pausing(Duration::from_mins(1)));
    let cellar = Cellar::new();
    cellar.fetch(&fetcher(limits), &server.url("/rootfs"), &file).await.unwrap();
    assert!(cellar.done_bytes() == Some(file));
}

#[tokio::test]
async fn a_document_is_capped_by_its_announced_and_by_its_real_size() {
    let announced = Server::start(|_| Reply::whole(&content(1_001)));
    let endless = Server::start(|_| Reply::unannounced(&content(500)).endless());
    for server in [announced, endless] {
        let error = fetcher(quick()).document(&server.url("/index.sjson"), 1_000).await.unwrap_err();
        assert!(matches!(error, TransferError::TooLarge { what: "document", limit: 1_000, .. }), "{error:?}");
        assert_eq!(server.asked().len(), 1);
    }
}
