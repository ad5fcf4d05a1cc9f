//! A container with mapped ids: its root is somebody without rights on the host, and so is every command in it.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use crate::support::Host;

pub(crate) const WHOLE: &str = "lxc.idmap = u 0 2000000 65536\nlxc.idmap = g 0 2000000 65536\n";
/// As the old dialect has it, with one user of the host as the same user in the container.
const SPLIT: &str = "lxc.id_map = u 0 2000000 1000\nlxc.id_map = g 0 2000000 1000\n\
                     lxc.id_map = u 1000 1000 1\nlxc.id_map = g 1000 1000 1\n\
                     lxc.id_map = u 1001 2001001 64535\nlxc.id_map = g 1001 2001001 64535\n";

fn host(map: &str, lines: &str) -> Option<Host> {
    let host = Host::or_skip()?;
    let container = host.create("web1", &format!("{map}{lines}"));
    give(&container.join("rootfs"));
    Some(host)
}

/// What an unpacked image would have: the owners as the map has them.
pub(crate) fn give(path: &Path) {
    std::os::unix::fs::lchown(path, Some(2_000_000), Some(2_000_000)).unwrap();
    if path.symlink_metadata().unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path());
        }
    }
}

#[test]
fn exec_enters_the_user_namespace_and_is_root_only_there() {
    let Some(host) = host(WHOLE, "") else { return };
    host.run("start web1 -- sleep 1000").succeeds();
    let link = "/proc/self/ns/user";
    let own = host.run(&format!("exec web1 -- readlink {link}")).succeeds();
    assert_eq!(own, host.run("exec web1 -- readlink /proc/1/ns/user").succeeds());
    assert_ne!(own.trim(), fs::read_link(link).unwrap().to_str().unwrap());
    host.script("web1", "test $(id -u) = 0 && echo mine > /root/file").succeeds();
    let file = host.containers().join("web1/rootfs/root/file").metadata().unwrap();
    assert_eq!((file.uid(), file.gid()), (2_000_000, 2_000_000), "a file of the host's root");
    let map = host.run("exec web1 -- cat /proc/self/uid_map").succeeds();
    assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", "2000000", "65536"]);
}

#[test]
fn groups_can_be_set_in_the_namespace() {
    let Some(host) = host(WHOLE, "") else { return };
    host.run("start web1 -- sleep 1000").succeeds();
    assert_eq!(host.run("exec web1 -- cat /proc/self/setgroups").succeeds(), "allow\n");
}

#[test]
fn a_split_map_shows_files_of_the_one_user_as_its_own() {
    let shared = tempfile::tempdir().unwrap();
    let mount = format!("lxc.mount.entry = {} srv none bind,create=dir 0 0\n", shared.path().display());
    // The directory is private, and the container shows it all the same: who starts the container may enter it.
    let Some(host) = host(SPLIT, &mount) else { return };
    fs::write(shared.path().join("socket"), "x").unwrap();
    chown(shared.path().join("socket"), Some(1000), Some(1000)).unwrap();
    host.run("start web1 -- sleep 1000").succeeds();
    let listing = host.run("exec web1 -- ls -ln /srv/socket").succeeds();
    assert_eq!(listing.split_whitespace().skip(2).take(2).collect::<Vec<_>>(), ["1000", "1000"], "{listing}");
}

#[test]
fn cgroups_are_the_containers_own_and_go_with_it() {
    let Some(host) = host(WHOLE, "lxc.cgroup.pids.max = 50\nlxc.cgroup2.pids.max = 50\n") else { return };
    host.run("start web1 -- sleep 1000").succeeds();
    let init = host.record("web1")["init"]["pid"].as_i64().unwrap();
    let cgroups = fs::read_to_string(format!("/proc/{init}/cgroup")).unwrap();
    assert!(cgroups.lines().all(|line| line.contains(":/rootcellar/")), "{cgroups}");
    // It may make cgroups as an init system does, and may not lift its limits.
    host.script("web1", "for d in /sys/fs/cgroup/*/ /sys/fs/cgroup; do mkdir $d/x.scope && exit 0; done; exit 1")
        .succeeds();
    host.script(
        "web1",
        "for f in /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max; do test -f $f && echo 99 > $f && exit 1; done; true",
    )
    .succeeds();
    host.run("stop -k web1").succeeds();
    assert!(!host.state("web1").exists() && host.cgroups().is_empty());
}

#[test]
fn a_file_descriptor_of_the_caller_leads_nowhere() {
    let Some(host) = host(WHOLE, "") else { return };
    host.run("start web1 -- sleep 1000").succeeds();
    let leaked = fs::File::open("/etc").unwrap();
    rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).unwrap();
    assert_eq!(host.run("exec web1 -- ls /proc/self/fd").succeeds(), "0\n1\n2\n3\n");
    // Our program is not the file on the host, and the copy cannot be written (CVE-2019-5736).
    host.script("web1", "for exe in /proc/[0-9]*/exe; do case $(readlink $exe) in *rootcellar*) exit 1; esac; done")
        .succeeds();
}
