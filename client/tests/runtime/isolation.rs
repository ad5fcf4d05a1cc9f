//! Root in a container cannot reach past it by the known ways.

use std::fs;

use crate::support::{Host, eventually};

fn running(lines: &str) -> Option<Host> {
    let host = Host::or_skip()?;
    host.create("web1", lines);
    host.run("start web1 -- sleep 1000").succeeds();
    Some(host)
}

#[test]
fn devices_outside_the_list_cannot_be_opened_even_by_a_node_of_its_own() {
    let Some(host) = running("") else { return };
    // The kernel log: harmless to read, and on no list.
    let script = "mknod /tmp/kmsg c 1 11 && ! head -c 1 /tmp/kmsg && head -c 1 /dev/zero > /dev/null";
    host.script("web1", script).succeeds();
}

#[test]
fn a_device_the_configuration_allows_can_be_opened() {
    let rules = ["deny = a", "allow = c *:* m", "allow = c 1:* rwm", "allow = c 5:2 rwm", "allow = c 136:* rwm"];
    let lines = rules.map(|rule| format!("lxc.cgroup.devices.{rule}\nlxc.cgroup2.devices.{rule}\n")).concat();
    let Some(host) = running(&lines) else { return };
    host.script("web1", "mknod /tmp/kmsg c 1 11 && exec 3< /tmp/kmsg").succeeds();
}

#[test]
fn limits_hold_and_cannot_be_raised_from_inside() {
    let Some(host) = running("lxc.cgroup.pids.max = 20\nlxc.cgroup2.pids.max = 20\n") else { return };
    let raise = "for file in /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max; do echo 1000 > $file; done 2>/dev/null; \
                 echo a > /sys/fs/cgroup/devices/devices.allow; \
                 for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25; do sleep 2 & done; \
                 mknod /tmp/kmsg c 1 11; head -c 1 /tmp/kmsg && echo opened; true";
    let ran = host.script("web1", raise);
    assert!(ran.stderr.contains("fork") || ran.code != Some(0), "25 processes under a limit of 20: {ran:?}");
    assert!(!ran.stdout.contains("opened"), "{ran:?}");
}

#[test]
fn the_roots_of_the_hosts_cgroups_are_out_of_sight() {
    let Some(host) = running("") else { return };
    let script = "mkdir /tmp/c; \
                  (mount -t cgroup -o none,name=systemd x /tmp/c || mount -t cgroup2 x /tmp/c) && ls /tmp/c; \
                  cat /proc/1/cgroup; ls /sys/fs/cgroup /sys/fs/cgroup/*";
    let seen = host.script("web1", script).stdout;
    assert!(seen.contains(":/"), "{seen}");
    assert!(!seen.contains("rootcellar") && !seen.contains("release_agent"), "{seen}");
}

#[test]
fn dropped_capabilities_are_dropped_for_init_and_for_commands() {
    let Some(host) = running("lxc.cap.drop = net_raw chown\n") else { return };
    let status = host.script("web1", "cat /proc/1/status /proc/self/status").succeeds();
    let sets: Vec<u64> = status
        .lines()
        .filter(|line| ["CapPrm", "CapEff", "CapBnd"].iter().any(|name| line.starts_with(name)))
        .map(|line| u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap())
        .collect();
    assert_eq!(sets.len(), 6);
    // chown, net_raw, sys_module, sys_rawio, sys_time, mac_override, mac_admin
    let dropped = [0, 13, 16, 17, 25, 32, 33];
    assert!(sets.iter().all(|set| dropped.iter().all(|number| set & (1 << number) == 0)), "{sets:x?}");
    assert!(sets.iter().all(|set| set & (1 << 21) != 0), "sys_admin is kept: {sets:x?}");
    assert!(host.script("web1", "cp /bin/busybox /tmp/x && chown 1 /tmp/x").code != Some(0));
}

#[test]
fn system_calls_are_filtered_for_init_and_for_commands() {
    let Some(host) = running("") else { return };
    let status = host.script("web1", "cat /proc/1/status /proc/self/status").succeeds();
    assert_eq!(status.lines().filter(|line| line.starts_with("Seccomp:\t2")).count(), 2, "{status}");
}

#[test]
fn what_enters_a_container_runs_from_a_program_that_even_root_cannot_write() {
    let Some(host) = running("") else { return };
    // `exec` becomes the process that enters, so the child is that process.
    let mut child = host.command(["exec", "web1", "--", "sleep", "1000"]).spawn().unwrap();
    eventually("the command", || host.script("web1", "ps | grep -c '[s]leep 1000'").stdout.trim() == "2");
    // What root of a container would keep, to write to it when nobody executes it any more (CVE-2019-5736).
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
    let kept = rustix::fs::open(format!("/proc/{}/exe", child.id()), flags, rustix::fs::Mode::empty()).unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&kept));
    let written = fs::File::options().write(true).open(path).and_then(|mut file| std::io::Write::write(&mut file, b""));
    let refusal = written.unwrap_err().raw_os_error();
    assert!(matches!(refusal, Some(libc::EROFS | libc::EPERM)), "{refusal:?}");
}

#[test]
fn what_tells_of_the_host_is_masked_and_what_changes_it_is_read_only() {
    let Some(host) = running("") else { return };
    assert_eq!(host.script("web1", "cat /proc/keys /proc/timer_list 2>/dev/null").stdout, "");
    host.script("web1", "! echo 1 > /proc/sys/vm/drop_caches").succeeds();
    host.script("web1", "! mkdir /sys/fs/cgroup/../x").succeeds();
    host.script("web1", "echo 1 > /proc/sys/net/ipv4/ip_forward").succeeds();
    assert_ne!(host.script("web1", "cat /proc/sys/net/ipv4/ip_forward").stdout, "0\n");
}

#[test]
fn mounts_in_a_container_stay_in_it() {
    let Some(host) = running("") else { return };
    host.script("web1", "mkdir -p /tmp/m && mount -t tmpfs secret /tmp/m").succeeds();
    assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains("secret"));
}
