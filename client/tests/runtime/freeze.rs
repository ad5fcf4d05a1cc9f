//! A frozen container holds still, says so, and can be thawed, stopped and destroyed.

use std::fs;

use crate::support::{Host, eventually};

fn counting() -> Option<Host> {
    let host = Host::or_skip()?;
    host.create("web1", "lxc.signal.halt = SIGKILL\n");
    let script = "while true; do echo x >> /root/count; sleep 0.02; done";
    assert!(host.command(["start", "web1", "--", "sh", "-c", script]).status().unwrap().success());
    Some(host)
}

fn count(host: &Host) -> u64 {
    fs::metadata(host.containers().join("web1/rootfs/root/count")).map_or(0, |data| data.len())
}

#[test]
fn a_frozen_container_holds_still_until_it_is_thawed() {
    let Some(host) = counting() else { return };
    eventually("some counting", || count(&host) > 4);
    host.run("freeze web1").succeeds();
    let before = count(&host);
    assert_eq!(host.listed("web1")["state"], "frozen");
    host.run("wait web1 -s FROZEN -t 0").succeeds();
    host.run("freeze web1").succeeds();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(count(&host), before, "it went on counting");
    let refused = host.run("exec web1 -- true");
    assert!(refused.stderr.contains("hint: `rootcellar unfreeze web1`"), "{refused:?}");
    refused.fails(1, "is frozen");
    host.run("unfreeze web1").succeeds();
    host.run("unfreeze web1").succeeds();
    assert_eq!(host.listed("web1")["state"], "running");
    eventually("more counting", || count(&host) > before);
}

#[test]
fn a_frozen_container_can_be_stopped_and_killed() {
    let Some(host) = counting() else { return };
    host.run("freeze web1").succeeds();
    host.run("stop web1").succeeds();
    assert!(!host.state("web1").exists() && host.cgroups().is_empty());
    host.run("freeze web1").fails(1, "is not running");
    host.run("unfreeze web1").fails(1, "is not running");
    host.run("start web1 -- sleep 1000").succeeds();
    host.run("freeze web1").succeeds();
    host.run("destroy -f web1").succeeds();
    assert!(host.cgroups().is_empty());
}

#[test]
fn root_of_the_container_cannot_thaw_it() {
    let Some(host) = Host::or_skip() else { return };
    host.create("web1", "");
    // It has the time to try: the freezer is above what it sees.
    let script = "while true; do for f in /sys/fs/cgroup/freezer.state /sys/fs/cgroup/freezer/freezer.state; do \
                  echo THAWED > $f; done; echo 0 > /sys/fs/cgroup/cgroup.freeze; done 2>/dev/null";
    assert!(host.command(["start", "web1", "--", "sh", "-c", script]).status().unwrap().success());
    for _ in 0..5 {
        host.run("freeze web1").succeeds();
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert_eq!(host.listed("web1")["state"], "frozen");
        host.run("unfreeze web1").succeeds();
    }
}

#[test]
fn a_frozen_container_whose_monitor_was_killed_can_be_cleaned() {
    let Some(host) = counting() else { return };
    host.run("freeze web1").succeeds();
    let monitor = host.record("web1")["monitor"]["pid"].as_i64().unwrap();
    let monitor = rustix::process::Pid::from_raw(i32::try_from(monitor).unwrap()).unwrap();
    rustix::process::kill_process(monitor, rustix::process::Signal::KILL).unwrap();
    eventually("the end of the monitor", || host.listed("web1")["watched"] == false);
    assert_eq!(host.listed("web1")["state"], "frozen");
    host.run("stop -k web1").succeeds();
    assert!(!host.state("web1").exists() && host.cgroups().is_empty());
}
