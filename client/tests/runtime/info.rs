//! `info` tells of a container when there is one, and of an image otherwise.

use crate::support::Host;

#[test]
fn a_container_is_shown_with_its_pid_addresses_and_what_it_uses() {
    let Some(host) = Host::or_skip() else { return };
    host.create("web1", "lxc.start.auto = 1\n");
    let stopped = host.run("info web1").succeeds();
    assert!(stopped.contains("STOPPED") && !stopped.contains("PID"), "{stopped}");
    host.run("start web1 -- sleep 1000").succeeds();
    host.script(
        "web1",
        "busybox ip addr add 10.9.8.6/24 dev lo; busybox dd if=/dev/zero of=/dev/shm/x bs=1M count=8 2>/dev/null",
    )
    .succeeds();
    let facts: serde_json::Value = serde_json::from_str(&host.run("--format json info web1").succeeds()).unwrap();
    assert_eq!((&facts["state"], &facts["autostart"]), (&"running".into(), &true.into()));
    assert_eq!(facts["pid"], host.listed("web1")["pid"]);
    assert_eq!(facts["ipv4"][0], "10.9.8.6");
    assert_eq!(facts["processes"], 1, "{facts}");
    assert!(facts["memory_bytes"].as_u64().unwrap() >= 8 << 20, "{facts}");
    assert!(facts["cpu_microseconds"].as_u64().unwrap() > 0, "{facts}");
    let text = host.run("info web1").succeeds();
    for wanted in ["RUNNING", "PID", "10.9.8.6", "Memory", "CPU time", "Processes"] {
        assert!(text.contains(wanted), "no {wanted} in {text}");
    }
}

#[test]
fn a_name_that_is_both_can_be_forced() {
    let Some(host) = Host::or_skip() else { return };
    host.create("debian", "");
    assert!(host.run("info debian").succeeds().contains("STOPPED"));
    host.run("info --container alpine").fails(1, "there is no container `alpine`");
    // No remote is configured: that it is asked for one shows that an image is meant.
    let image = host.run("info --image debian --server https://127.0.0.1:9 --trust-tls");
    assert!(image.code != Some(0) && !image.stderr.contains("no container"), "{image:?}");
    host.run("info --container a/b").fails(1, "there is no container `a/b`");
}
