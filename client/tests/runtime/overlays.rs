//! A root file system of layers is the same for both runtimes.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::idmap::{WHOLE, give};
use crate::peer::{Lxc, MAPPED};
use crate::support::Host;

/// `base`, and `web1` made of what lies in `base` and in a layer between.
fn layered(host: &Host, map: &str, id: u32) -> PathBuf {
    let base = host.create("base", map);
    let container = host.containers().join("web1");
    let middle = container.join("middle");
    for directory in ["rootfs", "overlay/delta", "overlay/work", "middle/etc"] {
        fs::create_dir_all(container.join(directory)).unwrap();
    }
    fs::create_dir(base.join("rootfs/srv")).unwrap();
    fs::write(base.join("rootfs/srv/old"), "old").unwrap();
    fs::write(middle.join("etc/os-release"), "ID=middle\n").unwrap();
    for path in [base.join("rootfs"), middle.clone(), container.join("overlay"), container.join("rootfs")] {
        if id != 0 {
            give(&path);
        }
    }
    let upper = container.join("overlay/delta");
    let layers = format!("{}:{}:{}", middle.display(), base.join("rootfs").display(), upper.display());
    let options = if map.is_empty() { "" } else { "lxc.rootfs.options = userxattr\n" };
    host.configure("web1", &format!("{map}lxc.rootfs.path = overlay:{layers}\n{options}"));
    upper
}

/// A directory that replaces a deleted one hides what was in it: the hardest thing an overlay takes notes of.
const CHANGE: &str =
    "grep -q ID=middle /etc/os-release && cat /srv/old && rm -r /srv && mkdir /srv && echo new > /srv/new";
const LOOK: &str = "ls /srv && touch /srv/mine && ls -ln /srv/new";

fn both_runtimes_see_one_file_system(map: &str, id: u32) {
    let Some(host) = Host::or_skip() else { return };
    let upper = layered(&host, map, id);
    host.run("start web1 -- sleep 1000").succeeds();
    host.script("web1", CHANGE).succeeds();
    host.run("stop -k web1").succeeds();
    assert_eq!(fs::read_to_string(upper.join("srv/new")).unwrap(), "new\n");
    assert_eq!(fs::metadata(upper.join("srv/new")).unwrap().uid(), id);
    assert!(host.containers().join("base/rootfs/srv/old").exists());

    let containers = host.containers();
    let Some(mut lxc) = Lxc::or_skip(&containers) else { return };
    lxc.start("web1");
    let seen = lxc.script("web1", LOOK).succeeds();
    assert_eq!(seen.split_whitespace().next(), Some("new"), "{seen}");
    assert_eq!(seen.split_whitespace().skip(3).take(2).collect::<Vec<_>>(), ["0", "0"], "{seen}");
    lxc.stop("web1");
    host.run("start web1 -- sleep 1000").succeeds();
    assert_eq!(host.run("exec web1 -- ls /srv").succeeds(), "mine\nnew\n");
}

#[test]
fn changes_go_to_the_upper_layer_and_lxc_sees_them() {
    both_runtimes_see_one_file_system("", 0);
}

#[test]
fn changes_in_a_user_namespace_go_to_the_upper_layer_and_lxc_sees_them() {
    both_runtimes_see_one_file_system(WHOLE, MAPPED);
}

#[test]
fn layers_in_private_directories_serve_a_container_of_a_user_namespace() {
    use std::os::unix::fs::PermissionsExt;
    let Some(host) = Host::or_skip() else { return };
    layered(&host, WHOLE, MAPPED);
    let closed = fs::Permissions::from_mode(0o700);
    fs::set_permissions(host.containers().join("base"), closed.clone()).unwrap();
    fs::set_permissions(host.containers(), closed).unwrap();
    host.run("start web1 -- sleep 1000").succeeds();
    host.script("web1", CHANGE).succeeds();
}

#[test]
fn a_mount_finds_its_target_in_any_layer() {
    let Some(host) = Host::or_skip() else { return };
    layered(&host, "", 0);
    let config = host.containers().join("web1/config");
    let entry = |target: &str| format!("lxc.mount.entry = tmpfs {target} tmpfs size=1m 0 0\n");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text}{}", entry("srv"))).unwrap();
    host.run("start web1 -- sleep 1000").succeeds();
    assert_eq!(host.run("exec web1 -- ls /srv").succeeds(), "");
    host.run("stop -k web1").succeeds();
    fs::write(&config, format!("{text}{}", entry("missing"))).unwrap();
    host.run("start web1 -- sleep 1000").fails(1, "`/missing`, which is missing");
}

#[test]
fn other_kinds_of_root_file_systems_are_refused_by_name() {
    let Some(host) = Host::or_skip() else { return };
    host.create("web1", "lxc.rootfs.path = zfs:pool/web1\n");
    host.run("start web1 -- sleep 1000").fails(1, "its root file system is a `zfs`");
}
