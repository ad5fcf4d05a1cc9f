//! Ways out of containers that others have had, tried on plain containers and on such with mapped ids.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use formats::digest::Sha256;

use crate::idmap::{WHOLE, give};
use crate::support::{Host, eventually};

/// Runs `attack` in a plain and in a mapped container of its own host. `prepare` gets the root file system.
fn each(lines: &str, prepare: impl Fn(&Path), attack: impl Fn(&Host, &str)) {
    for map in ["", WHOLE] {
        let Some(host) = Host::or_skip() else { return };
        let rootfs = host.create("web1", &format!("{map}{lines}")).join("rootfs");
        prepare(&rootfs);
        if !map.is_empty() {
            give(&rootfs);
        }
        attack(&host, map);
    }
}

fn executable(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn program() -> Sha256 {
    Sha256::of(&fs::read(env!("CARGO_BIN_EXE_rootcellar")).unwrap())
}

/// CVE-2019-5736: root of the container lets `exec` execute our program again, by a script whose interpreter is
/// `/proc/self/exe`, and writes to whatever program it finds that is none of its own.
#[test]
fn our_program_cannot_be_overwritten_through_proc() {
    let prepare = |rootfs: &Path| {
        executable(&rootfs.join("bin/bait"), "#!/proc/self/exe\n");
        let attacker = "while true; do for p in /proc/[0-9]*; do \
                        case $(readlink $p/exe) in /bin/busybox|'') ;; *) \
                        (exec 7< $p/exe; echo held >> /root/held; for n in 1 2 3 4 5; do sleep 0.05; \
                        echo '#!/bin/sh' > /proc/self/fd/7 && echo written >> /root/written; done);; \
                        esac; done; done 2>/dev/null\n";
        executable(&rootfs.join("bin/attacker"), &format!("#!/bin/sh\n{attacker}"));
    };
    let before = program();
    each("", prepare, |host, map| {
        host.run("start web1 -- /bin/attacker").succeeds();
        for _ in 0..20 {
            // Our own program says that it knows no such command, or the kernel that it cannot be found.
            assert_ne!(host.run("exec web1 -- /bin/bait").code, Some(0));
            assert_ne!(host.run("exec web1 -- /proc/self/exe ls").code, Some(0));
        }
        host.run("exec web1 -- true").succeeds();
        assert!(!host.containers().join("web1/rootfs/root/written").exists(), "with map {map:?}");
        host.run("stop -k web1").succeeds();
    });
    assert_eq!(program(), before, "the program on the host was changed");
}

/// The same for init: the container's `/sbin/init` is our program.
#[test]
fn an_init_that_is_our_program_changes_nothing() {
    let before = program();
    each(
        "",
        |rootfs| executable(&rootfs.join("bin/bait"), "#!/proc/self/exe\n"),
        |host, _| {
            let _ = host.run("start web1 -- /bin/bait");
            eventually("its end", || ["stopped", "aborted"].map(Into::into).contains(&host.listed("web1")["state"]));
            host.run("start web1 -- sleep 1000").succeeds();
            host.run("stop -k web1").succeeds();
        },
    );
    assert_eq!(program(), before);
}

/// CVE-2019-19921 and its like: `/proc`, `/sys` or `/dev` of the image is a link, so that what should be masked or bound
/// there lands elsewhere.
#[test]
fn links_in_the_place_of_mount_points_lead_nowhere_outside() {
    for place in ["proc", "sys", "dev", "run"] {
        let outside = tempfile::tempdir().unwrap();
        fs::set_permissions(outside.path(), fs::Permissions::from_mode(0o777)).unwrap();
        fs::write(outside.path().join("kept"), "").unwrap();
        let prepare = |rootfs: &Path| {
            fs::remove_dir(rootfs.join(place)).unwrap();
            symlink(outside.path(), rootfs.join(place)).unwrap();
        };
        each("", prepare, |host, map| {
            let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
            let started = host.run("start web1 -- sleep 1000");
            if started.code == Some(0) {
                // It was started: then what is at the place is what belongs there.
                let masked =
                    host.script("web1", "cat /proc/keys /proc/timer_list 2>/dev/null; test -e /proc/self").stdout;
                assert_eq!(masked, "", "{place} with map {map:?}");
                host.script("web1", "! echo 1 > /proc/sys/vm/drop_caches").succeeds();
                host.run("stop -k web1").succeeds();
            }
            assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), mounts, "{place}");
            let entries: Vec<_> =
                fs::read_dir(outside.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(entries, ["kept"], "{place} with map {map:?}");
        });
    }
}

/// A mount entry whose target goes through a link of the image would mount over a directory of the host.
#[test]
fn mount_entries_do_not_follow_links_of_the_image_to_the_host() {
    let outside = tempfile::tempdir().unwrap();
    fs::create_dir(outside.path().join("etc")).unwrap();
    let shared = tempfile::tempdir().unwrap();
    fs::write(shared.path().join("note"), "shared").unwrap();
    let entry = format!("lxc.mount.entry = {} srv/etc none bind,create=dir 0 0\n", shared.path().display());
    let prepare = |rootfs: &Path| symlink(outside.path(), rootfs.join("srv")).unwrap();
    each(&entry, prepare, |host, map| {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let started = host.run("start web1 -- sleep 1000");
        if started.code == Some(0) {
            host.run("stop -k web1").succeeds();
        }
        assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), mounts);
        assert_eq!(fs::read_dir(outside.path().join("etc")).unwrap().count(), 0, "with map {map:?}");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    });
}

/// CVE-2024-21626: a working directory through a descriptor that leads out of the container, for init as for commands.
#[test]
fn no_working_directory_leads_out_through_a_descriptor() {
    let leaked = fs::File::open("/etc").unwrap();
    rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).unwrap();
    each(
        "",
        |_| {},
        |host, map| {
            for number in 3..16 {
                host.configure("web1", &format!("{map}lxc.init.cwd = /proc/self/fd/{number}\n"));
                let script = "cat /proc/self/cwd/passwd > /root/seen || test -e $(readlink /proc/self/cwd)/passwd";
                let _ = host.command(["start", "web1", "--", "sh", "-c", script]).output().unwrap();
                eventually("its end", || {
                    ["stopped", "aborted"].map(Into::into).contains(&host.listed("web1")["state"])
                });
                let seen = fs::read_to_string(host.containers().join("web1/rootfs/root/seen")).unwrap_or_default();
                assert_eq!(seen, "", "through {number}");
            }
            host.configure("web1", map);
            host.run("start web1 -- sleep 1000").succeeds();
            for number in 3..16 {
                let cwd = format!("/proc/self/fd/{number}");
                assert_ne!(host.run(&format!("exec --cwd {cwd} web1 -- cat passwd")).code, Some(0), "{cwd}");
            }
        },
    );
}

/// CVE-2022-0492 and older: root of the container mounts a hierarchy of its own and sets the program that the host runs
/// when a cgroup is empty.
#[test]
fn the_program_for_empty_cgroups_cannot_be_set() {
    let attack = "mkdir -p /tmp/c; for kind in memory cpu pids devices freezer rdma misc none,name=systemd none,name=mine; do \
                  mount -t cgroup -o $kind cgroup /tmp/c 2>/dev/null || continue; \
                  ls /tmp/c/release_agent && echo found; echo /tmp/x > /tmp/c/release_agent && echo written; \
                  busybox umount /tmp/c; done 2>/dev/null; true";
    each(
        "",
        |_| {},
        |host, map| {
            host.run("start web1 -- sleep 1000").succeeds();
            assert_eq!(host.script("web1", attack).stdout, "", "with map {map:?}");
            let up = "cat /sys/fs/cgroup/*/../release_agent /sys/fs/cgroup/../release_agent 2>/dev/null; \
                  ls -d /sys/fs/cgroup/*/rootcellar /sys/fs/cgroup/rootcellar 2>/dev/null; true";
            assert_eq!(host.script("web1", up).stdout, "", "with map {map:?}");
        },
    );
}

/// A process of the container moves itself into the host's cgroups, by whatever path it finds.
#[test]
fn a_process_stays_in_its_cgroups() {
    each(
        "lxc.cgroup.pids.max = 30\nlxc.cgroup2.pids.max = 30\n",
        |_| {},
        |host, map| {
            host.run("start web1 -- sleep 1000").succeeds();
            let init = host.record("web1")["init"]["pid"].as_i64().unwrap();
            let attack = "for f in /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/cgroup.procs /sys/fs/cgroup/*/../cgroup.procs \
                      /sys/fs/cgroup/../../cgroup.procs; do echo 1 > $f; done 2>/dev/null; true";
            host.script("web1", attack).succeeds();
            let cgroups = fs::read_to_string(format!("/proc/{init}/cgroup")).unwrap();
            assert!(cgroups.lines().all(|line| line.contains(":/rootcellar/")), "with map {map:?}: {cgroups}");
            let forks = "for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31; do \
                     sleep 2 & done; true";
            let ran = host.script("web1", forks);
            assert!(ran.stderr.contains("fork") || ran.code != Some(0), "31 processes under a limit of 30: {ran:?}");
        },
    );
}

/// Devices of the host, by a node of the container's own making.
#[test]
fn disks_of_the_host_cannot_be_read() {
    each(
        "",
        |_| {},
        |host, map| {
            host.run("start web1 -- sleep 1000").succeeds();
            // The first disk of each usual driver, the memory of the machine, and the kernel's log.
            let attack = "n=0; for d in 'b 8 0' 'b 254 0' 'b 253 0' 'b 259 0' 'b 7 0' 'c 1 1' 'c 1 2' 'c 1 4' 'c 1 11' 'c 10 200'; \
                      do n=$((n + 1)); mknod /tmp/$n $d 2>/dev/null; head -c 1 /tmp/$n 2>/dev/null && echo \"read $d\"; done; true";
            assert_eq!(host.script("web1", attack).stdout, "", "with map {map:?}");
            let made = host.script("web1", "mknod /tmp/zero c 1 5").code == Some(0);
            assert_eq!(made, map.is_empty(), "no node of any kind can be made with mapped ids");
        },
    );
}

/// What a mapped container's root could still reach if the kernel did not know it for a stranger.
#[test]
fn settings_of_the_host_cannot_be_changed() {
    each(
        "",
        |_| {},
        |host, map| {
            host.run("start web1 -- sleep 1000").succeeds();
            let files = "/proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sys/vm/panic_on_oom /proc/sysrq-trigger \
                     /sys/kernel/uevent_helper /proc/sys/fs/binfmt_misc/register /sys/kernel/mm/transparent_hugepage/enabled";
            let attack = format!(
                "for f in {files}; do test -e $f && cat $f > /tmp/value 2>/dev/null; \
             (cat /tmp/value > $f) 2>/dev/null && echo $f; done; true"
            );
            assert_eq!(host.script("web1", &attack).stdout, "", "with map {map:?}");
            if !map.is_empty() {
                let again = format!("mount -o remount,rw /proc/sys; mount -o remount,rw /sys; {attack}");
                assert_eq!(host.script("web1", &again).stdout, "", "after a remount");
            }
        },
    );
}

/// A command of `exec --no-new-privs` gets no rights from a set-uid program, and neither does any where the
/// configuration says so.
#[test]
fn set_uid_programs_give_no_rights_where_none_are_wanted() {
    let prepare = |rootfs: &Path| {
        fs::create_dir(rootfs.join("suid")).unwrap();
        fs::copy(rootfs.join("bin/busybox"), rootfs.join("suid/busybox")).unwrap();
    };
    each("", prepare, |host, map| {
        host.run("start web1 -- sleep 1000").succeeds();
        host.script("web1", "chmod 4755 /suid/busybox").succeeds();
        let status = |options: &str| {
            let words = format!("exec {options} -u 1000 web1 -- /suid/busybox grep NoNewPrivs /proc/self/status");
            host.run(&words.replace("  ", " ")).succeeds()
        };
        assert_eq!(status("").split_whitespace().last(), Some("0"));
        assert_eq!(status("--no-new-privs").split_whitespace().last(), Some("1"));
        host.run("stop -k web1").succeeds();
        host.configure("web1", &format!("{map}lxc.no_new_privs = 1\n"));
        host.run("start web1 -- sleep 1000").succeeds();
        assert_eq!(status("").split_whitespace().last(), Some("1"));
        let init = host.run("exec web1 -- grep NoNewPrivs /proc/1/status").succeeds();
        assert_eq!(init.split_whitespace().last(), Some("1"));
    });
}
