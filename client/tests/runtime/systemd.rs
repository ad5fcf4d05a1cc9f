//! A whole init system boots to running and shuts down cleanly. Needs a root file system with systemd, in the directory
//! that `ROOTCELLAR_TEST_ROOTFS` names; it is copied.

use std::fs;
use std::process::Command;

use crate::support::{Host, eventually, skip};

fn host() -> Option<Host> {
    let host = Host::or_skip()?;
    let Some(rootfs) = std::env::var_os("ROOTCELLAR_TEST_ROOTFS") else {
        return skip("ROOTCELLAR_TEST_ROOTFS names no root file system with systemd");
    };
    let container = host.containers().join("web1");
    fs::create_dir_all(&container).unwrap();
    let copied = Command::new("cp").arg("-a").arg(rootfs).arg(container.join("rootfs")).status().unwrap();
    assert!(copied.success());
    fs::write(container.join("rootfs/etc/hostname"), "web1\n").unwrap();
    host.configure("web1", "");
    Some(host)
}

fn boot(host: &Host) {
    eventually("a running system", || {
        let state = host.run("exec web1 -- systemctl is-system-running").stdout;
        assert_ne!(state.trim(), "degraded", "{}", host.run("exec web1 -- systemctl --failed").stdout);
        state.trim() == "running"
    });
}

#[test]
fn systemd_boots_to_running_reboots_and_halts() {
    let Some(host) = host() else { return };
    host.run("start web1").succeeds();
    boot(&host);
    let failed = host.run("exec web1 -- systemctl --failed --no-legend").succeeds();
    assert_eq!(failed, "");
    let cgroups = host.run("exec web1 -- cat /proc/1/cgroup").succeeds();
    assert!(cgroups.lines().all(|line| !line.contains("rootcellar")), "{cgroups}");

    let before = host.listed("web1")["pid"].clone();
    host.run("exec web1 -- systemctl reboot");
    eventually("the reboot", || {
        let row = host.listed("web1");
        row["state"] == "running" && row["pid"] != before
    });
    boot(&host);

    let stopped = host.run("stop web1");
    assert_eq!(stopped.stderr, "Stopped `web1`\n", "{stopped:?}");
    assert!(!host.state("web1").exists() && host.cgroups().is_empty());
}
