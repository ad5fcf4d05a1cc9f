//! Hooks run when and where lxc.container.conf(5) says.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::idmap::{WHOLE, give};
use crate::support::{Host, eventually};

/// A container whose hooks of all kinds write what they are told to a file, which is returned.
fn host(map: &str) -> Option<(Host, PathBuf)> {
    let host = Host::or_skip()?;
    let container = host.create("web1", "");
    if !map.is_empty() {
        give(&container.join("rootfs"));
        // Root of a mapped container is a stranger, and runs some of them.
        fs::set_permissions(host.containers().parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let said = container.join("said");
    fs::write(&said, "").unwrap();
    fs::set_permissions(&said, fs::Permissions::from_mode(0o666)).unwrap();
    let hook = container.join("hook.sh");
    let script = format!(
        "test $LXC_NAME = $1 && test $LXC_CONFIG_FILE = {0}/config && test $LXC_ROOTFS_PATH = {0}/rootfs || exit 9\n\
         case $3 in\n\
         mount) test -d $LXC_ROOTFS_MOUNT/proc/1 && test -c $LXC_ROOTFS_MOUNT/dev/null || exit 8;;\n\
         autodev) echo made > $LXC_ROOTFS_MOUNT/dev/by-hook;;\n\
         start-host) test $(cat /proc/$LXC_PID/comm) != '' && grep -q '^SigBlk:.0*$' /proc/self/status || exit 7;;\n\
         esac\n\
         echo $2 $3 $4 $LXC_TARGET >> {0}/said\n",
        container.display()
    );
    fs::write(&hook, script).unwrap();
    let kinds = ["pre-start", "pre-mount", "mount", "autodev", "start-host", "stop", "post-stop", "destroy"];
    let lines = kinds.map(|kind| format!("lxc.hook.{kind} = /bin/sh {}\n", hook.display())).concat();
    host.configure("web1", &format!("{map}{lines}lxc.hook.start = echo in $LXC_NAME > /root/started; true\n"));
    Some((host, said))
}

#[test]
fn all_of_them_run_in_their_order_and_are_told_what_they_need() {
    for map in ["", WHOLE] {
        let Some((host, said)) = host(map) else { return };
        let started = host.run("start web1");
        assert_eq!(started.stderr.lines().count(), 1, "{started:?}");
        started.succeeds();
        assert_eq!(host.run("exec web1 -- cat /dev/by-hook /root/started").succeeds(), "made\nin web1\n");
        let before = ["pre-start", "pre-mount", "mount", "autodev", "start-host"].map(|kind| format!("lxc {kind}\n"));
        assert_eq!(fs::read_to_string(&said).unwrap(), before.concat());
        let pid = host.listed("web1")["pid"].clone();
        host.script("web1", "reboot -f");
        eventually("the reboot", || {
            let row = host.listed("web1");
            row["state"] == "running" && row["pid"] != pid
        });
        host.run("stop -k web1").succeeds();
        let end = |target: &str| format!("lxc stop {target}\nlxc post-stop {target}\n");
        let all = [before.concat(), end("reboot"), before.concat(), end("stop")].concat();
        assert_eq!(fs::read_to_string(&said).unwrap(), all);
    }
}

#[test]
fn one_that_fails_before_init_runs_ends_the_start_and_leaves_nothing() {
    let Some(host) = Host::or_skip() else { return };
    host.create("web1", "");
    for kind in ["pre-start", "pre-mount", "mount", "start-host"] {
        host.configure("web1", &format!("lxc.hook.{kind} = /bin/false\n"));
        let ran = host.run("start web1 -- sleep 1000");
        assert!(kind == "mount" || ran.stderr.contains(&format!("`lxc.hook.{kind} = /bin/false` failed")), "{ran:?}");
        ran.fails(2, "`web1` did not start");
        assert!(!host.state("web1").exists() && host.cgroups().is_empty(), "{kind}");
    }
    host.configure("web1", "lxc.hook.destroy = /bin/false\n");
    host.run("destroy web1").fails(1, "`lxc.hook.destroy = /bin/false` failed");
    assert!(host.containers().join("web1").exists());
    host.configure("web1", "");
    host.run("destroy web1").succeeds();
}

#[test]
fn a_hook_that_kills_the_process_that_makes_the_container_leaves_nothing() {
    let Some(host) = Host::or_skip() else { return };
    host.create("web1", "");
    // The monitor runs this hook while the launcher, its other child, waits with a container that is made.
    let launcher = "for s in /proc/[0-9]*/stat; do \
                    set -- $(sed 's/^\\([0-9]*\\) (.*) . \\([0-9]*\\) .*/\\1 \\2/' $s 2>/dev/null); \
                    if [ \"$2\" = $PPID ] && [ $1 != $$ ]; then kill -9 $1; fi; done";
    // And this one kills the monitor itself.
    for (victim, script) in [("launcher", launcher), ("monitor", "kill -9 $PPID")] {
        let hook = host.containers().join("kill.sh");
        fs::write(&hook, format!("{script}\nexit 0\n")).unwrap();
        host.configure("web1", &format!("lxc.hook.start-host = /bin/sh {}\n", hook.display()));
        let ran = host.run("start web1 -- sleep 1000");
        ran.fails(2, "`web1` did not start");
        let state = host.listed("web1")["state"].clone();
        assert!(state == "stopped" || state == "aborted", "{victim}: {state}");
        host.configure("web1", "");
        host.run("start web1 -- sleep 1000").succeeds();
        host.run("stop -k web1").succeeds();
        assert!(!host.state("web1").exists() && host.cgroups().is_empty(), "{victim}");
    }
}
