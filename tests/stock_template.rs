//! The stock `lxc-create -t download` of the host's LXC, unchanged, works with our server.

use std::fs;
use std::path::PathBuf;

use crate::support::container::LxcContainer;
use crate::support::{Program, TestHost, TestServer, debian_build, fake_build, need};

#[test]
fn a_container_made_by_the_stock_template_boots_to_running_and_stops_cleanly() {
    need!(root, "lxc-create", "mmdebstrap");
    let server = TestServer::publishing(&[&debian_build()]);
    let host = TestHost::new();
    let container = LxcContainer::new(&host.containers(), "stock1");
    create(&host, &server, "stock1", "bookworm").run().succeeds();
    container.boots_to_running();
    assert!(container.attach(&["cat", "/etc/os-release"]).succeeds().contains("VERSION_CODENAME=bookworm"));
    assert_eq!(container.attach(&["hostname"]).succeeds().trim(), "stock1");
    container.stops_cleanly();
}

#[test]
fn the_stock_template_finds_its_index_at_the_first_request() {
    need!(root, "lxc-create");
    let (_directory, build) = fake_build("debian/bookworm/amd64/default", "20261123_0522");
    let server = TestServer::publishing(&[&build]);
    let host = TestHost::new();
    create(&host, &server, "first", "bookworm").run().succeeds();
    let log = server.log();
    assert!(log.contains("index-system.7"), "{log}");
    assert!(!log.contains("status=404"), "{log}");
}

#[test]
fn an_image_the_server_does_not_have_leaves_no_container() {
    need!(root, "lxc-create");
    let (_directory, build) = fake_build("debian/bookworm/amd64/default", "20261123_0522");
    let server = TestServer::publishing(&[&build]);
    let host = TestHost::new();
    create(&host, &server, "none", "potato").run().fails_with(1, "Couldn't find a matching image");
    assert_eq!(host.container_names(), [] as [&str; 0]);
}

fn create(host: &TestHost, server: &TestServer, name: &str, release: &str) -> Program {
    lxc_create(Program::new("lxc-create"), host, server, name, release)
}

/// Gives `program`, which ends in `lxc-create`, the arguments that make a container of a Debian release with
/// `-t download`, with everything inside the host's directory and without a network in the container.
pub(crate) fn lxc_create(program: Program, host: &TestHost, server: &TestServer, name: &str, release: &str) -> Program {
    lxc_create_from(program, host, server, server.host_and_port(), name, release)
}

/// The same from a part of the server: `HOST:PORT/c/CHANNEL`.
pub(crate) fn lxc_create_from(
    program: Program,
    host: &TestHost,
    server: &TestServer,
    address: &str,
    name: &str,
    release: &str,
) -> Program {
    let (config, wgetrc) = configuration(host, server);
    fs::create_dir_all(host.containers()).unwrap();
    program
        .envs(host.environment())
        .env("WGETRC", wgetrc)
        .arg("-P")
        .arg(host.containers())
        .args(["-t", "download", "-n", name, "-f"])
        .arg(config)
        .args(["--", "--server", address, "-d", "debian", "-r", release, "-a", "amd64"])
}

/// A container configuration without network, and a configuration of wget that trusts the server's authority.
pub(crate) fn configuration(host: &TestHost, server: &TestServer) -> (PathBuf, PathBuf) {
    let (config, wgetrc) = (host.path("default.conf"), host.path("wgetrc"));
    fs::write(&config, "lxc.net.0.type = empty\n").unwrap();
    fs::write(&wgetrc, format!("ca_certificate = {}\n", server.ca().display())).unwrap();
    (config, wgetrc)
}
