//! The configuration is followed, and what is not done is said.

use std::fs;

use crate::support::Host;

fn host(lines: &str) -> Option<Host> {
    let host = Host::or_skip()?;
    host.create("web1", lines);
    Some(host)
}

#[test]
fn keys_that_are_not_done_are_named_and_the_container_starts() {
    let keys = "lxc.selinux.context = x\nlxc.prlimit.nofile = 9\nlxc.ephemeral = 1\nlxc.net.1.type = phys\n";
    let Some(host) = host(keys) else { return };
    let ran = host.run("start web1 -- sleep 1000");
    for said in [
        "`lxc.selinux.context`: it is not done",
        "`lxc.prlimit.nofile`: it is not done",
        "`lxc.ephemeral`: the container stays when it has ended",
        "`lxc.net.1.type`: a network of type `phys` is not done",
    ] {
        assert!(ran.stderr.contains(said), "no {said} in {ran:?}");
    }
    ran.succeeds();
}

#[test]
fn a_plain_configuration_says_nothing_but_that_it_started() {
    let Some(host) = host("lxc.apparmor.profile = generated\nlxc.tty.max = 4\nlxc.start.auto = 1\n") else { return };
    let ran = host.run("start web1 -- sleep 1000");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
    assert_eq!(host.listed("web1")["autostart"], true);
}

#[test]
fn a_map_without_root_is_refused() {
    let Some(host) = host("lxc.idmap = u 1 100000 65536\nlxc.idmap = g 0 100000 65536\n") else { return };
    host.run("start web1").fails(1, "`lxc.idmap` maps no user 0");
    assert_eq!(host.listed("web1")["state"], "stopped");
}

#[test]
fn mounts_are_made_inside_and_only_there() {
    let Some(host) = host("") else { return };
    let shared = tempfile::tempdir().unwrap();
    fs::write(shared.path().join("note"), "from the host").unwrap();
    let shared = shared.path().display();
    host.configure(
        "web1",
        &format!(
            "lxc.mount.entry = {shared} srv/shared none bind,ro,create=dir 0 0\n\
             lxc.mount.entry = tmpfs tmp tmpfs size=1m,mode=1777 0 0\n\
             lxc.mount.entry = /nowhere/at/all srv none bind,optional 0 0\n\
             lxc.mount.entry = {shared}/note etc/note none bind,create=file 0 0\n"
        ),
    );
    host.run("start web1 -- sleep 1000").succeeds();
    assert_eq!(host.run("exec web1 -- cat /srv/shared/note /etc/note").succeeds(), "from the hostfrom the host");
    host.script("web1", "! echo x > /srv/shared/y && echo x > /tmp/y").succeeds();
    assert!(!host.containers().join("web1/rootfs/tmp/y").exists());
}

#[test]
fn an_fstab_counts_and_what_is_optional_and_cannot_be_mounted_is_left_out() {
    for map in ["", crate::idmap::WHOLE] {
        let Some(host) = Host::or_skip() else { return };
        let container = host.create("web1", "");
        if !map.is_empty() {
            crate::idmap::give(&container.join("rootfs"));
        }
        fs::write(container.join("fstab"), "# data\n\ntmpfs srv/data tmpfs size=1m,create=dir 0 0\n").unwrap();
        let entries = "lxc.mount.entry = nothing srv/x nosuchfs optional,create=dir 0 0\n\
                       lxc.mount.entry = /nowhere/at/all srv/y none bind,optional,create=dir 0 0\n";
        host.configure("web1", &format!("{map}lxc.mount.fstab = {}/fstab\n{entries}", container.display()));
        host.run("start web1 -- sleep 1000").succeeds();
        let mounts = host.run("exec web1 -- cat /proc/self/mounts").succeeds();
        assert!(mounts.contains("tmpfs /srv/data tmpfs") && !mounts.contains("/srv/x"), "{mounts}");
        host.run("stop -k web1").succeeds();
        host.configure("web1", &format!("{map}lxc.mount.entry = nothing srv nosuchfs create=dir 0 0\n"));
        host.run("start web1 -- sleep 1000").fails(2, "`web1` did not start");
    }
}

#[test]
fn a_mount_without_source_is_refused_by_its_path() {
    let Some(host) = host("lxc.mount.entry = /nowhere/at/all tmp none bind 0 0\n") else { return };
    host.run("start web1").fails(1, "it mounts `/nowhere/at/all`, which is missing");
}

#[test]
fn init_name_environment_and_personality_come_from_the_configuration() {
    let lines = "lxc.init.cmd = /bin/sleep 1000\nlxc.uts.name = other\nlxc.environment = A=b c\nlxc.arch = linux32\n";
    let Some(host) = host(lines) else { return };
    host.run("start web1").succeeds();
    let seen =
        host.script("web1", "cat /proc/1/cmdline | head -c 10; hostname; echo $A; cat /proc/1/environ").succeeds();
    assert!(seen.starts_with("/bin/sleep") && seen.contains("other\nb c\n"), "{seen:?}");
    assert!(seen.contains("container=lxc") && seen.contains("A=b c"), "{seen:?}");
}

#[test]
fn an_empty_network_has_a_loopback_that_is_up() {
    let Some(host) = host("") else { return };
    host.run("start web1 -- sleep 1000").succeeds();
    let devices = host.run("exec web1 -- cat /proc/net/dev").succeeds();
    assert_eq!(devices.lines().filter(|line| line.contains(':')).count(), 1, "{devices}");
    let flags = host.run("exec web1 -- cat /sys/class/net/lo/flags").succeeds();
    assert_eq!(u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16).unwrap() & 1, 1, "{flags}");
}

#[test]
fn the_network_of_the_host_is_shared_when_asked_for() {
    let Some(host) = host("lxc.net.0.type = none\n") else { return };
    host.run("start web1 -- sleep 1000").succeeds();
    let own = host.run("exec web1 -- readlink /proc/self/ns/net").succeeds();
    assert_eq!(own.trim(), fs::read_link("/proc/self/ns/net").unwrap().to_str().unwrap());
    host.script("web1", "! echo 1 > /proc/sys/net/ipv4/ip_forward").succeeds();
}
