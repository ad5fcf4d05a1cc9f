//! On hosts with cgroups of either version or both, a container is in cgroups of its own in each hierarchy: nowhere in
//! the host's root, where its init would rule the host's.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::idmap::{WHOLE, give};
use crate::support::{Host, Ran, skip};

/// Runs `rootcellar …` where `/sys/fs/cgroup` looks as this script leaves it, in a mount namespace of its own.
fn run(host: &Host, view: &str, words: &[&str]) -> Ran {
    let script = format!("{view}\nexec \"$@\"");
    let program = host.command(words.iter().copied());
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-ec", &script, "sh"]);
    Ran::of(command.arg(program.get_program()).args(program.get_args()).output().unwrap())
}

/// Runs a container in the view, without and with mapped ids, and returns the host's view of where its init is, one line
/// for each hierarchy.
fn live(host: &Host, view: &str) -> Vec<String> {
    ["", WHOLE].into_iter().flat_map(|map| live_with(host, view, map)).collect()
}

fn live_with(host: &Host, view: &str, map: &str) -> Vec<String> {
    let rootfs = host.containers().join("web1/rootfs");
    if rootfs.exists() {
        host.configure("web1", map);
        give(&rootfs);
    } else {
        host.create("web1", map);
    }
    run(host, view, &["start", "web1", "--", "sleep", "1000"]).succeeds();
    let init = host.record("web1")["init"]["pid"].as_i64().unwrap();
    let cgroups = fs::read_to_string(format!("/proc/{init}/cgroup")).unwrap();
    // The kernel log: harmless to read, and on no list.
    let script = if map.is_empty() {
        "mknod /tmp/kmsg c 1 11 && ! head -c 1 /tmp/kmsg && head -c 1 /dev/zero > /dev/null"
    } else {
        "! mknod /tmp/other c 1 11 && head -c 1 /dev/zero > /dev/null"
    };
    run(host, view, &["exec", "web1", "--", "sh", "-c", script]).succeeds();
    let own = run(host, view, &["exec", "web1", "--", "cat", "/proc/self/cgroup"]).succeeds();
    assert!(own.lines().all(|line| line.ends_with(":/")), "{own}");
    run(host, view, &["stop", "web1"]).succeeds();
    assert!(!host.state("web1").exists() && host.cgroups().is_empty());
    cgroups.lines().map(str::to_owned).collect()
}

#[test]
fn on_this_host_as_it_is() {
    let Some(host) = Host::or_skip() else { return };
    let cgroups = live(&host, "");
    assert!(cgroups.iter().all(|line| line.contains(":/rootcellar/")), "{cgroups:?}");
}

#[test]
fn on_a_host_with_only_the_second_version() {
    let Some(host) = Host::or_skip() else { return };
    let cgroups = live(&host, "umount -l /sys/fs/cgroup\nmount -t cgroup2 cgroup2 /sys/fs/cgroup");
    assert!(cgroups.iter().any(|line| line.starts_with("0::/rootcellar/")), "{cgroups:?}");
}

#[test]
fn on_a_host_with_only_the_first_version_where_the_second_waits_in_the_kernel() {
    let Some(host) = Host::or_skip() else { return };
    if !Path::new("/sys/fs/cgroup/unified/cgroup.procs").exists() {
        return skip("this host is not hybrid").unwrap_or_default();
    }
    let cgroups = live(&host, "umount -l /sys/fs/cgroup/unified");
    assert!(cgroups.iter().all(|line| line.contains(":/rootcellar/")), "{cgroups:?}");
}
