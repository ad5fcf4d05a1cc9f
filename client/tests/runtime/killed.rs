//! Whatever of ours is killed, the next command says rightly what is, and can clean up.

use std::fs;

use crate::support::{Host, eventually};
use rustix::process::{Pid, Signal, kill_process};

fn kill(process: &serde_json::Value) {
    let pid = process["pid"].as_i64().and_then(|pid| Pid::from_raw(i32::try_from(pid).unwrap())).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
}

#[test]
fn a_container_whose_monitor_was_killed_runs_on_and_can_be_stopped() {
    let Some(host) = Host::or_skip() else { return };
    host.create("web1", "");
    host.run("start web1 -- sleep 1000").succeeds();
    kill(&host.record("web1")["monitor"]);
    eventually("the end of the monitor", || host.listed("web1")["watched"] == false);
    assert_eq!(host.listed("web1")["state"], "running");
    assert!(host.run("ls --fancy").succeeds().contains("its monitor was killed"));
    assert_eq!(host.run("exec web1 -- hostname").succeeds(), "web1\n");
    host.run("start web1").fails(1, "already running");
    host.run("stop web1").succeeds();
    assert!(!host.state("web1").exists() && host.cgroups().is_empty());
}

#[test]
fn a_container_whose_monitor_and_init_were_killed_is_aborted_and_starts_again() {
    let Some(host) = Host::or_skip() else { return };
    host.create("web1", "");
    host.run("start web1 -- sleep 1000").succeeds();
    let record = host.record("web1");
    kill(&record["monitor"]);
    kill(&record["init"]);
    eventually("their end", || host.listed("web1")["state"] == "aborted");
    assert!(!host.cgroups().is_empty(), "nobody was there to remove them");
    host.run("exec web1 -- true").fails(1, "is not running");
    host.run("start web1 -- sleep 1000").succeeds();
    assert_eq!(host.listed("web1")["state"], "running");
    host.run("stop web1").succeeds();
    assert!(!host.state("web1").exists() && host.cgroups().is_empty());
}

#[test]
fn what_an_aborted_container_left_behind_goes_with_stop_and_with_destroy() {
    let Some(host) = Host::or_skip() else { return };
    for (name, command) in [("web1", "stop web1"), ("web2", "destroy web2")] {
        host.create(name, "");
        host.run(&format!("start {name} -- sleep 1000")).succeeds();
        let record = host.record(name);
        kill(&record["monitor"]);
        kill(&record["init"]);
        eventually("their end", || host.listed(name)["state"] == "aborted");
        host.run(command).succeeds();
        assert!(!host.state(name).exists() && host.cgroups().is_empty());
    }
}

#[test]
fn an_init_that_ends_badly_leaves_its_last_words() {
    let Some(host) = Host::or_skip() else { return };
    host.create("web1", "");
    let started = host.command(["start", "web1", "--", "sh", "-c", "echo out of cheese; exit 3"]).status().unwrap();
    assert!(started.success());
    eventually("the end", || host.listed("web1")["state"] == "aborted");
    assert_eq!(host.listed("web1")["end"]["exited"], 3);
    assert!(host.cgroups().is_empty());
    let console = fs::read_to_string(host.state("web1").join("console.log")).unwrap();
    assert_eq!(console.trim(), "out of cheese");
}

#[test]
fn an_init_that_is_killed_ends_the_container() {
    let Some(host) = Host::or_skip() else { return };
    host.create("web1", "");
    host.run("start web1 -- sleep 1000").succeeds();
    kill(&host.record("web1")["init"]);
    eventually("the end", || host.listed("web1")["state"] == "aborted");
    assert_eq!(host.listed("web1")["end"]["killed"], 9);
    host.run("stop web1").succeeds();
    host.run("stop web1").fails(1, "is not running");
}

#[test]
fn the_state_of_another_boot_counts_for_nothing() {
    let Some(host) = Host::or_skip() else { return };
    host.create("web1", "");
    let state = host.state("web1");
    fs::create_dir_all(&state).unwrap();
    let here = serde_json::json!({"pid": 1, "start_ticks": 1});
    let record = serde_json::json!({
        "boot_id": "an-earlier-one", "monitor": here, "init": here, "is_started": true, "end": null,
    });
    fs::write(state.join("state.json"), record.to_string()).unwrap();
    assert_eq!(host.listed("web1")["state"], "aborted");
    host.run("start web1 -- sleep 1000").succeeds();
    assert_eq!(host.listed("web1")["state"], "running");
}

#[test]
fn a_monitor_that_is_asked_to_end_stops_its_container() {
    let Some(host) = Host::or_skip() else { return };
    host.create("web1", "");
    host.run("start web1 -- sleep 1000").succeeds();
    let monitor = host.record("web1")["monitor"]["pid"].as_i64().unwrap();
    kill_process(Pid::from_raw(i32::try_from(monitor).unwrap()).unwrap(), Signal::TERM).unwrap();
    eventually("the end", || host.listed("web1")["state"] == "stopped");
    assert!(!host.state("web1").exists() && host.cgroups().is_empty());
}

#[test]
fn of_many_starts_at_once_one_starts() {
    let Some(host) = Host::or_skip() else { return };
    host.create("web1", "");
    let starts: Vec<_> =
        (0..6).map(|_| host.command(["start", "web1", "--", "sleep", "1000"]).output()).map(Result::unwrap).collect();
    assert_eq!(starts.iter().filter(|start| start.status.success()).count(), 1);
    let children: Vec<_> = {
        host.run("stop -k web1").succeeds();
        (0..6).map(|_| host.command(["start", "web1", "--", "sleep", "1000"]).spawn().unwrap()).collect()
    };
    let codes: Vec<_> = children.into_iter().map(|mut child| child.wait().unwrap().code()).collect();
    assert_eq!(codes.iter().filter(|code| **code == Some(0)).count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == Some(1)).count(), 5, "{codes:?}");
}
