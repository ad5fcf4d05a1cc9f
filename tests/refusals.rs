//! What was not signed, is too old or was signed by somebody else is refused in its own words, and nothing is created.

use std::time::Duration;

use crate::support::mirror::Mirror;
use crate::support::{Outcome, TestHost, TestServer, fake_build};

const IMAGE: &str = "debian/bookworm/amd64/default";

#[test]
fn one_flipped_byte_in_any_file_the_client_reads_is_refused_and_nothing_is_created() {
    let (_directory, build) = fake_build(IMAGE, "20261123_0522");
    let server = TestServer::publishing(&[&build]);
    let faithful = Mirror::of(&server);
    let host = host(&faithful, &server);
    create(&host).succeeds();
    let read = ["index.sjson", "rootfs.tar.xz", "meta.tar.xz"];
    let products = |path: &str| path.starts_with("streams/v1/debian.");
    let paths = faithful.paths();
    let paths = paths.iter().filter(|path| products(path) || read.iter().any(|name| path.ends_with(name)));
    // The documents of another channel are none that this client reads.
    let paths: Vec<_> = paths.filter(|path| !path.starts_with("c/")).collect();
    assert!(paths.len() >= 4, "{paths:?}");
    for path in paths {
        let mirror = Mirror::of(&server);
        let host = self::host(&mirror, &server);
        mirror.alter(path, |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        });
        let outcome = create(&host);
        let words = if path.ends_with("index.sjson") { "was altered after it was signed" } else { "expected sha256" };
        refused(&host, &outcome, words);
    }
}

#[test]
fn an_expired_index_is_refused_unless_that_was_typed_out() {
    let (_directory, build) = fake_build(IMAGE, "20261123_0522");
    // A server signs afresh long before its index expires; a mirror that withholds the fresh ones does not.
    let server = TestServer::publishing(&[&build]);
    server.command(&["publish", "--validity", "4s"]).succeeds();
    let mirror = Mirror::of(&server);
    let host = host(&mirror, &server);
    std::thread::sleep(Duration::from_secs(6));
    refused(&host, &create(&host), "the index expired");
    let accepted = host.run("create web1 debian/bookworm --accept-expired-index");
    accepted.succeeds();
    assert!(accepted.stderr().contains("warning: ") && accepted.stderr().contains("--accept-expired-index"));
}

#[test]
fn a_replayed_older_index_is_refused() {
    let (_directory, build) = fake_build(IMAGE, "20261123_0522");
    let server = TestServer::publishing(&[&build]);
    let (old, mirror) = (Mirror::of(&server), Mirror::of(&server));
    let host = host(&mirror, &server);
    std::thread::sleep(Duration::from_secs(1));
    server.command(&["publish"]).succeeds();
    mirror.follow(&server);
    host.run("list").succeeds();
    mirror.replay(&old);
    refused(&host, &create(&host), "the index was rolled back");
}

#[test]
fn an_index_signed_by_a_key_that_is_not_pinned_is_refused() {
    let (_directory, build) = fake_build(IMAGE, "20261123_0522");
    let (server, strangers) = (TestServer::publishing(&[&build]), TestServer::publishing(&[&build]));
    let mirror = Mirror::of(&server);
    let host = host(&mirror, &server);
    mirror.follow(&strangers);
    refused(&host, &create(&host), "signed by a key that is not pinned");
}

#[test]
fn a_file_swapped_for_that_of_another_image_is_refused() {
    let (_one, bookworm) = fake_build(IMAGE, "20261123_0522");
    let (_two, trixie) = fake_build("debian/trixie/amd64/default", "20261123_0522");
    let server = TestServer::publishing(&[&bookworm, &trixie]);
    let mirror = Mirror::of(&server);
    let host = host(&mirror, &server);
    let rootfs = |release: &str| format!("images/debian/{release}/amd64/default/20261123_0522/rootfs.tar.xz");
    let other = mirror.file(&rootfs("trixie"));
    mirror.alter(&rootfs("bookworm"), |bytes| *bytes = other);
    refused(&host, &create(&host), "expected");
}

/// A host whose default remote is the mirror, pinned to the key of the server it claims to mirror.
fn host(mirror: &Mirror, server: &TestServer) -> TestHost {
    let host = TestHost::new();
    let args = ["remote", "add", "default", &mirror.url, "--fingerprint", &server.fingerprint()];
    host.rootcellar().args(args).run().succeeds();
    host
}

fn create(host: &TestHost) -> Outcome {
    host.run("create web1 debian/bookworm")
}

fn refused(host: &TestHost, outcome: &Outcome, words: &str) {
    outcome.fails_with(1, words);
    outcome.fails_with(1, "hint: ");
    assert_eq!(host.container_names(), [] as [&str; 0], "{outcome:?}");
}
