//! Our template where liblxc runs it in a user namespace for root, and as the root of a container itself.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use crate::stock_template::lxc_create;
use crate::support::container::LxcContainer;
use crate::support::{Program, TestHost, TestServer, debian_build, need, program};

const MAP: &str = "lxc.idmap = u 0 3100000 65536\nlxc.idmap = g 0 3100000 65536\n";
const FIRST: u32 = 3_100_000;

/// `lxc-create -t download` by root with mapped ids, with our program mounted over the stock template. liblxc runs it
/// by lxc-usernsexec, so it and what it reads must be reachable for the mapped root.
fn create(host: &TestHost, server: &TestServer, name: &str) {
    for directory in [host.path(""), host.containers(), server.ca().parent().unwrap().to_owned()] {
        fs::create_dir_all(&directory).unwrap();
    }
    // The root of the container passes through on its way to its root file system.
    fs::set_permissions(host.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let script = "mount --bind \"$0\" /usr/share/lxc/templates/lxc-download && exec \"$@\"";
    let ours = Program::new("unshare").args(["-m", "sh", "-c", script]).arg(program::ours("rootcellar"));
    let command = lxc_create(ours.arg("lxc-create"), host, server, name, "bookworm");
    fs::write(host.path("default.conf"), format!("{MAP}lxc.net.0.type = empty\n")).unwrap();
    command.run().succeeds();
}

/// `lxc-start` on a machine where root has these ids: newuidmap asks that of root, too. The files that say so are seen
/// by this program alone.
fn start(host: &TestHost, name: &str) {
    fs::write(host.path("ids"), format!("root:{FIRST}:65536\n")).unwrap();
    let script = "mount --bind \"$0\" /etc/subuid && mount --bind \"$0\" /etc/subgid && exec lxc-start \"$@\"";
    let command = Program::new("unshare").args(["-m", "sh", "-c", script]).arg(host.path("ids"));
    command.arg("-P").arg(host.containers()).args(["-n", name]).run().succeeds();
}

#[test]
fn a_container_of_root_with_mapped_ids_is_filled_in_its_namespace_and_boots() {
    need!(root, "lxc-create", "mmdebstrap", "newuidmap", "unshare");
    let server = TestServer::publishing(&[&debian_build()]);
    let host = TestHost::trusting(&server);
    let container = LxcContainer::new(&host.containers(), "mapped");
    create(&host, &server, "mapped");

    let directory = host.containers().join("mapped");
    let about = |path: &str| fs::symlink_metadata(directory.join(path)).unwrap();
    assert_eq!((about("rootfs").uid(), about("rootfs/etc/hostname").uid()), (FIRST, FIRST));
    let config = fs::read_to_string(directory.join("config")).unwrap();
    assert!(config.contains("userns.conf"), "the edition for user namespaces applies: {config}");
    assert_eq!((about("config").uid(), about("config").mode() & 0o777), (0, 0o640));
    // The system's cache, and its files are the system's: the next privileged create can use and change them.
    let blobs = files_below(&host.path("cache"));
    assert!(!blobs.is_empty() && blobs.iter().all(|path| fs::metadata(path).unwrap().uid() == 0), "{blobs:?}");

    start(&host, "mapped");
    container.gets_running();
    assert_eq!(container.attach(&["stat", "-c", "%u", "/etc/hostname"]).succeeds().trim(), "0");

    as_the_root_of_that_container_it_fills_another_one(&host, &container, &directory.join("rootfs"));
    container.stops_cleanly();
}

/// In the container every process has the map of its first one: this is nested use. Its own root is no host's, so the
/// edition for user namespaces applies, with the cache of the system.
fn as_the_root_of_that_container_it_fills_another_one(host: &TestHost, outer: &LxcContainer, rootfs: &Path) {
    let inside = |path: &str| rootfs.join(path.trim_start_matches('/'));
    let copy = |from: &Path, to: &str| {
        fs::create_dir_all(inside(to).parent().unwrap()).unwrap();
        Program::new("cp").arg("-rL").arg(from).arg(inside(to)).run().succeeds();
        Program::new("chown").args(["-R", &format!("{FIRST}:{FIRST}")]).arg(inside(to)).run().succeeds();
    };
    copy(&program::ours("rootcellar"), "/usr/local/bin/lxc-download");
    copy(&host.path("config"), "/etc/rootcellar");
    // There is no network in it, and no authority to trust: what the host has fetched is there.
    let config = inside("/etc/rootcellar/client.toml");
    let text = fs::read_to_string(&config).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("ca =")).collect();
    fs::write(&config, lines.join("\n")).unwrap();
    copy(&host.path("cache"), "/var/cache/lxc/rootcellar");
    outer
        .attach(&[
            "sh",
            "-c",
            "set -e; d=/var/lib/lxc/inner; mkdir -p $d/rootfs; echo \"lxc.rootfs.path = dir:$d/rootfs\" >$d/config; \
             lxc-download --path=$d --name=inner --rootfs=$d/rootfs -d debian -r bookworm -a amd64 --force-cache",
        ])
        .succeeds();
    let config = fs::read_to_string(inside("/var/lib/lxc/inner/config")).unwrap();
    assert!(config.contains("userns.conf") && config.contains("lxc.uts.name = inner"), "{config}");
    let hostname = inside("/var/lib/lxc/inner/rootfs/etc/hostname");
    assert_eq!(fs::read_to_string(&hostname).unwrap(), "inner\n");
    assert_eq!(fs::metadata(&hostname).unwrap().uid(), FIRST);
    assert!(!inside("/root/.cache/lxc").exists(), "the cache of the system is used");
}

fn files_below(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found
}
