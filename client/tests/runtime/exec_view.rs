//! A command in a container sees the container, and nothing of the host.

use std::fs;
use std::process::Stdio;

use rustix::process::{Pid, Signal};

use crate::support::Host;
use crate::terminal::Terminal;

fn running() -> Option<Host> {
    let host = Host::or_skip()?;
    host.create("web1", "lxc.environment = COLOUR=green\n");
    host.run("start web1 -- sleep 1000").succeeds();
    Some(host)
}

#[test]
fn it_sees_the_files_and_the_name_of_its_container() {
    let Some(host) = running() else { return };
    assert_eq!(host.run("exec web1 -- cat /etc/os-release").succeeds(), "ID=busybox-web1\n");
    assert_eq!(host.run("exec web1 -- hostname").succeeds(), "web1\n");
    assert_eq!(host.run("exec web1 -- pwd").succeeds(), "/\n");
    assert_eq!(host.run("exec --cwd /etc web1 -- pwd").succeeds(), "/etc\n");
}

#[test]
fn it_shares_every_namespace_with_init_and_none_with_the_host() {
    let Some(host) = running() else { return };
    for kind in ["mnt", "pid", "uts", "ipc", "net", "cgroup"] {
        let link = format!("/proc/self/ns/{kind}");
        let own = host.run(&format!("exec web1 -- readlink {link}")).succeeds();
        assert_eq!(own, host.run(&format!("exec web1 -- readlink /proc/1/ns/{kind}")).succeeds(), "{kind}");
        assert_ne!(own.trim(), fs::read_link(link).unwrap().to_str().unwrap(), "{kind}");
    }
    let cgroups = host.run("exec web1 -- cat /proc/self/cgroup").succeeds();
    assert!(cgroups.lines().all(|line| line.ends_with(":/")), "{cgroups}");
}

#[test]
fn nothing_of_ours_is_open_in_it() {
    let Some(host) = running() else { return };
    let leaked = fs::File::open("/etc").unwrap();
    rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).unwrap();
    // The listing itself opens number 3.
    assert_eq!(host.run("exec web1 -- ls /proc/self/fd").succeeds(), "0\n1\n2\n3\n");
    let script = "for fd in /proc/1/fd/*; do readlink $fd; done";
    let open = host.script("web1", script).succeeds();
    assert!(open.lines().all(|target| target.starts_with("/dev/pts/") || target == "/dev/console"), "{open}");
}

#[test]
fn its_environment_is_the_containers() {
    let Some(host) = running() else { return };
    let mut command = host.command(["exec", "-e", "SIZE=xl", "web1", "--", "env"]);
    let output = command.env("SECRET", "of the host").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for wanted in ["container=lxc", "COLOUR=green", "SIZE=xl", "HOME=/root"] {
        assert!(text.lines().any(|line| line == wanted), "no {wanted} in {text}");
    }
    assert!(!text.contains("SECRET"));
}

#[test]
fn a_working_directory_that_is_not_there_is_refused() {
    let Some(host) = running() else { return };
    host.run("exec --cwd /nowhere web1 -- true").fails(126, "cannot prepare the process");
    host.run("exec --cwd /proc/self/fd/9 web1 -- true").fails(126, "cannot prepare the process");
}

#[test]
fn a_terminal_becomes_a_terminal_of_the_container() {
    let Some(host) = running() else { return };
    let mut terminal = Terminal::open();
    terminal.resize(33, 99);
    let mut command = host.command(["exec", "web1", "--", "sh", "-c", "tty; stty size; echo done; exit 5"]);
    let mut child = terminal.run(&mut command);
    terminal.shows("done");
    assert_eq!(child.wait().unwrap().code(), Some(5));
    assert!(terminal.said.contains("/dev/pts/") && terminal.said.contains("33 99"), "{}", terminal.said);
}

#[test]
fn it_learns_of_a_new_window_size_and_gets_what_is_typed() {
    let Some(host) = running() else { return };
    let mut terminal = Terminal::open();
    terminal.resize(33, 99);
    let script = "trap 'stty size' WINCH; echo ready; while true; do read line && echo got $line; done";
    let mut child = terminal.run(&mut host.command(["exec", "web1", "--", "sh", "-c", script]));
    terminal.shows("ready");
    terminal.resize(44, 55);
    rustix::process::kill_process(Pid::from_child(&child), Signal::WINCH).unwrap();
    terminal.types("again\n");
    terminal.shows("got again");
    terminal.shows("44 55");
    // Ctrl+C is for the command, not for us.
    terminal.types("\x03");
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn a_redirected_output_beside_a_terminal_stays_free_of_terminal_habits() {
    let Some(host) = running() else { return };
    let terminal = Terminal::open();
    let mut command = host.command(["exec", "web1", "--", "sh", "-c", "test -t 0 && ! test -t 1 && echo hello"]);
    let output = command.stdin(terminal.stream()).stderr(Stdio::null()).output().unwrap();
    assert_eq!(output.stdout, b"hello\n");
}
