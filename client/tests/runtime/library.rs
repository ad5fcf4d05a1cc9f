//! The runtime serves programs other than `rootcellar`, this test for one.

use std::path::Path;

use crate::support::Host;
use rootcellar::runtime::{self, Container, End, Error, ExecOptions, StartOptions, State, StopOptions, Stopped};

#[test]
fn a_program_with_threads_runs_a_container_through_its_whole_life() {
    let Some(host) = Host::or_skip() else { return };
    host.create("web1", "");
    let container = Container::open(&host.containers(), &"web1".parse().unwrap()).unwrap();
    let container = container.with_executable(Path::new(env!("CARGO_BIN_EXE_rootcellar")));
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
    assert!(runtime::list(&host.containers()).unwrap().is_empty());
}
