//! One unpacked image serves containers with every map, and nobody chowns it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::idmap::WHOLE;
use crate::peer::Lxc;
use crate::support::Host;

const OTHER: &str = "lxc.idmap = u 0 3000000 65536\nlxc.idmap = g 0 3000000 65536\n";

fn owner(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().uid()
}

/// A clone over `base` as its creator would make it: what it changes belongs to its own users.
fn clone(host: &Host, name: &str, map: &str, uid: u32) {
    let container = host.containers().join(name);
    for directory in ["rootfs", "overlay", "overlay/delta", "overlay/work"] {
        fs::create_dir_all(container.join(directory)).unwrap();
        std::os::unix::fs::chown(container.join(directory), Some(uid), Some(uid)).unwrap();
    }
    let (base, own) = (host.containers().join("base/rootfs"), container.join("overlay/delta"));
    host.configure(name, &format!("{map}lxc.rootfs.path = overlay:{}:{}\n", base.display(), own.display()));
}

#[test]
fn clones_with_different_maps_share_one_base() {
    let Some(host) = Host::or_skip() else { return };
    let base = host.create("base", "").join("rootfs");
    fs::write(base.join("etc/colour"), "green\n").unwrap();
    let clones = [("plain", "", 0), ("one", WHOLE, 2_000_000), ("two", OTHER, 3_000_000)];
    for (name, map, uid) in clones {
        clone(&host, name, map, uid);
        host.run(&format!("start {name} -- sleep 1000")).succeeds();
    }
    for (name, map, uid) in clones {
        let listing = host.run(&format!("exec {name} -- ls -ln /etc/colour")).succeeds();
        assert_eq!(listing.split_whitespace().skip(2).take(2).collect::<Vec<_>>(), ["0", "0"], "{name}: {listing}");
        host.script(name, "echo $(hostname) > /etc/colour && rm /etc/inittab && echo x > /root/new").succeeds();
        let delta = host.containers().join(name).join("overlay/delta");
        assert_eq!((owner(&delta.join("root/new")), owner(&delta.join("etc/colour"))), (uid, uid), "{name}");
        let seen = host.run(&format!("exec {name} -- cat /proc/self/uid_map")).succeeds();
        assert_eq!(seen.contains(&uid.to_string()), uid != 0 || map.is_empty(), "{seen}");
    }
    assert_eq!(fs::read_to_string(base.join("etc/colour")).unwrap(), "green\n");
    assert!(base.join("etc/inittab").exists() && owner(&base) == 0 && owner(&base.join("bin/busybox")) == 0);
}

#[test]
fn a_root_file_system_of_the_hosts_root_is_a_mapped_containers_own_with_one_map_after_the_other() {
    let Some(host) = Host::or_skip() else { return };
    let rootfs = host.create("web1", "").join("rootfs");
    for map in [WHOLE, OTHER] {
        host.configure("web1", &format!("{map}lxc.rootfs.options = idmap=container\n"));
        let started = host.run("start web1 -- sleep 1000");
        assert!(!started.stderr.contains("rootfs.options"), "{started:?}");
        started.succeeds();
        host.script("web1", "test $(id -u) = 0 && echo mine >> /root/file && chown 7 /root/file").succeeds();
        // On disk it is the container's ids, whichever the map.
        assert_eq!(owner(&rootfs.join("root/file")), 7);
        host.script("web1", "chown 0 /root/file").succeeds();
        host.run("stop -k web1").succeeds();
    }
    assert_eq!(fs::read_to_string(rootfs.join("root/file")).unwrap(), "mine\nmine\n");
    assert_eq!(owner(&rootfs.join("bin/busybox")), 0);
}

#[test]
fn a_mount_can_be_shown_with_mapped_owners() {
    let Some(host) = Host::or_skip() else { return };
    let rootfs = host.create("web1", "").join("rootfs");
    crate::idmap::give(&rootfs);
    let shared = tempfile::tempdir().unwrap();
    fs::write(shared.path().join("file"), "x").unwrap();
    let entry = |target: &str, option: &str| {
        format!("lxc.mount.entry = {} {target} none bind,create=dir{option} 0 0\n", shared.path().display())
    };
    let lines = [entry("srv/mapped", ",idmap=container"), entry("srv/plain", "")].concat();
    host.configure("web1", &format!("{WHOLE}{lines}"));
    fs::set_permissions(shared.path(), fs::Permissions::from_mode(0o755)).unwrap();
    host.run("start web1 -- sleep 1000").succeeds();
    let owner_in = |path: &str| {
        let listing = host.run(&format!("exec web1 -- ls -ln {path}")).succeeds();
        listing.split_whitespace().nth(2).unwrap().to_owned()
    };
    assert_eq!((owner_in("/srv/mapped/file").as_str(), owner_in("/srv/plain/file").as_str()), ("0", "65534"));
    host.script("web1", "echo y > /srv/mapped/new && ! echo y > /srv/plain/other").succeeds();
    assert_eq!(owner(&shared.path().join("new")), 0);
}

#[test]
fn lxc_runs_the_same_container() {
    let Some(host) = Host::or_skip() else { return };
    let rootfs = host.create("web1", &format!("{WHOLE}lxc.rootfs.options = idmap=container\n")).join("rootfs");
    let containers = host.containers();
    let Some(mut lxc) = Lxc::or_skip(&containers) else { return };
    host.run("start web1 -- sleep 1000").succeeds();
    host.script("web1", "echo ours > /root/ours").succeeds();
    host.run("stop -k web1").succeeds();
    lxc.start("web1");
    lxc.script("web1", "echo theirs > /root/theirs && cat /root/ours").succeeds();
    lxc.stop("web1");
    assert_eq!((owner(&rootfs.join("root/ours")), owner(&rootfs.join("root/theirs"))), (0, 0));
}
