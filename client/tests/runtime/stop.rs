//! A stopped container leaves no cgroups, mounts, processes or state.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Host, eventually};

/// Directories in the roots of the hierarchies that an init system would rule.
fn roots() -> BTreeSet<String> {
    let roots = ["/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"].map(fs::read_dir);
    let paths = roots.into_iter().flatten().flatten().flatten().map(|entry| entry.path());
    // Others may run containers meanwhile.
    let of_init = |path: &Path| ["scope", "slice", "mount"].iter().any(|kind| path.extension() == Some(kind.as_ref()));
    paths.filter(|path| path.is_dir() && of_init(path)).map(|path| path.display().to_string()).collect()
}

fn assert_nothing_is_left(host: &Host, name: &str) {
    assert!(!host.state(name).exists(), "{}", host.state(name).display());
    assert_eq!(host.cgroups(), Vec::<PathBuf>::new());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(host.containers().to_str().unwrap()), "{mounts}");
    let state = host.state(name).display().to_string();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let command = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        assert!(!command.contains(&state), "{command}");
    }
}

#[test]
fn an_init_that_halts_is_stopped() {
    let Some(host) = Host::or_skip() else { return };
    let before = roots();
    host.create("web1", "lxc.signal.halt = SIGUSR1\n");
    host.run("start web1").succeeds();
    eventually("init", || host.script("web1", "test $(cat /proc/1/comm) = init").code == Some(0));
    host.run("stop web1").succeeds();
    assert_eq!(host.listed("web1")["state"], "stopped");
    assert_nothing_is_left(&host, "web1");
    assert_eq!(roots(), before);
}

#[test]
fn a_program_that_handles_sigterm_gets_it() {
    let Some(host) = Host::or_skip() else { return };
    let container = host.create("web1", "");
    let script = "trap 'echo bye > /root/said; exit 0' TERM; echo up > /root/up; while true; do sleep 0.1; done";
    let started = host.command(["start", "web1", "--", "sh", "-c", script]).status().unwrap();
    assert!(started.success());
    eventually("the program", || container.join("rootfs/root/up").exists());
    host.run("stop web1").succeeds();
    assert_eq!(fs::read_to_string(container.join("rootfs/root/said")).unwrap(), "bye\n");
    assert_nothing_is_left(&host, "web1");
}

/// Signals above 31 are among those the engine does not know.
#[test]
fn the_signal_of_the_configuration_is_the_one_that_is_sent() {
    let Some(host) = Host::or_skip() else { return };
    let container = host.create("web1", "lxc.signal.halt = SIGRTMIN+3\n");
    let script = "trap 'echo bye > /root/said; exit 0' 37; echo up > /root/up; while true; do sleep 0.1; done";
    assert!(host.command(["start", "web1", "--", "sh", "-c", script]).status().unwrap().success());
    eventually("the program", || container.join("rootfs/root/up").exists());
    let stopped = host.run("stop web1");
    assert_eq!(stopped.stderr, "Stopped `web1`\n", "{stopped:?}");
    assert_eq!(fs::read_to_string(container.join("rootfs/root/said")).unwrap(), "bye\n");
    assert_nothing_is_left(&host, "web1");
}

#[test]
fn one_that_ignores_the_request_is_killed_in_time_with_a_word() {
    let Some(host) = Host::or_skip() else { return };
    let container = host.create("web1", "");
    let script = "trap 'true' TERM; echo up > /root/up; while true; do sleep 0.1; done";
    assert!(host.command(["start", "web1", "--", "sh", "-c", script]).status().unwrap().success());
    eventually("the program", || container.join("rootfs/root/up").exists());
    let stopped = host.run("stop -t 1 web1");
    assert!(stopped.stderr.contains("did not shut down within 1 s and was killed"), "{stopped:?}");
    stopped.succeeds();
    assert_nothing_is_left(&host, "web1");
}

#[test]
fn cgroups_that_the_guest_made_go_too() {
    let Some(host) = Host::or_skip() else { return };
    host.create("web1", "");
    host.run("start web1 -- sleep 1000").succeeds();
    let script = "for root in /sys/fs/cgroup /sys/fs/cgroup/*; do mkdir -p $root/a/b/c 2>/dev/null; done; \
                  ls -d /sys/fs/cgroup/a/b /sys/fs/cgroup/*/a/b 2>/dev/null | head -n 1";
    assert_ne!(host.script("web1", script).stdout, "", "the container could make no cgroup");
    host.run("stop -k web1").succeeds();
    assert_nothing_is_left(&host, "web1");
}

#[test]
fn commands_in_it_end_with_it() {
    let Some(host) = Host::or_skip() else { return };
    host.create("web1", "");
    host.run("start web1 -- sleep 1000").succeeds();
    let mut command = host.command(["exec", "web1", "--", "sleep", "1000"]).spawn().unwrap();
    eventually("the command", || host.script("web1", "ps | grep -c '[s]leep 1000'").stdout.trim() == "2");
    host.run("stop -k web1").succeeds();
    assert_eq!(command.wait().unwrap().code(), Some(137));
    assert_nothing_is_left(&host, "web1");
}

#[test]
fn a_failed_start_leaves_nothing() {
    let Some(host) = Host::or_skip() else { return };
    host.create("web1", "");
    host.run("start web1 -- /nonexistent").fails(2, "`web1` did not start");
    assert_nothing_is_left(&host, "web1");
    host.configure("web1", "lxc.cgroup.pids.max = many\nlxc.cgroup2.pids.max = many\n");
    host.run("start web1 -- sleep 9").fails(2, "pids.max");
    assert_nothing_is_left(&host, "web1");
}

#[test]
fn a_container_that_reboots_runs_again() {
    let Some(host) = Host::or_skip() else { return };
    host.create("web1", "");
    host.run("start web1").succeeds();
    let before = host.listed("web1")["pid"].clone();
    host.script("web1", "reboot -f");
    eventually("the reboot", || {
        let row = host.listed("web1");
        row["state"] == "running" && row["pid"] != before
    });
    assert_eq!(host.run("exec web1 -- hostname").succeeds(), "web1\n");
    host.run("stop -k web1").succeeds();
    assert_nothing_is_left(&host, "web1");
}

#[test]
fn destroy_deletes_the_directory_and_nothing_behind_its_links() {
    let Some(host) = Host::or_skip() else { return };
    let container = host.create("web1", "");
    let kept = tempfile::tempdir().unwrap();
    fs::write(kept.path().join("data"), "").unwrap();
    std::os::unix::fs::symlink(kept.path(), container.join("rootfs/srv")).unwrap();
    host.run("start web1 -- sleep 1000").succeeds();
    host.run("destroy web1").fails(1, "`web1` is already running");
    assert!(Path::new(&container).exists());
    host.run("destroy -f web1").succeeds();
    assert!(!Path::new(&container).exists() && kept.path().join("data").exists());
    assert_nothing_is_left(&host, "web1");
}
