//! A create unpacks while it downloads, and nothing of that is visible before all of it is verified.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use formats::record::BuildFile;
use testkit::FakeImage;

use crate::world::{Fault, Host, Server, bookworm, is_root, path_of, serial, wait_until};

/// Large enough to arrive in many pieces; of bytes that do not compress.
fn image() -> FakeImage {
    let mut state = 7_u64;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    });
    bookworm().file("srv/noise", noise.take(2 << 20).collect::<Vec<u8>>())
}

/// No container, no build, no file that anything would be made of.
#[track_caller]
fn nothing_is_visible(host: &Host) {
    assert!(host.tree("containers").is_empty(), "{:?}", host.tree("containers"));
    let blob = host.cached(&image(), BuildFile::RootfsTarXz);
    assert!(!blob.exists());
    assert_eq!(host.run("cache list --format json").succeeds().stdout.trim(), "[]");
}

#[test]
fn a_rootfs_altered_in_its_last_bytes_leaves_no_container_and_no_build() {
    if !is_root() {
        return;
    }
    let server = Server::publishing(&[image()]);
    let path = path_of(&image(), BuildFile::RootfsTarXz);
    let mut altered = server.get(&path);
    *altered.last_mut().unwrap() ^= 1;
    server.put(&path, altered);
    let host = Host::trusting(&server);
    host.run("create web1 debian/12").refuses("sha256");
    nothing_is_visible(&host);
}

#[test]
fn another_sound_rootfs_of_the_same_size_is_unpacked_by_nobody() {
    if !is_root() {
        return;
    }
    let server = Server::publishing(&[image()]);
    let path = path_of(&image(), BuildFile::RootfsTarXz);
    // Padded with zeros, as xz allows: it decodes and unpacks without a complaint.
    let mut other = bookworm().serial(&serial(9)).file("srv/other", "x").files()[&BuildFile::RootfsTarXz].clone();
    let size = server.get(&path).len();
    other.resize(size - (size - other.len()) % 4, 0);
    other.truncate(size);
    server.put(&path, other);
    let host = Host::trusting(&server);
    assert_eq!(host.rootcellar("create web1 debian/12").output().unwrap().status.code(), Some(1));
    nothing_is_visible(&host);
}

#[test]
fn a_left_over_download_of_other_bytes_does_no_harm() {
    if !is_root() {
        return;
    }
    let server = Server::publishing(&[image()]);
    let host = Host::trusting(&server);
    host.run("fetch debian/12").succeeds();
    let blob = host.cached(&image(), BuildFile::RootfsTarXz);
    fs::remove_file(&blob).unwrap();
    let origin = host.tree("cache/v1/images").into_iter().min_by_key(|path| path.as_os_str().len()).unwrap();
    let name = format!("{}.{}", origin.file_name().unwrap().display(), blob.file_name().unwrap().display());
    fs::write(host.at("cache/v1/partial").join(name), vec![0; 1 << 20]).unwrap();
    host.run("create web1 debian/12").succeeds();
    assert!(blob.exists() && host.tree("cache/v1/partial").is_empty());
}

#[test]
fn a_failed_create_keeps_the_build_that_was_there() {
    if !is_root() {
        return;
    }
    let mut server = Server::publishing(&[bookworm().serial(&serial(60))]);
    let host = Host::trusting(&server);
    host.run("create old debian/12").succeeds();
    server.add(image(), crate::world::Claims::fresh(5));
    let path = path_of(&image(), BuildFile::RootfsTarXz);
    let cut = server.get(&path).split_off(100);
    server.put(&path, cut);
    host.run("fetch debian/12").refuses("");
    host.run("create web1 debian/12 --offline").succeeds();
}

#[test]
fn what_arrived_before_a_kill_is_not_asked_for_again() {
    if !is_root() {
        return;
    }
    let server = Server::publishing(&[image()]);
    let host = Host::trusting(&server);
    fs::set_permissions(host.at(""), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(host.at("mapped.conf"), "lxc.idmap = u 0 3300000 65536\nlxc.idmap = g 0 3300000 65536\n").unwrap();
    let mapped = format!("create web2 debian/12 --config {}", host.at("mapped.conf").display());
    for (name, line) in [("fetch", "fetch debian/12"), ("create", "create web1 debian/12"), ("mapped", &mapped)] {
        host.run("cache prune --all").succeeds();
        server.fails(Some(Fault::Stalls { end: "rootfs.tar.xz", after: 3 << 19 }));
        let mut child = host.rootcellar(&format!("-q {line}")).spawn().unwrap();
        let arrived = || host.tree("cache/v1/partial").first().map_or(0, |path| fs::metadata(path).unwrap().len());
        wait_until("a megabyte arrived", || arrived() >= 1 << 20);
        child.kill().unwrap();
        child.wait().unwrap();
        let arrived = usize::try_from(arrived()).unwrap();
        server.fails(None);
        let before = server.ranges("rootfs.tar.xz").len();
        host.run(line).succeeds();
        assert_eq!(server.ranges("rootfs.tar.xz")[before..], [arrived], "{name}");
        assert!(host.tree("cache/v1/partial").is_empty(), "{name}");
    }
}
