//! A signing subkey changes without a word to users; a revoked key is refused in its own words, for good.

use crate::support::mirror::Mirror;
use crate::support::{TestHost, TestServer, fake_build};

const IMAGE: &str = "debian/bookworm/amd64/default";

/// A host that pinned the server's key and read its index through the mirror.
fn host(mirror: &Mirror, server: &TestServer) -> TestHost {
    let host = TestHost::new();
    let args = ["remote", "add", "default", &mirror.url, "--fingerprint", &server.fingerprint()];
    host.rootcellar().args(args).run().succeeds();
    host.run("list").succeeds();
    host
}

#[test]
fn a_rotated_subkey_is_accepted_after_the_certificate_was_fetched_again() {
    let (_directory, build) = fake_build(IMAGE, "20261123_0522");
    let server = TestServer::publishing(&[&build]);
    let mirror = Mirror::of(&server);
    let host = host(&mirror, &server);
    let before = server.fingerprint();
    server.command(&["keys", "rotate"]).succeeds();
    assert_eq!(server.fingerprint(), before);
    mirror.follow(&server);
    host.run("list").succeeds();
    host.run("create web1 debian/bookworm").succeeds();
}

#[test]
fn what_a_revoked_subkey_signed_is_refused_even_with_an_older_copy_of_the_certificate() {
    let (_directory, build) = fake_build(IMAGE, "20261123_0522");
    let server = TestServer::publishing(&[&build]);
    let (old, mirror) = (Mirror::of(&server), Mirror::of(&server));
    let host = host(&mirror, &server);
    server.command(&["keys", "revoke", "subkey"]).succeeds();
    mirror.follow(&server);
    host.run("list").succeeds();
    mirror.replay(&old);
    let refused = host.run("create web1 debian/bookworm");
    refused.fails_with(1, "signed by a key that was revoked");
    refused.fails_with(1, "hint: ");
    let accepting = host.run("create web1 debian/bookworm --accept-expired-index");
    accepting.fails_with(1, "signed by a key that was revoked");
    assert_eq!(host.container_names(), [] as [&str; 0]);
    mirror.follow(&server);
    host.run("list").succeeds();
}

#[test]
fn a_client_that_pinned_a_revoked_key_says_so_until_it_is_given_the_new_one() {
    let (_directory, build) = fake_build(IMAGE, "20261123_0522");
    let server = TestServer::publishing(&[&build]);
    let mirror = Mirror::of(&server);
    let old = Mirror::of(&server);
    let host = host(&mirror, &server);
    let before = server.fingerprint();
    server.command(&["keys", "revoke", "repository"]).succeeds();
    assert_ne!(server.fingerprint(), before);
    mirror.follow(&server);
    host.run("list").fails_with(1, &format!("signed by a key that was revoked: {before}"));
    // The revocation was kept, so the index the old key signed is of no use any more.
    mirror.replay(&old);
    host.run("list").fails_with(1, "signed by a key that was revoked");
}
