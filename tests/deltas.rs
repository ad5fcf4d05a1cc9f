//! A nightly update with the real programs: what a server makes and lists, a client fetches in place of a whole rootfs.

use std::fs;
use std::time::{Duration, Instant};

use testkit::FakeImage;

use crate::support::{TestHost, TestServer, need};

/// An image of two megabytes that do not compress, and a file that says which build it is.
fn image(serial: &str) -> FakeImage {
    let mut state = 11_u64;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    });
    let noise: Vec<u8> = noise.take(2 << 20).collect();
    FakeImage::new("debian/bookworm/amd64/default").serial(serial).file("srv/noise", noise).file("srv/build", serial)
}

#[test]
fn an_updated_container_costs_a_tenth_of_the_bytes_and_is_the_same_as_from_a_whole_download() {
    need!(root);
    let builds = tempfile::tempdir().unwrap();
    let server = TestServer::publishing(&[&image("20261122_0522").write(builds.path())]);
    let host = TestHost::trusting(&server);
    host.run("create old debian/bookworm").succeeds();

    let newer = image("20261123_0522").write(builds.path());
    server.command(&["import", newer.to_str().unwrap()]).succeeds();
    server.command(&["publish"]).succeeds();
    let delta = server.images().join("debian/bookworm/amd64/default/20261123_0522/rootfs.tar.20261122_0522.zst");
    let (delta, whole) = (fs::metadata(delta).unwrap().len(), fs::metadata(newer.join("rootfs.tar.xz")).unwrap().len());
    assert!(delta * 10 <= whole, "{delta} of {whole} bytes");

    let requests = |log: &str, words: &str| log.lines().filter(|line| line.contains(words)).count();
    let deadline = Instant::now() + Duration::from_mins(1);
    while !host.run("list --format json").succeeds().contains("20261123_0522") {
        assert!(Instant::now() < deadline, "the new build is not served:\n{}", server.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    let before = server.log();
    host.run("fetch debian/bookworm").succeeds();
    host.run("create new debian/bookworm").succeeds();
    let log = server.log()[before.len()..].to_owned();
    assert_eq!((requests(&log, ".zst"), requests(&log, "rootfs.tar.xz")), (1, 0), "{log}");

    let other = TestHost::trusting(&server);
    other.run("create new debian/bookworm").succeeds();
    for file in ["srv/noise", "srv/build", "etc/hostname", "etc/os-release"] {
        let read = |host: &TestHost| fs::read(host.containers().join("new/rootfs").join(file)).unwrap();
        assert_eq!(read(&host), read(&other), "{file}");
    }
    assert_eq!(fs::read(host.containers().join("new/rootfs/srv/build")).unwrap(), b"20261123_0522");
}
