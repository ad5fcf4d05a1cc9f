//! A name finds a container or nothing.

use std::fs;

use crate::support::Host;

#[test]
fn an_unknown_container_is_refused_with_a_hint() {
    let Some(host) = Host::or_skip() else { return };
    fs::create_dir(host.containers()).unwrap();
    for command in ["start", "stop", "destroy", "exec"] {
        let ran = host.run(&format!("{command} web1"));
        assert!(ran.stderr.contains("hint: `rootcellar ls`"), "{ran:?}");
        ran.fails(1, "there is no container `web1`");
    }
}

#[test]
fn a_path_is_no_name() {
    let Some(host) = Host::or_skip() else { return };
    let container = host.create("web1", "");
    for name in ["../web1", "./web1", "web1/", "web1/rootfs", "..", "", "/etc", "-x"] {
        for command in ["start", "stop", "destroy", "exec"] {
            let output = host.command([command, name]).output().unwrap();
            assert_eq!(output.status.code(), Some(1), "{command} {name}: {output:?}");
        }
    }
    assert!(container.join("rootfs/bin/busybox").exists());
}

#[test]
fn a_link_to_a_container_is_no_container() {
    let Some(host) = Host::or_skip() else { return };
    let container = host.create("web1", "");
    std::os::unix::fs::symlink("web1", host.containers().join("web2")).unwrap();
    host.run("destroy web2").fails(1, "there is no container `web2`");
    assert!(container.exists());
    fs::remove_file(host.containers().join("web2")).unwrap();
}

#[test]
fn every_container_is_listed_with_its_state() {
    let Some(host) = Host::or_skip() else { return };
    host.create("web2", "");
    host.create("web1", "");
    host.run("start web2 -- sleep 1000").succeeds();
    let listing = host.run("ls").succeeds();
    let rows: Vec<Vec<&str>> = listing.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows, [["NAME", "STATE"], ["web1", "STOPPED"], ["web2", "RUNNING"]]);
}
