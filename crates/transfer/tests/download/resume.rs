//! What was received once is not fetched again, and never trusted blindly.

use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG};
use rootcellar_transfer::{Limits, TransferError};

use crate::cellar::{Cellar, Told, content, fetcher, quick};
use crate::server::{Reply, Server};

#[tokio::test]
async fn a_file_arrives_whole_under_its_final_name() {
    let file = content(100_000);
    let (server, cellar) = (Server::of_file(file.clone()), Cellar::new());
    cellar.fetch(&fetcher(quick()), &server.url("/rootfs"), &file).await.unwrap();
    assert!(cellar.done_bytes() == Some(file));
    assert!(cellar.partial_bytes().is_none());
    assert_eq!(cellar.log.told(), Told { starts: vec![(100_000, 0)], advanced: 100_000, finished: true });
}

#[tokio::test]
async fn a_cut_connection_is_continued_where_it_broke() {
    let file = content(300_000);
    let copy = file.clone();
    let server = Server::start(move |ask| match ask.number {
        0 => Reply::whole(&copy).cut_after(120_000),
        _ => Reply::ranged(ask, &copy),
    });
    let cellar = Cellar::new();
    cellar.fetch(&fetcher(quick()), &server.url("/rootfs"), &file).await.unwrap();
    assert!(cellar.done_bytes() == Some(file));
    assert_eq!(server.asked(), [None, Some(120_000)]);
    assert_eq!(server.sent_bytes(), 300_000);
    assert_eq!(cellar.log.told().starts, [(300_000, 0)]);
}

#[tokio::test]
async fn the_partial_of_an_interrupted_call_is_continued_by_the_next_one() {
    let file = content(300_000);
    let copy = file.clone();
    let server = Server::start(move |ask| match ask.number {
        0 => Reply::whole(&copy).cut_after(50_000),
        _ => Reply::ranged(ask, &copy),
    });
    let cellar = Cellar::new();
    let impatient = fetcher(Limits { retries: 0, ..quick() });
    let error = cellar.fetch(&impatient, &server.url("/rootfs"), &file).await.unwrap_err();
    assert!(matches!(error, TransferError::Interrupted { received: 50_000, .. }), "{error:?}");
    assert!(cellar.partial_bytes().as_deref() == Some(&file[..50_000]));
    assert!(cellar.done_bytes().is_none());

    cellar.fetch(&impatient, &server.url("/rootfs"), &file).await.unwrap();
    assert!(cellar.done_bytes() == Some(file));
    assert_eq!(server.asked(), [None, Some(50_000)]);
    assert_eq!(cellar.log.told().starts, [(300_000, 0), (300_000, 50_000)]);
}

#[tokio::test]
async fn a_download_that_is_called_off_is_continued_by_the_next_one() {
    let file = content(1_000_000);
    let copy = file.clone();
    let server = Server::start(move |ask| match ask.number {
        0 => Reply::whole(&copy).stalling_after(600_000),
        _ => Reply::ranged(ask, &copy),
    });
    let (cellar, fetcher) = (Arc::new(Cellar::new()), fetcher(quick()));
    let called_off = tokio::spawn({
        let (cellar, fetcher, url, file) = (Arc::clone(&cellar), fetcher.clone(), server.url("/rootfs"), file.clone());
        async move { cellar.fetch(&fetcher, &url, &file).await }
    });
    while cellar.partial_bytes().is_none_or(|partial| partial.len() < 500_000) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    called_off.abort();
    assert!(called_off.await.unwrap_err().is_cancelled());

    cellar.fetch(&fetcher, &server.url("/rootfs"), &file).await.unwrap();
    assert!(cellar.done_bytes() == Some(file));
    assert!(server.asked()[1].unwrap() >= 500_000, "{:?}", server.asked());
}

#[tokio::test]
async fn a_complete_partial_needs_no_request() {
    let file = content(5_000);
    let (server, cellar) = (Server::of_file(file.clone()), Cellar::with_partial(&file));
    cellar.fetch(&fetcher(quick()), &server.url("/rootfs"), &file).await.unwrap();
    assert!(cellar.done_bytes() == Some(file));
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_partial_longer_than_the_file_is_dropped() {
    let file = content(5_000);
    let (server, cellar) = (Server::of_file(file.clone()), Cellar::with_partial(&content(6_000)));
    cellar.fetch(&fetcher(quick()), &server.url("/rootfs"), &file).await.unwrap();
    assert!(cellar.done_bytes() == Some(file));
    assert_eq!(server.asked(), [None]);
}

#[tokio::test]
async fn a_damaged_partial_is_found_out_and_fetched_anew() {
    let file = content(50_000);
    let mut damaged = file[..20_000].to_vec();
    damaged[7] ^= 1;
    let (server, cellar) = (Server::of_file(file.clone()), Cellar::with_partial(&damaged));
    cellar.fetch(&fetcher(quick()), &server.url("/rootfs"), &file).await.unwrap();
    assert!(cellar.done_bytes() == Some(file));
    assert_eq!(server.asked(), [Some(20_000), None]);
    assert_eq!(cellar.log.told().starts, [(50_000, 20_000), (50_000, 0)]);
}

#[tokio::test]
async fn a_file_that_changes_between_two_requests_is_fetched_anew() {
    let (old, new) = (vec![1; 50_000], content(50_000));
    let (before, after) = (old.clone(), new.clone());
    let server = Server::start(move |ask| match ask.number {
        0 => Reply::whole(&before).header(ETAG, "\"old\"").cut_after(30_000),
        _ => Reply::ranged(ask, &after).header(ETAG, "\"new\""),
    });
    let cellar = Cellar::new();
    cellar.fetch(&fetcher(quick()), &server.url("/rootfs"), &new).await.unwrap();
    assert!(cellar.done_bytes() == Some(new));
    assert_eq!(server.asked(), [None, Some(30_000), None]);
}

#[tokio::test]
async fn another_etag_on_the_same_bytes_costs_nothing() {
    let file = content(50_000);
    let copy = file.clone();
    let server = Server::start(move |ask| {
        let reply = Reply::ranged(ask, &copy).header(ETAG, &format!("\"node-{}\"", ask.number));
        if ask.number == 0 { reply.cut_after(30_000) } else { reply }
    });
    let cellar = Cellar::new();
    cellar.fetch(&fetcher(quick()), &server.url("/rootfs"), &file).await.unwrap();
    assert_eq!(server.asked(), [None, Some(30_000)]);
    assert_eq!(server.sent_bytes(), 50_000);
}

#[tokio::test]
async fn a_server_that_knows_no_ranges_sends_the_whole_file() {
    let file = content(50_000);
    let copy = file.clone();
    let server = Server::start(move |_| Reply::whole(&copy));
    let cellar = Cellar::with_partial(&file[..20_000]);
    cellar.fetch(&fetcher(quick()), &server.url("/rootfs"), &file).await.unwrap();
    assert!(cellar.done_bytes() == Some(file));
    assert_eq!(server.asked(), [Some(20_000)]);
    assert_eq!(
        cellar.log.told(),
        Told { starts: vec![(50_000, 20_000), (50_000, 0)], advanced: 50_000, finished: true }
    );
}

#[tokio::test]
async fn a_range_that_begins_elsewhere_is_not_appended() {
    let file = content(50_000);
    let copy = file.clone();
    let server = Server::start(move |ask| match ask.from() {
        Some(_) => {
            let lie = Reply::ranged(ask, &copy);
            lie.header(CONTENT_RANGE, "bytes 10000-49999/50000").header(CONTENT_LENGTH, "30000")
        }
        None => Reply::whole(&copy),
    });
    let cellar = Cellar::with_partial(&file[..20_000]);
    cellar.fetch(&fetcher(quick()), &server.url("/rootfs"), &file).await.unwrap();
    assert!(cellar.done_bytes() == Some(file));
    assert_eq!(server.asked(), [Some(20_000), None]);
}

#[tokio::test]
async fn a_file_that_shrank_on_the_server_is_named_with_both_sizes() {
    let file = content(50_000);
    let (server, cellar) = (Server::of_file(content(10_000)), Cellar::with_partial(&file[..20_000]));
    let error = cellar.fetch(&fetcher(quick()), &server.url("/rootfs"), &file).await.unwrap_err();
    assert!(matches!(error, TransferError::WrongSize { expected: 50_000, found: 10_000, .. }), "{error:?}");
    assert!(cellar.partial_bytes().as_deref() == Some(&file[..20_000]), "the partial is not at fault");
}

#[tokio::test]
async fn a_refused_range_that_exists_leads_to_the_whole_file() {
    let file = content(50_000);
    let copy = file.clone();
    let server = Server::start(move |ask| match ask.from() {
        Some(_) => Reply::status(416).header(CONTENT_RANGE, "bytes */50000"),
        None => Reply::whole(&copy),
    });
    let cellar = Cellar::with_partial(&file[..20_000]);
    cellar.fetch(&fetcher(quick()), &server.url("/rootfs"), &file).await.unwrap();
    assert!(cellar.done_bytes() == Some(file));
}

#[tokio::test]
async fn an_empty_file_is_a_file() {
    let (server, cellar) = (Server::of_file(Vec::new()), Cellar::new());
    cellar.fetch(&fetcher(quick()), &server.url("/rootfs"), b"").await.unwrap();
    assert_eq!(cellar.done_bytes(), Some(Vec::new()));
}

#[tokio::test]
async fn progress_renews_the_patience_with_a_server_that_keeps_cutting() {
    let file = content(6 * 1024 * 1024);
    let copy = file.clone();
    let server = Server::start(move |ask| Reply::ranged(ask, &copy).cut_after(1024 * 1024 + 1));
    let cellar = Cellar::new();
    cellar.fetch(&fetcher(Limits { retries: 1, ..quick() }), &server.url("/rootfs"), &file).await.unwrap();
    assert!(cellar.done_bytes() == Some(file));
    assert_eq!(server.asked().len(), 6);
}
