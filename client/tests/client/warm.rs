//! After the first create, the next ones decode nothing, and trust nothing that they find.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use formats::digest::FileDigest;
use formats::record::BuildFile;
use testkit::FakeImage;

use crate::world::{Host, Said, Server, bookworm, is_root};

fn image() -> FakeImage {
    bookworm().file("srv/big", vec![b'x'; 3 << 20])
}

/// Where the cache keeps the tar archive of the only build in it.
fn decoded(host: &Host) -> Option<PathBuf> {
    let record = host.tree("cache/v1/images").into_iter().find(|path| path.parent().unwrap().ends_with("builds"))?;
    let record: serde_json::Value = serde_json::from_slice(&fs::read(record).unwrap()).unwrap();
    let name = record["tar"]["sha256"].as_str()?;
    Some(host.at("cache/v1/blobs/sha256").join(&name[..2]).join(name))
}

#[test]
fn a_second_create_needs_no_compressed_rootfs() {
    if !is_root() {
        return;
    }
    let server = Server::publishing(&[image()]);
    let host = Host::trusting(&server);
    host.run("create one debian/12").succeeds();
    fs::remove_file(host.cached(&image(), BuildFile::RootfsTarXz)).unwrap();
    host.run("create two debian/12").succeeds();
    assert_eq!(server.requests("rootfs.tar.xz"), 1);
    let [one, two] = ["one", "two"].map(|name| host.tree(&format!("containers/{name}/rootfs")).len());
    assert_eq!(one, two);
    assert_eq!(fs::read(host.at("containers/two/rootfs/srv/big")).unwrap(), vec![b'x'; 3 << 20]);
    assert_eq!(fs::read_to_string(host.at("containers/two/rootfs/etc/hostname")).unwrap(), "two\n");
}

#[test]
fn a_decoded_rootfs_that_somebody_changed_is_not_used() {
    if !is_root() {
        return;
    }
    let server = Server::publishing(&[image()]);
    let host = Host::trusting(&server);
    host.run("create one debian/12").succeeds();
    let path = decoded(&host).unwrap();
    let sound = fs::read(&path).unwrap();
    let mut changed = sound.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    for (name, content) in [("changed", changed.as_slice()), ("cut", &sound[..sound.len() / 2]), ("empty", b"")] {
        fs::write(&path, content).unwrap();
        host.run(&format!("create {name} debian/12 --offline")).succeeds();
        assert_eq!(fs::read(host.at(&format!("containers/{name}/rootfs/srv/big"))).unwrap(), vec![b'x'; 3 << 20]);
        assert_eq!(FileDigest::of(&fs::read(&path).unwrap()), FileDigest::of(&sound), "it was not made again");
    }
    fs::write(&path, changed).unwrap();
    host.run("cache verify").refuses("");
    host.run("cache verify").succeeds();
    assert_eq!(server.requests("rootfs.tar.xz"), 1);
}

#[test]
fn many_concurrent_cold_creates_make_one_download_and_all_succeed() {
    if !is_root() {
        return;
    }
    let server = Server::publishing(&[image()]);
    let host = Host::trusting(&server);
    let create = |number| host.rootcellar(&format!("create c{number} debian/12"));
    let children: Vec<Child> =
        (0..32).map(|number| create(number).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()).collect();
    for child in children {
        Said::of(&child.wait_with_output().unwrap()).succeeds();
    }
    assert_eq!(server.requests("rootfs.tar.xz"), 1);
    assert!(host.tree("cache/v1/partial").is_empty());
}

#[test]
fn pruning_keeps_the_decoded_rootfs_of_the_current_build() {
    if !is_root() {
        return;
    }
    let server = Server::publishing(&[image()]);
    let host = Host::trusting(&server);
    host.run("create one debian/12").succeeds();
    host.run("cache prune").succeeds();
    assert!(decoded(&host).unwrap().exists());
    host.run("cache prune --all").succeeds();
    assert!(decoded(&host).is_none() && host.tree("cache/v1/blobs").iter().all(|path| path.is_dir()));
}

#[test]
fn nothing_in_the_cache_can_be_run() {
    if !is_root() {
        return;
    }
    let server = Server::publishing(&[image().rootfs(|tree| {
        tree.file("usr/bin/su", 0o4755, "#!");
    })]);
    let host = Host::trusting(&server);
    host.run("create one debian/12").succeeds();
    let su = fs::metadata(host.at("containers/one/rootfs/usr/bin/su")).unwrap();
    assert_eq!(su.permissions().mode() & 0o7777, 0o4755);
    for path in host.tree("cache").iter().filter(|path| path.is_file()) {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o7111, 0, "{}", path.display());
    }
}
