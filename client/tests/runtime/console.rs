//! One sits at a container's console, or at a terminal of it, and leaves it running.

use std::process::Stdio;

use crate::support::{Host, eventually};
use crate::terminal::Terminal;

/// A container whose init talks on the console and, by another process, on each of two terminals.
fn talking(lines: &str) -> Option<Host> {
    let host = Host::or_skip()?;
    host.create("web1", &format!("lxc.tty.max = 2\n{lines}"));
    let script = "for n in 1 2; do sh -c \"while read line; do echo tty$n heard \\$line; done\" </dev/tty$n >/dev/tty$n & done; \
                  while read line; do echo console heard $line in $(stty size); done";
    let started = host.command(["start", "web1", "--", "sh", "-c", script]).output().unwrap();
    assert!(started.status.success(), "{started:?}");
    Some(host)
}

#[test]
fn the_console_is_shown_typed_at_and_left_with_the_container_running() {
    let Some(host) = talking("") else { return };
    let mut terminal = Terminal::open();
    terminal.resize(21, 61);
    let mut console = terminal.run(&mut host.command(["console", "web1", "-t", "0"]));
    terminal.shows("At the console of `web1`");
    terminal.types("hello\n");
    terminal.shows("console heard hello in 21 61");
    terminal.types("\x01\x01\x01q");
    assert_eq!(console.wait().unwrap().code(), Some(0));
    terminal.shows("Left `web1`");
    assert_eq!(host.listed("web1")["state"], "running");
    assert!(host.run("logs web1").succeeds().contains("console heard hello"), "the log has it, too");
}

#[test]
fn a_terminal_is_for_one_and_the_console_for_many() {
    let Some(host) = talking("lxc.tty.dir = lxc\n") else { return };
    let mut terminal = Terminal::open();
    let mut first = terminal.run(&mut host.command(["console", "web1"]));
    terminal.shows("At terminal 1 of `web1`");
    terminal.types("hello\n");
    terminal.shows("tty1 heard hello");
    host.run("console web1 -t 1").fails(1, "terminal 1 is in use");
    let mut second_terminal = Terminal::open();
    let mut second = second_terminal.run(&mut host.command(["console", "web1"]));
    second_terminal.shows("At terminal 2 of `web1`");
    host.run("console web1").fails(1, "every terminal is in use");
    host.run("console web1 -t 3").fails(1, "has 2 terminals");
    terminal.types("\x01q");
    assert_eq!(first.wait().unwrap().code(), Some(0));
    eventually("the free terminal", || host.run("console web1 -t 1").code == Some(0));
    second_terminal.types("\x01q");
    assert_eq!(second.wait().unwrap().code(), Some(0));
    // `lxc.tty.dir` is one more place for them.
    host.script("web1", "test -c /dev/tty2 && test -c /dev/lxc/tty2").succeeds();

    let mut terminals = [Terminal::open(), Terminal::open()];
    let mut consoles: Vec<_> =
        terminals.iter().map(|terminal| terminal.run(&mut host.command(["console", "web1", "-t", "0"]))).collect();
    let mut all_show = |wanted: &str| {
        for terminal in &mut terminals {
            terminal.shows(wanted);
        }
    };
    all_show("At the console");
    host.script("web1", "echo both >/proc/1/fd/1").succeeds();
    all_show("both");
    host.run("stop -k web1").succeeds();
    all_show("`web1` has ended");
    assert!(consoles.iter_mut().all(|console| console.wait().unwrap().code() == Some(0)));
}

#[test]
fn a_container_without_terminals_has_its_console() {
    let Some(host) = talking("lxc.tty.max = 0\n") else { return };
    let mut command = host.command(["console", "web1"]);
    let ended = command.stdin(Stdio::null()).output().unwrap();
    assert_eq!(ended.status.code(), Some(0), "the end of the input leaves: {ended:?}");
    assert!(String::from_utf8_lossy(&ended.stderr).contains("At the console"), "{ended:?}");
}

#[test]
fn another_key_can_leave() {
    let Some(host) = talking("") else { return };
    let mut terminal = Terminal::open();
    let mut console = terminal.run(&mut host.command(["console", "-e", "^b", "web1"]));
    terminal.shows("Ctrl+b q leaves");
    terminal.types("\x02q");
    assert_eq!(console.wait().unwrap().code(), Some(0));
    host.run("console -e 1 web1").fails(1, "expected a letter");
}

#[test]
fn the_console_of_what_does_not_run_or_is_not_watched_is_refused() {
    let Some(host) = Host::or_skip() else { return };
    host.create("web1", "");
    host.run("start web1 -- sleep 1000").succeeds();
    let monitor = host.record("web1")["monitor"]["pid"].as_i64().unwrap();
    let monitor = rustix::process::Pid::from_raw(i32::try_from(monitor).unwrap()).unwrap();
    rustix::process::kill_process(monitor, rustix::process::Signal::KILL).unwrap();
    eventually("the end of the monitor", || host.listed("web1")["watched"] == false);
    host.run("console web1").fails(1, "its monitor was killed");
    host.run("stop -k web1").succeeds();
    host.run("console web1").fails(1, "is not running");
}
