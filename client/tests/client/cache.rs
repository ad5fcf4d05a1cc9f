//! Whatever happens to the cache, the next command finds its way; nothing is downloaded twice.

use std::process::Child;
use std::time::Duration;

use formats::record::BuildFile;
use testkit::FakeImage;

use crate::world::{Claims, Host, Said, Server, bookworm, serial};

const ROOTFS: &str = "rootfs.tar.xz";

/// Bytes that do not compress, so that a download takes a moment.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 1_u64;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    })
    .take(bytes)
    .collect()
}

#[test]
fn many_concurrent_cold_fetches_make_one_download_and_all_succeed() {
    let server = Server::publishing(&[bookworm().file("usr/noise", noise(3 << 20))]);
    let host = Host::trusting(&server);
    let piped = std::process::Stdio::piped;
    let children: Vec<Child> =
        (0..8).map(|_| host.rootcellar("fetch debian/12").stdout(piped()).stderr(piped()).spawn().unwrap()).collect();
    for child in children {
        Said::of(&child.wait_with_output().unwrap()).succeeds();
    }
    assert_eq!(server.requests(ROOTFS), 1);
}

#[test]
fn a_killed_fetch_is_healed_by_the_next_one() {
    let server = Server::publishing(&[bookworm().file("usr/noise", noise(8 << 20))]);
    for milliseconds in [0, 20, 40, 60, 80, 120, 160, 240] {
        let host = Host::trusting(&server);
        let mut child = host.rootcellar("-q fetch debian/12").spawn().unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        child.kill().unwrap();
        child.wait().unwrap();
        host.run("fetch debian/12").succeeds();
        host.run("cache verify").succeeds();
    }
}

#[test]
fn a_damaged_file_is_noticed_and_fetched_again() {
    let server = Server::publishing(&[bookworm()]);
    let host = Host::trusting(&server);
    host.run("fetch debian/12").succeeds();
    for damaged in [b"".as_slice(), b"damaged"] {
        std::fs::write(host.cached(&bookworm(), BuildFile::RootfsTarXz), damaged).unwrap();
        host.run("fetch debian/12 --offline").refuses("no undamaged build");
        host.run("fetch debian/12").succeeds();
        host.run("fetch debian/12 --offline").succeeds();
    }
    assert_eq!(server.requests(ROOTFS), 3);
    assert_eq!(server.requests("meta.tar.xz"), 1);
}

#[test]
fn an_unchanged_image_costs_an_index_and_no_download() {
    let server = Server::publishing(&[bookworm()]);
    let host = Host::trusting(&server);
    host.run("fetch debian/12").succeeds();
    let said = host.run("fetch debian").succeeds();
    assert!(said.stderr.contains("The cache is already up to date"), "{}", said.stderr);
    assert_eq!(server.requests(ROOTFS), 1);
}

#[test]
fn a_newer_build_is_fetched_and_a_pinned_one_stays_available() {
    let old = bookworm().serial(&serial(60));
    let mut server = Server::publishing(std::slice::from_ref(&old));
    let host = Host::trusting(&server);
    host.run("fetch debian/12").succeeds();
    server.add(bookworm(), Claims::fresh(5));
    let said = host.run("fetch debian/12").succeeds();
    assert_eq!(said.stdout.trim(), format!("debian/bookworm/amd64/default@{}", serial_of(&bookworm())));
    host.run(&format!("fetch debian/12@{} --offline", serial_of(&old))).succeeds();
    host.run("cache prune").succeeds();
    host.run(&format!("fetch debian/12@{} --offline", serial_of(&old))).refuses("no undamaged build");
    host.run("fetch debian/12 --offline").succeeds();
}

fn serial_of(image: &FakeImage) -> String {
    image.record().serial.to_string()
}

#[test]
fn one_servers_image_is_never_used_for_another() {
    let (one, other) = (Server::publishing(&[bookworm()]), Server::publishing(&[bookworm()]));
    let host = Host::trusting(&one);
    host.run("fetch debian/12").succeeds();
    let of_other = format!("--server {} --fingerprint {}", other.url(), other.fingerprint());
    host.run(&format!("fetch debian/12 --offline {of_other}")).refuses("no undamaged build");
    host.run(&format!("fetch debian/12 {of_other}")).succeeds();
}

#[test]
fn a_full_listing_of_the_cache_names_builds_and_their_size() {
    let server = Server::publishing(&[bookworm()]);
    let host = Host::trusting(&server);
    host.run("fetch debian/12").succeeds();
    let said = host.run("cache list --format json").succeeds();
    let rows: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    let files = bookworm().files();
    let size = files[&BuildFile::RootfsTarXz].len() + files[&BuildFile::MetaTarXz].len();
    assert_eq!(rows[0]["size_bytes"], size);
    assert_eq!(rows[0]["image"], "debian/bookworm/amd64/default");
}
