//! What a container does is waited for, looked at, and done again.

use std::fs;

use crate::support::{Host, eventually};

fn running(lines: &str) -> Option<Host> {
    let host = Host::or_skip()?;
    let container = host.create("web1", &format!("lxc.init.cmd = /bin/sleep 1000\n{lines}"));
    let etc = container.join("rootfs/etc");
    fs::write(etc.join("passwd"), "root:x:0:0::/root:/bin/sh\nada:x:1000:1001::/home/ada:/bin/sh\n").unwrap();
    fs::write(etc.join("group"), "audio:x:29:ada\n").unwrap();
    host.run("start web1").succeeds();
    Some(host)
}

#[test]
fn a_restart_is_another_init_and_starts_what_is_stopped() {
    let Some(host) = running("lxc.signal.halt = SIGKILL\n") else { return };
    let before = host.listed("web1")["pid"].clone();
    host.run("restart web1").succeeds();
    let after = host.listed("web1");
    assert!(after["state"] == "running" && after["pid"] != before, "{after}");
    host.run("stop -k web1").succeeds();
    host.run("restart web1").succeeds();
    assert_eq!(host.listed("web1")["state"], "running");
}

#[test]
fn waiting_ends_with_the_state_or_with_the_time() {
    let Some(host) = running("") else { return };
    host.run("wait web1 -s RUNNING -t 0").succeeds();
    assert_eq!(host.run("wait web1 -s STOPPED -t 0").code, Some(1));
    let mut waiting = host.command(["wait", "web1", "-s", "STOPPED|ABORTED", "-t", "60"]).spawn().unwrap();
    host.run("stop -k web1").succeeds();
    assert_eq!(waiting.wait().unwrap().code(), Some(0));
    host.run("wait web1 -s ASLEEP").fails(1, "no state");
}

#[test]
fn a_command_runs_as_a_user_of_the_container_without_capabilities() {
    let Some(host) = running("") else { return };
    assert_eq!(host.run("exec --user ada web1 -- id -u").succeeds(), "1000\n");
    assert_eq!(host.run("exec --user 1000 web1 -- id -G").succeeds(), "1001 29\n");
    assert!(host.run("exec -u ada web1 -- env").succeeds().contains("HOME=/home/ada\n"));
    let status = host.run("exec -u ada web1 -- cat /proc/self/status").succeeds();
    for set in ["CapPrm", "CapEff", "CapInh", "CapAmb"] {
        assert!(status.contains(&format!("{set}:\t0000000000000000")), "{set} in {status}");
    }
    host.run("exec -u eve web1 -- true").fails(126, "the container has no user `eve`");
}

#[test]
fn a_cleared_environment_has_nothing_of_the_configuration() {
    let Some(host) = running("lxc.environment = COLOUR=green\n") else { return };
    let seen = host.run("exec --clear-env -e SIZE=xl web1 -- env").succeeds();
    assert!(!seen.contains("COLOUR") && seen.contains("SIZE=xl") && seen.contains("container=lxc"), "{seen}");
}

#[test]
fn what_the_console_said_is_shown_without_its_control_characters() {
    let Some(host) = Host::or_skip() else { return };
    host.create("web1", "");
    let mut command = host.command(["start", "web1", "--", "sh", "-c", "printf 'hel\\033[2Jlo\\n'; sleep 1000"]);
    assert!(command.status().unwrap().success());
    eventually("the console's words", || host.run("logs web1").succeeds().contains("lo"));
    assert!(!host.run("logs web1").succeeds().contains('\u{1b}'));
}

#[test]
fn a_fancy_listing_has_the_columns_of_lxc_ls() {
    let Some(host) = running("lxc.start.auto = 1\n") else { return };
    let listing = host.run("ls --fancy").succeeds();
    let header: Vec<&str> = listing.lines().next().unwrap().split_whitespace().take(5).collect();
    assert_eq!(header, ["NAME", "STATE", "IPV4", "IPV6", "AUTOSTART"]);
    host.script("web1", "busybox ip addr add 10.9.8.7/24 dev lo").succeeds();
    assert_eq!(host.listed("web1")["ipv4"][0], "10.9.8.7");
    assert!(host.run("ls --fancy").succeeds().contains("10.9.8.7"));
}
