//! A snapshot keeps a state, and the container goes back to it whole.

use std::fs;

use crate::peer::Lxc;
use crate::support::Host;

fn host() -> Option<Host> {
    let host = Host::or_skip()?;
    let base = host.create("base", "");
    fs::write(base.join("rootfs/etc/state"), "first\n").unwrap();
    Some(host)
}

fn goes_back(host: &Host, name: &str, state: &str) {
    let state = host.containers().join(name).join(state);
    fs::create_dir_all(state.parent().unwrap()).unwrap();
    fs::write(&state, "first\n").unwrap();
    assert!(host.run(&format!("snapshot {name} --comment before")).stderr.contains("`snap0`"));
    fs::write(&state, "second\n").unwrap();
    fs::write(state.with_file_name("more"), "").unwrap();
    host.run(&format!("snapshot {name}")).succeeds();
    let listing = host.run(&format!("--format json snapshot {name} --list")).succeeds();
    let listing: serde_json::Value = serde_json::from_str(&listing).unwrap();
    assert_eq!((&listing[0]["name"], &listing[0]["comment"]), (&"snap0".into(), &"before".into()));
    assert_eq!(listing[1]["name"], "snap1");
    assert_eq!(listing[0]["created"].as_str().unwrap().len(), "2026:11:25 03:53:07".len());

    host.run(&format!("restore {name} snap7")).fails(1, "has no snapshot `snap7`");
    host.run(&format!("restore {name} snap0")).succeeds();
    assert_eq!(fs::read_to_string(&state).unwrap(), "first\n");
    assert!(!state.with_file_name("more").exists(), "what came later is still there");
    host.run(&format!("restore {name} snap1 later")).succeeds();
    for (container, wanted) in [(name, "first\n"), ("later", "second\n")] {
        host.run(&format!("start {container} -- sleep 1000")).succeeds();
        assert_eq!(host.run(&format!("exec {container} -- cat /etc/state")).succeeds(), wanted);
        host.run(&format!("snapshot {container}")).fails(1, "is already running");
        host.run(&format!("restore {container} snap0")).fails(1, "is already running");
        host.run(&format!("stop -k {container}")).succeeds();
    }
    host.run(&format!("destroy {name}")).fails(1, "has snapshots: `snap0`, `snap1`");
    host.run(&format!("snapshot {name} --delete snap0")).succeeds();
    host.run(&format!("destroy --snapshots {name}")).succeeds();
    host.run("destroy later").succeeds();
}

#[test]
fn a_container_goes_back_to_its_snapshot() {
    let Some(host) = host() else { return };
    goes_back(&host, "base", "rootfs/etc/state");
}

#[test]
fn a_clone_goes_back_to_its_snapshot_and_leaves_no_entry_with_its_base() {
    let Some(host) = host() else { return };
    host.run("copy --snapshot base web").succeeds();
    goes_back(&host, "web", "overlay/delta/etc/state");
    assert!(!host.containers().join("base/lxc_snapshots").exists());
    host.run("destroy base").succeeds();
}

#[test]
fn a_base_of_clones_does_not_change_under_them() {
    let Some(host) = host() else { return };
    host.run("snapshot base").succeeds();
    host.run("copy --snapshot base web").succeeds();
    host.run("restore base snap0").fails(1, "container `base` has clones: `web`");
}

#[test]
fn lxc_and_we_go_back_to_each_others_snapshots() {
    let Some(host) = host() else { return };
    let containers = host.containers();
    let Some(lxc) = Lxc::or_skip(&containers) else { return };
    lxc.adapt("base");
    host.run("snapshot base").succeeds();
    lxc.run("snapshot", "base", &[]).succeeds();
    let listed = lxc.run("snapshot", "base", &["-L"]).succeeds();
    assert!(listed.contains("snap0") && listed.contains("snap1"), "{listed}");
    let state = containers.join("base/rootfs/etc/state");
    for (snapshot, change) in [("snap1", "ours"), ("snap0", "theirs")] {
        fs::write(&state, change).unwrap();
        if change == "ours" {
            host.run(&format!("restore base {snapshot}")).succeeds();
        } else {
            lxc.run("snapshot", "base", &["-r", snapshot]).succeeds();
        }
        assert_eq!(fs::read_to_string(&state).unwrap(), "first\n", "{snapshot}");
    }
    host.run("destroy --snapshots base").succeeds();
}

#[test]
fn a_restoration_that_was_killed_is_carried_through_by_the_next_start() {
    let Some(host) = host() else { return };
    let base = host.containers().join("base");
    // What a process killed in the middle leaves: the decision is made, half of the parts are in place.
    fs::create_dir_all(base.join("restored")).unwrap();
    fs::rename(base.join("rootfs"), base.join("restored/rootfs")).unwrap();
    fs::create_dir_all(base.join("restored/old-rootfs/etc")).unwrap();
    fs::copy(base.join("config"), base.join("restored/config")).unwrap();
    host.run("start base -- sleep 1000").succeeds();
    assert_eq!(host.run("exec base -- cat /etc/state").succeeds(), "first\n");
    assert!(!base.join("restored").exists());
}
