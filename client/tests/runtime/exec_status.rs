//! The exit status of a command in a container is the exit status of `exec`, and signals reach the command.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use crate::support::{Host, Ran};

fn running() -> Option<Host> {
    let host = Host::or_skip()?;
    host.create("web1", "");
    host.run("start web1 -- sleep 1000").succeeds();
    Some(host)
}

#[test]
fn every_status_passes_through() {
    let Some(host) = running() else { return };
    for status in [0, 1, 2, 7, 42, 125, 200, 255] {
        assert_eq!(host.script("web1", &format!("exit {status}")).code, Some(status));
    }
}

#[test]
fn a_signal_is_128_and_its_number() {
    let Some(host) = running() else { return };
    assert_eq!(host.script("web1", "kill -9 $$").code, Some(137));
    assert_eq!(host.script("web1", "kill -TERM $$").code, Some(143));
}

#[test]
fn a_command_that_is_not_there_is_127_and_one_that_cannot_run_is_126() {
    let Some(host) = running() else { return };
    host.run("exec web1 -- nonesuch --flag").fails(127, "the container has no command `nonesuch`");
    host.run("exec web1 -- /etc/os-release").fails(126, "cannot execute `/etc/os-release`");
    host.run("exec web1 -- /etc").fails(126, "cannot execute `/etc`");
}

#[test]
fn a_signal_to_exec_reaches_the_command() {
    let Some(host) = running() else { return };
    let script = "trap 'echo caught; exit 33' TERM; echo ready; while true; do sleep 0.1; done";
    let mut child = host.command(["exec", "web1", "--", "sh", "-c", script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "caught");
    assert_eq!(child.wait().unwrap().code(), Some(33));
}

#[test]
fn standard_input_and_both_outputs_are_passed_on_byte_for_byte() {
    let Some(host) = running() else { return };
    let mut command = host.command(["exec", "web1", "--", "sh", "-c", "cat; echo aside >&2"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let mut stdin = child.stdin.take().unwrap();
    let sent = bytes.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&sent).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert_eq!(output.stdout, bytes);
    assert_eq!(Ran::of(output).stderr, "aside\n");
}

#[test]
fn a_foreground_start_ends_as_its_command_ends() {
    let Some(host) = Host::or_skip() else { return };
    host.create("web1", "");
    let ran = Ran::of(host.command(["start", "-F", "web1", "--", "sh", "-c", "hostname; exit 7"]).output().unwrap());
    assert_eq!((ran.code, ran.stdout.trim()), (Some(7), "web1"));
    assert_eq!(host.listed("web1")["state"], "stopped");
}
