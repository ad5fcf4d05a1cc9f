//! A full file system of the containers is said, with what is needed, and nothing is left on it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use testkit::FakeImage;

use crate::cache::SmallDisk;
use crate::template::{BEGUN, IMAGE, begun, fill};
use crate::world::{Host, Server, bookworm, is_root};

const HINT: &str = "hint: it takes about 8.0 MiB: make room there, or `-P DIR` names another place for containers";

fn image() -> FakeImage {
    bookworm().file("srv/zeros", vec![0; 8 << 20])
}

#[test]
fn a_create_that_does_not_fit_says_how_much_it_takes_and_leaves_nothing() {
    if !is_root() {
        return;
    }
    let server = Server::publishing(&[image()]);
    let host = Host::trusting(&server);
    fs::set_permissions(host.at(""), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(host.at("mapped.conf"), "lxc.idmap = u 0 3300000 65536\nlxc.idmap = g 0 3300000 65536\n").unwrap();
    let _disk = SmallDisk::at(host.at("containers"), 4);
    let mapped = format!("create web1 debian/12 --config {}", host.at("mapped.conf").display());
    for line in ["create web1 debian/12", &mapped, "create --snapshot web1 debian/12"] {
        let said = host.run(line);
        assert_eq!(said.code, 2, "{line}: {}", said.stderr);
        assert!(said.stderr.contains("no space left for the rootfs"), "{line}: {}", said.stderr);
        assert!(said.stderr.contains(HINT), "{line}: {}", said.stderr);
        let left: Vec<_> = host.tree("containers").into_iter().filter(|path| !is_common(path)).collect();
        assert!(left.is_empty(), "{line}: {left:?}");
    }
}

/// What all shared trees have in common stays.
fn is_common(path: &std::path::Path) -> bool {
    [".rootcellar", ".rootcellar/v1", ".rootcellar/v1/lock"].iter().any(|end| path.ends_with(end))
}

#[test]
fn the_template_says_it_too() {
    if !is_root() {
        return;
    }
    let server = Server::publishing(&[image()]);
    let host = Host::trusting(&server);
    let _disk = SmallDisk::at(host.at("begun"), 4);
    begun(&host, "p1", BEGUN);
    let said = fill(&host, "p1", IMAGE).refuses("no space left for the rootfs");
    assert!(said.stderr.contains(HINT), "{}", said.stderr);
}
