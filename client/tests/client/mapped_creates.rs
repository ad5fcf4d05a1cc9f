//! A create with mapped ids unpacks in another process, and fails for the same reasons, in the same words, as any other.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use formats::record::BuildFile;
use testkit::FakeImage;

use crate::world::{Fault, Host, Said, Server, bookworm, is_root, path_of};

const FIRST: u32 = 3_300_000;

/// Large enough to arrive in many pieces, and of bytes that do not compress.
fn image() -> FakeImage {
    let noise = (0_u32..400_000).flat_map(|number| number.wrapping_mul(2_654_435_761).to_be_bytes());
    bookworm().file("srv/noise", noise.collect::<Vec<u8>>())
}

/// A host whose directories the mapped users can reach.
fn host(server: &Server) -> Host {
    let host = Host::trusting(server);
    fs::set_permissions(host.at(""), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(host.at("mapped.conf"), format!("lxc.idmap = u 0 {FIRST} 65536\nlxc.idmap = g 0 {FIRST} 65536\n"))
        .unwrap();
    host
}

fn create(host: &Host) -> Said {
    host.run(&format!("create web1 debian/12 --config {}", host.at("mapped.conf").display()))
}

/// No container, and nothing that one would be made of.
#[track_caller]
fn nothing_is_left(host: &Host) {
    assert!(host.tree("containers").is_empty(), "{:?}", host.tree("containers"));
    assert_eq!(host.run("cache list --format json").succeeds().stdout.trim(), "[]");
}

#[test]
fn the_files_of_a_mapped_container_belong_to_its_users() {
    if !is_root() {
        return;
    }
    let server = Server::publishing(&[image()]);
    let host = host(&server);
    create(&host).succeeds();
    assert_eq!(fs::metadata(host.at("containers/web1/rootfs/srv/noise")).unwrap().uid(), FIRST);
}

#[test]
fn an_altered_rootfs_is_called_altered() {
    if !is_root() {
        return;
    }
    let server = Server::publishing(&[image()]);
    let path = path_of(&image(), BuildFile::RootfsTarXz);
    let sound = server.get(&path);
    for place in [100, sound.len() / 2, sound.len() - 1] {
        let mut altered = sound.clone();
        altered[place] ^= 1;
        server.put(&path, altered);
        let host = host(&server);
        let said = create(&host).refuses("does not match its digest: expected sha256");
        assert!(said.stderr.contains("hint: a mirror may be mid-update"), "{}", said.stderr);
        assert_eq!(said.stderr.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{}", said.stderr);
        nothing_is_left(&host);
    }
}

#[test]
fn a_server_that_goes_away_is_named() {
    if !is_root() {
        return;
    }
    let server = Server::publishing(&[image()]);
    let host = host(&server);
    server.fails(Some(Fault::GoesAway { end: "rootfs.tar.xz", after: 600_000 }));
    let said = create(&host);
    assert_eq!(said.code, 2, "{}", said.stderr);
    assert!(said.stderr.contains("error: the transfer of `http://"), "{}", said.stderr);
    nothing_is_left(&host);
    server.fails(None);
    create(&host).succeeds();
}

#[test]
fn what_goes_wrong_in_the_other_process_comes_with_its_hint() {
    if !is_root() {
        return;
    }
    let foreign = image().rootfs(|rootfs| {
        rootfs.file("srv/foreign", 0o644, "x").owned_by(70_000, 0);
    });
    let server = Server::publishing(&[foreign]);
    let host = host(&server);
    let said = create(&host);
    assert!(said.stderr.contains("belongs to id 70000"), "{}", said.stderr);
    assert!(said.stderr.contains("\nhint: give the container more ids"), "{}", said.stderr);
    assert_eq!((said.code, host.tree("containers")), (2, vec![]), "{}", said.stderr);
}
