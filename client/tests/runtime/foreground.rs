//! `start --foreground` is the container's console and ends as its init ends.

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Host, eventually};
use crate::terminal::Terminal;

fn host() -> Option<Host> {
    let host = Host::or_skip()?;
    host.create("web1", "");
    Some(host)
}

#[test]
fn its_exit_status_is_that_of_init() {
    let Some(host) = host() else { return };
    for (script, code) in [("exit 0", 0), ("exit 7", 7)] {
        let ended = host.command(["start", "-F", "web1", "--", "sh", "-c", script]).output().unwrap();
        assert_eq!(ended.status.code(), Some(code), "{ended:?}");
        assert!(!host.state("web1").exists() && host.cgroups().is_empty());
    }
    host.run("start -F web1 -- /nonexistent").fails(2, "`web1` did not start");
}

#[test]
fn an_init_that_is_killed_is_told_by_128_and_the_signal() {
    let Some(host) = host() else { return };
    let mut command = host.command(["start", "-F", "web1", "--", "sleep", "1000"]).spawn().unwrap();
    eventually("the container", || host.listed("web1")["state"] == "running");
    let init = host.listed("web1")["pid"].as_i64().unwrap();
    kill_process(Pid::from_raw(i32::try_from(init).unwrap()).unwrap(), Signal::KILL).unwrap();
    assert_eq!(command.wait().unwrap().code(), Some(137));
}

#[test]
fn a_terminal_is_the_console_with_its_size_and_its_keys() {
    let Some(host) = host() else { return };
    let mut terminal = Terminal::open();
    terminal.resize(31, 71);
    let script = "stty size; trap 'echo interrupted; exit 4' INT; trap 'stty size' WINCH; echo ready; while true; do sleep 0.1; done";
    let mut command = terminal.run(&mut host.command(["start", "-F", "web1", "--", "sh", "-c", script]));
    terminal.shows("ready");
    terminal.shows("31 71");
    terminal.resize(32, 72);
    kill_process(Pid::from_child(&command), Signal::WINCH).unwrap();
    terminal.shows("32 72");
    terminal.types("\x03");
    assert_eq!(command.wait().unwrap().code(), Some(4));
    terminal.shows("interrupted");
}

#[test]
fn a_signal_to_it_halts_the_container_and_a_second_one_kills_it() {
    let Some(host) = host() else { return };
    let script = "trap 'echo halting; exit 3' TERM; echo ready; while true; do sleep 0.1; done";
    let mut terminal = Terminal::open();
    let mut command = terminal.run(&mut host.command(["start", "-F", "web1", "--", "sh", "-c", script]));
    terminal.shows("ready");
    kill_process(Pid::from_child(&command), Signal::TERM).unwrap();
    assert_eq!(command.wait().unwrap().code(), Some(3));

    let deaf = "trap 'echo no' TERM; echo ready; while true; do sleep 0.1; done";
    let mut terminal = Terminal::open();
    let mut command = terminal.run(&mut host.command(["start", "-F", "web1", "--", "sh", "-c", deaf]));
    terminal.shows("ready");
    kill_process(Pid::from_child(&command), Signal::INT).unwrap();
    terminal.shows("no");
    kill_process(Pid::from_child(&command), Signal::HUP).unwrap();
    assert_eq!(command.wait().unwrap().code(), Some(137));
    assert!(!host.state("web1").exists() && host.cgroups().is_empty());
}
