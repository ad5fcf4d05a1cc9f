//! A channel is a prefix that clients of every kind can use as their server.

use std::time::{Duration, Instant};

use crate::stock_template::lxc_create_from;
use crate::support::{Program, TestHost, TestServer, fake_build, need};

const IMAGE: &str = "debian/bookworm/amd64/default";

fn server() -> TestServer {
    let (_old, old) = fake_build(IMAGE, "20261122_0522");
    let server = TestServer::publishing(&[&old]);
    let (_new, new) = fake_build(IMAGE, "20261123_0522");
    server.command(&["import", "--channel", "staging", new.to_str().unwrap()]).succeeds();
    server.command(&["publish"]).succeeds();
    wait_until(|| server.log().contains("Serving a new generation"));
    server
}

#[test]
fn our_client_gets_what_its_channel_offers_and_follows_a_promotion_and_its_rollback() {
    let server = server();
    let host = |channel: &str| {
        let host = TestHost::new();
        let args =
            ["remote", "add", "default", &server.url, "--fingerprint", &server.fingerprint(), "--channel", channel];
        host.rootcellar().args(args).arg("--ca").arg(server.ca()).run().succeeds();
        host
    };
    let (stable, staging) = (host("stable"), host("staging"));
    let newest = |host: &TestHost| host.run("list --format json").succeeds().contains("20261123_0522");
    assert!(newest(&staging) && !newest(&stable));
    server.command(&["promote", IMAGE, "--to", "stable"]).succeeds();
    wait_until(|| newest(&stable));
    server.command(&["rollback", "stable"]).succeeds();
    wait_until(|| !newest(&stable));
}

#[test]
fn the_stock_template_takes_a_channel_as_part_of_the_servers_name() {
    need!(root, "lxc-create");
    let server = server();
    let host = TestHost::new();
    let prefix = format!("{}/c/staging", server.host_and_port());
    lxc_create_from(Program::new("lxc-create"), &host, &server, &prefix, "staged", "bookworm").run().succeeds();
    assert!(server.log().contains("/c/staging//images/") || server.log().contains("20261123_0522"), "{}", server.log());
}

/// A running server lets one flip settle before it shows the next.
fn wait_until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "it did not happen within 20 s");
        std::thread::sleep(Duration::from_millis(200));
    }
}
