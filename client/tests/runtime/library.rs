//! The runtime serves programs other than `rootcellar`, this test for one.

use std::path::Path;
use std::time::Duration;

use crate::idmap::{WHOLE, give};
use crate::support::Host;
use rootcellar::runtime::{
    self, Container, End, Error, ExecOptions, Family, StartOptions, State, StopOptions, Stopped,
};

fn container(host: &Host) -> Container {
    let container = Container::open(&host.containers(), &"web1".parse().unwrap()).unwrap();
    container.with_executable(Path::new(env!("CARGO_BIN_EXE_rootcellar")))
}

/// What the kernel knows of the calling process that a container engine may not change.
fn own_state() -> (String, rustix::process::DumpableBehavior) {
    let adjustment = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    (adjustment, rustix::process::dumpable_behavior().unwrap())
}

#[test]
fn a_program_with_threads_runs_a_container_through_its_whole_life() {
    let Some(host) = Host::or_skip() else { return };
    host.create("web1", "");
    let container = container(&host);
    let before = own_state();
    assert_eq!(container.status().state, State::Stopped);

    let command = ["sleep", "1000"].map(str::to_owned).to_vec();
    let started = container.start(&StartOptions { command }).unwrap();
    assert_eq!(container.status().pid(), Some(started.pid));
    assert_eq!(container.exec(&ExecOptions::new(["sh", "-c", "exit 9"])).unwrap(), End::Exited(9));
    assert!(matches!(container.destroy(), Err(Error::Running { .. })));
    assert_eq!(runtime::list(&host.containers()).unwrap()[0].status().state, State::Running);

    let stopped = container.stop(&StopOptions { kill: true, ..StopOptions::default() }).unwrap();
    assert_eq!((stopped, container.status().state), (Stopped::Killed, State::Stopped));
    assert!(matches!(container.exec(&ExecOptions::new(["true"])), Err(Error::NotRunning { .. })));
    container.destroy().unwrap();
    assert_eq!(own_state(), before, "the engine changed the program that uses it");
    assert!(runtime::list(&host.containers()).unwrap().is_empty());
}

#[test]
fn addresses_are_waited_for_and_a_shutdown_is_no_kill() {
    let Some(host) = Host::or_skip() else { return };
    host.create("web1", "");
    let container = container(&host);
    let script = "trap '' TERM; sleep 0.3; busybox ip addr add 10.9.8.7/24 dev lo; trap 'exit 0' USR1; while true; do sleep 0.1; done";
    container.start(&StartOptions { command: ["sh", "-c", script].map(str::to_owned).to_vec() }).unwrap();
    assert_eq!(
        container.ips(Some(Family::V4), Duration::from_mins(1)),
        ["10.9.8.7".parse::<std::net::IpAddr>().unwrap()]
    );
    assert!(container.ips(Some(Family::V6), Duration::ZERO).is_empty());
    // It takes no signal that could mean it.
    assert!(!container.shutdown(Duration::from_secs(1)).unwrap());
    assert_eq!(container.status().state, State::Running);
    let status = container.exec(&ExecOptions::new(["kill", "-USR1", "1"])).unwrap();
    assert_eq!(status, End::Exited(0));
    crate::support::eventually("the end", || !container.is_running());
    assert!(matches!(container.shutdown(Duration::ZERO), Err(Error::NotRunning { .. })));
}

#[test]
fn a_function_runs_in_the_container_only_for_a_program_with_one_thread() {
    let Some(host) = Host::or_skip() else { return };
    host.create("web1", "");
    let container = container(&host);
    container.start(&StartOptions { command: ["sleep", "1000"].map(str::to_owned).to_vec() }).unwrap();
    // This one has more.
    assert!(matches!(container.attach(|| 0), Err(Error::Threads { .. })));
}

#[test]
fn a_program_with_one_thread_has_its_functions_in_the_container() {
    for map in ["", WHOLE] {
        let Some(host) = Host::or_skip() else { return };
        let rootfs = host.create("web1", &format!("{map}lxc.cap.drop = sys_admin\n")).join("rootfs");
        std::fs::write(rootfs.join("etc/hostname"), "web1\n").unwrap();
        if !map.is_empty() {
            give(&rootfs);
        }
        host.run("start web1 -- sleep 1000").succeeds();
        let example = Path::new(env!("CARGO_BIN_EXE_rootcellar")).with_file_name("examples/attach");
        let mut command = std::process::Command::new(example);
        command.env("ROOTCELLAR_CONTAINERS", host.containers()).arg("web1");
        let ran = crate::support::Ran::of(command.output().unwrap());
        let own = std::fs::read_to_string("/etc/hostname").unwrap();
        let said = ran.succeeds();
        assert_eq!(said, format!("Hostname: {}\nHostname: web1\n", own.trim()), "{said}");
    }
}
