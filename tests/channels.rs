//! A channel is a prefix that clients of every kind can use as their server.

use crate::stock_template::lxc_create_from;
use crate::support::{Program, TestHost, TestServer, fake_build, need};

const IMAGE: &str = "debian/bookworm/amd64/default";

fn server() -> TestServer {
    let (_old, old) = fake_build(IMAGE, "20261122_0522");
    let server = TestServer::publishing(&[&old]);
    let (_new, new) = fake_build(IMAGE, "20261123_0522");
    server.command(&["import", "--channel", "staging", new.to_str().unwrap()]).succeeds();
    server.command(&["publish"]).succeeds();
    server
}

#[test]
fn our_client_gets_what_its_channel_offers_and_follows_a_promotion_and_its_rollback() {
    let server = server();
    let host = TestHost::new();
    for (name, channel) in [("stable", "stable"), ("next", "staging")] {
        let args = ["remote", "add", name, &server.url, "--fingerprint", &server.fingerprint(), "--channel", channel];
        host.rootcellar().args(args).arg("--ca").arg(server.ca()).run().succeeds();
    }
    let newest = |remote: &str| {
        let list = host.run(&format!("list {remote}:debian --format json")).succeeds();
        list.contains("20261123_0522")
    };
    assert!(newest("next") && !newest("stable"));
    server.command(&["promote", IMAGE, "--to", "stable"]).succeeds();
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert!(newest("stable"));
    server.command(&["rollback", "stable"]).succeeds();
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert!(!newest("stable"));
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
