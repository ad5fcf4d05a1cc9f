//! Redirects are followed, but not everywhere.

use rootcellar_transfer::TransferError;

use crate::cellar::{Cellar, content, fetcher, quick};
use crate::server::{Reply, Server};

#[tokio::test]
async fn a_redirect_is_followed_with_its_range() {
    let file = content(50_000);
    let mirror = Server::of_file(file.clone());
    let target = mirror.url("/elsewhere/rootfs");
    let server = Server::start(move |_| Reply::redirect(&target));
    let cellar = Cellar::with_partial(&file[..20_000]);
    cellar.fetch(&fetcher(quick()), &server.url("/rootfs"), &file).await.unwrap();
    assert!(cellar.done_bytes() == Some(file));
    assert_eq!(mirror.asked(), [Some(20_000)]);
}

#[tokio::test]
async fn a_redirect_in_circles_ends_at_the_limit() {
    let server = Server::start(|ask| Reply::redirect(&ask.path));
    let error = fetcher(quick()).document(&server.url("/circle"), 10).await.unwrap_err();
    assert_eq!(error.to_string(), format!("`{}` redirects more than 5 times", server.url("/circle")));
    assert_eq!(server.asked().len(), 6);
}

#[tokio::test]
async fn a_redirect_to_another_protocol_is_refused() {
    let server = Server::start(|_| Reply::redirect("ftp://127.0.0.1/rootfs"));
    let error = fetcher(quick()).document(&server.url("/rootfs"), 10).await.unwrap_err();
    assert_eq!(error.to_string(), format!("`{}` redirects to another protocol, `ftp`", server.url("/rootfs")));
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_password_is_not_passed_on_to_another_server() {
    let other = Server::start(|ask| Reply::status(if ask.headers.contains_key("authorization") { 500 } else { 404 }));
    let target = other.url("/rootfs").replace("127.0.0.1", "localhost");
    let server = Server::start(move |_| Reply::redirect(&target));
    let url = server.url("/rootfs").replace("http://", "http://user:secret@");
    let error = fetcher(quick()).document(&url, 10).await.unwrap_err();
    assert!(matches!(error, TransferError::NotFound { .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("secret"));
}
