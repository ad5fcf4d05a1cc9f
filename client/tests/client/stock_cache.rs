//! What the stock template has downloaded is used when the signed documents vouch for it, and never otherwise.

use std::fs;
use std::os::unix::fs::symlink;

use formats::record::BuildFile;

use crate::world::{Host, Said, Server, bookworm, path_of, serial};

const IMAGE: &str = "debian/bookworm/amd64/default";

/// A cache as lxc-download leaves it.
fn stock(host: &Host, rootfs: &[u8]) -> std::path::PathBuf {
    let directory = host.at("lxc-cache/download").join(IMAGE);
    fs::create_dir_all(&directory).unwrap();
    for (name, content) in [
        ("rootfs.tar.xz", rootfs),
        ("build_id", b"20261120_07:42\n".as_slice()),
        ("config", b"lxc.hook.start = /bin/evil\n"),
        ("expiry", b"1\n"),
    ] {
        fs::write(directory.join(name), content).unwrap();
    }
    directory.join("rootfs.tar.xz")
}

fn fetch(host: &Host) -> Said {
    Said::of(&host.rootcellar("fetch debian/12").env("LXC_CACHE_PATH", host.at("lxc-cache")).output().unwrap())
}

#[test]
fn the_rootfs_of_the_same_build_is_not_downloaded_again() {
    let image = bookworm();
    let server = Server::publishing(std::slice::from_ref(&image));
    let host = Host::trusting(&server);
    stock(&host, &server.get(&path_of(&image, BuildFile::RootfsTarXz)));
    let before = host.tree("lxc-cache");
    fetch(&host).succeeds();
    assert_eq!((server.requests("rootfs.tar.xz"), server.requests("meta.tar.xz")), (0, 1));
    assert_eq!(host.tree("lxc-cache"), before);
    host.run("cache verify").succeeds();
    host.run("fetch debian/12 --offline").succeeds();
}

#[test]
fn what_another_server_or_nobody_vouches_for_is_not_used() {
    let image = bookworm();
    let server = Server::publishing(std::slice::from_ref(&image));
    let sound = server.get(&path_of(&image, BuildFile::RootfsTarXz));
    let mut altered = sound.clone();
    *altered.last_mut().unwrap() ^= 1;
    let other = bookworm().serial(&serial(9)).file("srv/other", "x").files()[&BuildFile::RootfsTarXz].clone();
    for (downloads, rootfs) in [altered, other, Vec::new()].iter().enumerate() {
        let host = Host::trusting(&server);
        stock(&host, rootfs);
        fetch(&host).succeeds();
        assert_eq!(server.requests("rootfs.tar.xz"), downloads + 1);
        assert!(host.tree("cache/v1/partial").is_empty());
        host.run("cache verify").succeeds();
    }
}

#[test]
fn a_link_or_a_fifo_in_its_place_is_passed_over() {
    let image = bookworm();
    let server = Server::publishing(std::slice::from_ref(&image));
    for kind in ["link", "fifo"] {
        let host = Host::trusting(&server);
        let path = stock(&host, b"");
        fs::remove_file(&path).unwrap();
        if kind == "link" {
            fs::write(host.at("elsewhere"), server.get(&path_of(&image, BuildFile::RootfsTarXz))).unwrap();
            symlink(host.at("elsewhere"), &path).unwrap();
        } else {
            let mode = rustix::fs::Mode::from_raw_mode(0o644);
            rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        }
        fetch(&host).succeeds();
    }
    assert_eq!(server.requests("rootfs.tar.xz"), 2);
}
