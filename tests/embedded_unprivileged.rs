//! A plain user lives with containers without LXC: creates, boots, enters, stops, destroys.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use crate::support::user::TestUser;
use crate::support::{TestHost, TestServer, debian_build, need, program};
use crate::unprivileged::in_own_control_groups;

#[test]
fn a_plain_user_creates_boots_enters_stops_and_destroys_without_lxc() {
    need!(root, "lxc-start", "mmdebstrap", "newuidmap", "runuser");
    let server = TestServer::publishing(&[&debian_build()]);
    let user = TestUser::new("bare");
    let rootcellar = user.home().join("rootcellar");
    fs::copy(program::ours("rootcellar"), &rootcellar).unwrap();
    user.write("ca.pem", &fs::read_to_string(server.ca()).unwrap());
    let rootcellar = rootcellar.display();
    let (url, fingerprint, ca) = (&server.url, server.fingerprint(), user.home().join("ca.pem"));
    user.sh(&format!("{rootcellar} remote add default {url} --fingerprint {fingerprint} --ca {}", ca.display()))
        .succeeds();
    user.sh(&format!("{rootcellar} create u1 debian/bookworm")).succeeds();
    let container = user.home().join(".local/share/lxc/u1");
    let (first, count) = user.subordinate_ids();
    assert_eq!(fs::metadata(container.join("rootfs/etc")).unwrap().uid(), first);
    let config = fs::read_to_string(container.join("config")).unwrap();
    assert!(config.contains(&format!("lxc.idmap = u 0 {first} {count}\n")), "{config}");

    in_own_control_groups(&user, &format!("{rootcellar} start u1")).succeeds();
    let waited = user.sh(&format!(
        "i=0; until [ \"$({rootcellar} exec u1 -- systemctl is-system-running)\" = running ]; do i=$((i + 1)); \
         if [ $i -gt 120 ]; then {rootcellar} exec u1 -- systemctl --failed --no-pager; exit 1; fi; sleep 0.5; done"
    ));
    let switched = user.sh(&format!("{rootcellar} exec u1 -- su -s /bin/sh nobody -c 'id -un'"));
    let escaped = user.sh(&format!("{rootcellar} exec u1 -- cat /proc/self/uid_map"));
    let stopped = user.sh(&format!("{rootcellar} stop u1"));
    // LXC runs the same container.
    let theirs = in_own_control_groups(&user, "lxc-start -n u1 -- /bin/sleep 1000");
    let seen = user.sh("lxc-attach -n u1 -- sh -c 'id -u; cat /etc/hostname /proc/self/uid_map'");
    let ended = user.sh("lxc-stop -k -n u1");
    let destroyed = user.sh(&format!("{rootcellar} stop -k u1; {rootcellar} destroy u1"));
    waited.succeeds();
    assert_eq!(switched.succeeds(), "nobody\n", "setgroups(2) is needed for it");
    assert_eq!(escaped.succeeds().split_whitespace().nth(1), Some(first.to_string().as_str()));
    assert!(stopped.stderr().contains("Stopped `u1`"), "{stopped:?}");
    theirs.succeeds();
    let seen = seen.succeeds();
    let seen: Vec<&str> = seen.split_whitespace().collect();
    assert_eq!(seen, ["0", "u1", "0", first.to_string().as_str(), count.to_string().as_str()]);
    ended.succeeds();
    destroyed.succeeds();
    assert!(!container.exists());
}

#[test]
fn root_boots_a_container_with_mapped_ids() {
    need!(root, "mmdebstrap");
    let server = TestServer::publishing(&[&debian_build()]);
    let host = TestHost::trusting(&server);
    let map = "lxc.idmap = u 0 3000000 65536\nlxc.idmap = g 0 3000000 65536\nlxc.net.0.type = empty\n";
    fs::write(host.path("mapped.conf"), map).unwrap();
    host.rootcellar()
        .args(["create", "m1", "debian/bookworm", "--config"])
        .arg(host.path("mapped.conf"))
        .run()
        .succeeds();
    assert_eq!(fs::metadata(host.containers().join("m1/rootfs/etc")).unwrap().uid(), 3_000_000);
    host.run("start m1").succeeds();
    let mut state = String::new();
    for _ in 0..180 {
        state = host.run("exec m1 -- systemctl is-system-running").stdout();
        if state.trim() == "running" {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    let stopped = host.run("stop m1");
    let destroyed = host.run("destroy --force m1");
    assert_eq!(state.trim(), "running");
    stopped.succeeds();
    destroyed.succeeds();
}
