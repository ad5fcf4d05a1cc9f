//! Init systems of all kinds boot and shut down cleanly. Their root file systems are of Debian packages and made once,
//! by mmdebstrap; they are kept in the target directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::idmap::WHOLE;
use crate::support::{Host, eventually, skip};

/// An archive of Debian's essential packages and these.
pub(crate) fn tree(name: &str, packages: &str) -> Option<PathBuf> {
    if std::env::var_os("ROOTCELLAR_TEST_NETWORK").is_none() {
        return skip("ROOTCELLAR_TEST_NETWORK is not set: packages would be downloaded");
    }
    if Command::new("mmdebstrap").arg("--version").output().is_err() {
        return skip("there is no mmdebstrap: apt install mmdebstrap");
    }
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("inits");
    fs::create_dir_all(&directory).unwrap();
    let lock = fs::File::create(directory.join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    let (kept, new) = (directory.join(format!("{name}.tar")), directory.join(format!("{name}.new.tar")));
    if !kept.exists() {
        let include = format!("--include={packages}");
        let mut command = Command::new("mmdebstrap");
        let made = command.args(["--variant=essential", &include, "bookworm"]).arg(&new).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        fs::rename(new, &kept).unwrap();
    }
    Some(kept)
}

/// Unpacks it where it belongs to the host's root.
pub(crate) fn unpack(tree: &Path, rootfs: &Path) {
    fs::create_dir_all(rootfs).unwrap();
    let mut tar = Command::new("tar");
    assert!(tar.arg("-C").arg(rootfs).args(["--numeric-owner", "-xf"]).arg(tree).status().unwrap().success());
    // mmdebstrap copies that of the host.
    fs::write(rootfs.join("etc/hostname"), "web1\n").unwrap();
    // As images for LXC have it: the signal that asks for the end is that of a power failure.
    let inittab = rootfs.join("etc/inittab");
    if let Ok(text) = fs::read_to_string(&inittab) {
        let lines = text.lines().map(|line| match line.split_once(":powerwait:") {
            Some((id, _)) => format!("{id}:powerwait:/sbin/init 0\n"),
            // Nobody logs in here.
            None if line.contains("getty") => String::new(),
            None => format!("{line}\n"),
        });
        fs::write(inittab, lines.collect::<String>()).unwrap();
    }
}

/// Boots it without and with mapped ids, and stops it; `is_up` is a script that succeeds when everything is up.
fn boots_and_stops(tree: &Path, maps: &[&str], is_up: &str) {
    let Some(host) = Host::or_skip() else { return };
    let rootfs = host.containers().join("web1/rootfs");
    unpack(tree, &rootfs);
    for map in maps {
        host.configure("web1", map);
        host.run("start web1").succeeds();
        eventually("a system that is up", || host.script("web1", is_up).code == Some(0));
        assert_eq!(host.run("exec web1 -- hostname").succeeds(), "web1\n");
        let stopped = host.run("stop web1");
        assert_eq!(stopped.stderr, "Stopped `web1`\n", "{}", host.run("logs web1").stdout);
        assert!(!host.state("web1").exists() && host.cgroups().is_empty());
    }
}

#[test]
fn sysvinit_reaches_its_runlevel_and_halts() {
    if Host::or_skip().is_none() {
        return;
    }
    let Some(tree) = tree("sysvinit", "sysvinit-core,sysv-rc,initscripts") else { return };
    boots_and_stops(&tree, &["", WHOLE], "test \"$(runlevel)\" = 'N 2' && test -e /run/utmp");
}

#[test]
fn openrc_reaches_its_runlevel_and_halts() {
    if Host::or_skip().is_none() {
        return;
    }
    let Some(tree) = tree("openrc", "openrc,sysvinit-core") else { return };
    boots_and_stops(&tree, &[""], "test \"$(rc-status --runlevel)\" = default && test -e /run/openrc/softlevel");
}

#[test]
fn busybox_runs_its_inittab_and_halts() {
    let Some(host) = Host::or_skip() else { return };
    let rootfs = host.create("web1", "").join("rootfs");
    let inittab = "::sysinit:/bin/sh -c 'echo up > /run/up'\n::respawn:/bin/sleep 1000\n\
                   ::shutdown:/bin/sh -c 'echo down > /root/down'\n";
    fs::write(rootfs.join("etc/inittab"), inittab).unwrap();
    for map in ["", WHOLE] {
        host.configure("web1", map);
        host.run("start web1").succeeds();
        eventually("a system that is up", || host.script("web1", "cat /run/up").stdout == "up\n");
        let stopped = host.run("stop web1");
        assert_eq!(stopped.stderr, "Stopped `web1`\n", "{stopped:?}");
        assert_eq!(fs::read_to_string(rootfs.join("root/down")).unwrap(), "down\n");
        fs::remove_file(rootfs.join("root/down")).unwrap();
        assert!(!host.state("web1").exists() && host.cgroups().is_empty());
    }
}
