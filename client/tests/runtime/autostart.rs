//! What starts with the machine starts in its order, is listed, and is stopped.

use crate::support::Host;

fn host() -> Option<Host> {
    let host = Host::or_skip()?;
    let common = "lxc.init.cmd = /bin/sleep 1000\nlxc.signal.halt = SIGKILL\n";
    for (name, lines) in [
        ("late", "lxc.start.auto = 1\nlxc.start.order = 1\n"),
        ("early", "lxc.start.auto = 1\nlxc.start.order = 5\nlxc.start.delay = 1\n"),
        ("manual", ""),
        ("db", "lxc.start.auto = 1\nlxc.group = data onboot\n"),
    ] {
        host.create(name, &format!("{common}{lines}"));
    }
    Some(host)
}

fn listed(host: &Host, words: &str) -> Vec<String> {
    let text = host.run(format!("--format json autostart --list {words}").trim_end()).succeeds();
    let listing: serde_json::Value = serde_json::from_str(&text).unwrap();
    listing.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn they_start_by_order_with_their_delay_and_stop_the_other_way_round() {
    let Some(host) = host() else { return };
    let begin = std::time::Instant::now();
    let started = host.run("autostart");
    assert!(begin.elapsed().as_secs_f64() >= 1.0, "`early` has a delay");
    let places = ["early", "late"].map(|name| started.stderr.find(&format!("Started `{name}`")));
    assert!(places[0].is_some() && places[0] < places[1], "{started:?}");
    started.succeeds();
    for (name, state) in [("early", "running"), ("late", "running"), ("manual", "stopped"), ("db", "stopped")] {
        assert_eq!(host.listed(name)["state"], state, "{name}");
    }
    assert_eq!(host.run("autostart").succeeds(), "", "what runs is left alone");
    let stopped = host.run("autostart --stop");
    assert!(stopped.stderr.find("`late`") < stopped.stderr.find("`early`"), "{stopped:?}");
    assert_eq!(host.listed("early")["state"], "stopped");
}

#[test]
fn groups_choose() {
    let Some(host) = host() else { return };
    assert_eq!(listed(&host, ""), ["early", "late"]);
    assert_eq!(listed(&host, "-g onboot,"), ["db", "early", "late"]);
    assert_eq!(listed(&host, "-g data"), ["db"]);
    assert_eq!(listed(&host, "-a"), ["early", "late", "db"]);
    assert_eq!(listed(&host, "-a -A"), ["early", "late", "db", "manual"]);
    host.run("autostart -g data").succeeds();
    assert_eq!(host.listed("db")["state"], "running");
    host.run("autostart -g data --kill").succeeds();
    assert_eq!(host.listed("db")["state"], "stopped");
}

#[test]
fn one_that_fails_keeps_none_of_the_others_from_starting() {
    let Some(host) = host() else { return };
    host.create("broken", "lxc.start.auto = 1\nlxc.start.order = 9\nlxc.init.cmd = /nonexistent\n");
    host.create("unreadable", "lxc.include = /nowhere/at/all\n");
    let ran = host.run("autostart");
    assert!(ran.stderr.contains("`broken` did not start") && ran.stderr.contains("/nowhere/at/all"), "{ran:?}");
    assert_eq!(ran.code, Some(2));
    assert_eq!(host.listed("late")["state"], "running");
}

#[test]
fn an_included_file_counts() {
    let Some(host) = Host::or_skip() else { return };
    let container = host.create("web1", "");
    std::fs::write(container.join("more.conf"), "lxc.start.auto = 1\n").unwrap();
    host.configure("web1", &format!("lxc.include = {}\n", container.join("more.conf").display()));
    assert_eq!(host.listed("web1")["autostart"], true);
    assert_eq!(listed(&host, ""), ["web1"]);
}
