//! Scripts of a spec run in the image as in distrobuilder's chroot, and leave nothing behind but what they wrote.

use std::fs;
use std::time::{Duration, Instant};

use crate::common::{World, builder, output_of};

fn action(trigger: &str, script: &str) -> String {
    let indented = script.lines().map(|line| format!("    {line}\n")).collect::<Vec<_>>().concat();
    format!("- trigger: {trigger}\n  action: |-\n{indented}")
}

#[test]
fn a_script_sees_the_mounts_the_devices_and_the_environment_it_may_rely_on() {
    let Some(world) = World::new() else { return };
    let script = "#!/bin/sh -eu\n\
                  test \"$(cat /proc/1/comm)\" != init\n\
                  test -d /sys/kernel\n\
                  for node in null zero full random urandom tty console; do test -c /dev/$node; done\n\
                  test -e /dev/fd/0; test -e /dev/ptmx; test -d /dev/pts; test -d /dev/shm\n\
                  echo lost > /run/x; echo lost > /tmp/x; echo lost > /dev/shm/x\n\
                  test -x /usr/sbin/policy-rc.d\n\
                  test \"$(cat /etc/resolv.conf)\" != 'nameserver 192.0.2.1'\n\
                  test \"$0\" != sh\n\
                  test \"$(cat /proc/sys/kernel/hostname)\" = localhost\n\
                  test \"$PWD\" = /\n\
                  test \"${LEAK-unset}\" = unset\n\
                  echo \"$PATH|$SHELL|$TERM|$DEBIAN_FRONTEND|$OWN\" > /etc/seen\n";
    let spec = world.spec(&format!(
        "environment: {{variables: [{{key: OWN, value: 1.10}}, {{key: TERM, value: dumb}}]}}\nactions:\n{}",
        action("post-unpack", script)
    ));
    world.build(&spec).env("LEAK", "yes").env("TMPDIR", world.path("")).assert().success();
    let tree = world.unpacked();
    let seen = fs::read_to_string(tree.join("etc/seen")).unwrap();
    let path = "/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin";
    assert_eq!(seen, format!("{path}|/bin/sh|dumb|noninteractive|1.10\n"));
    for gone in ["run/x", "tmp/x", "dev/shm", "dev/null", "usr/sbin/policy-rc.d"] {
        assert!(fs::symlink_metadata(tree.join(gone)).is_err(), "{gone}");
    }
    assert_eq!(fs::read_to_string(tree.join("etc/resolv.conf")).unwrap(), "nameserver 192.0.2.1\n");
}

/// `ischroot(1)` and systemd compare the two; scripts of packages restart services, and wait for them, on a machine.
#[test]
fn a_script_is_in_another_root_directory_than_process_1_as_in_a_chroot() {
    let Some(world) = World::new() else { return };
    let script = "#!/bin/sh -eu\n\
                  test \"$(stat -L -c %d:%i /proc/1/root)\" != \"$(stat -c %d:%i /)\"\n\
                  test -x /bin/busybox\n\
                  umount -l /proc\nmount -t proc proc /proc\n";
    let spec = world.spec(&format!("actions:\n{}{}", action("post-unpack", script), action("post-files", script)));
    world.build(&spec).assert().success();
    assert_eq!(world.leftovers(), Vec::<String>::new());
}

#[test]
fn a_script_may_mount_and_unmount_and_replace_the_name_servers() {
    let Some(world) = World::new() else { return };
    let first = "#!/bin/sh -eu\nmount -o bind / /mnt\nmkdir -p /mnt/run/below\nmount -t tmpfs none /sys/firmware\n\
                 ls /mnt/bin/sh\n";
    let second = "#!/bin/sh -eu\numount -l /etc/resolv.conf || true\n\
                  rm -f /etc/resolv.conf\necho replaced > /etc/resolv.conf\n";
    let spec = world.spec(&format!("actions:\n{}{}", action("post-packages", first), action("post-files", second)));
    world.build(&spec).assert().success();
    let tree = world.unpacked();
    assert_eq!(fs::read_to_string(tree.join("etc/resolv.conf")).unwrap(), "replaced\n");
    assert_eq!(fs::read_dir(tree.join("mnt")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(tree.join("run")).unwrap().count(), 0);
    assert_eq!(world.leftovers(), Vec::<String>::new());
}

#[test]
fn scripts_run_in_the_order_of_their_triggers_and_filters_hold() {
    let Some(world) = World::new() else { return };
    let say = |trigger: &str, word: &str, filter: &str| {
        action(trigger, &format!("#!/bin/sh\necho {word} >> /etc/order\n")) + filter
    };
    let spec = world.spec(&format!(
        "files:\n- {{generator: dump, path: /etc/file, content: dumped}}\nactions:\n{}{}{}{}{}{}",
        say("post-files", "4", ""),
        say("post-packages", "2", ""),
        say("post-unpack", "1", ""),
        say("post-unpack", "3", "  types: [container]\n"),
        say("post-unpack", "never", "  variants: [cloud]\n"),
        say("post-unpack", "never", "  types: [vm]\n"),
    ));
    world.build(&spec).assert().success();
    assert_eq!(fs::read_to_string(world.unpacked().join("etc/order")).unwrap(), "1\n2\n3\n4\n");
}

#[test]
fn a_failing_script_is_named_with_its_line_and_the_tree_is_kept() {
    let Some(world) = World::new() else { return };
    let script = "#!/bin/sh\necho the reason\nexit 7\n";
    let spec = world.spec(&format!("actions:\n{}", action("post-packages", script)));
    let failed = world.build(&spec).assert().code(1);
    let (stdout, stderr) = output_of(&failed);
    assert_eq!(stdout, "");
    for expected in
        ["post-packages action actions[0] (line 6) failed: exit status 7", "the reason", "hint: ", "build.log"]
    {
        assert!(stderr.contains(expected), "expected `{expected}` in: {stderr}");
    }
    let kept = world.kept();
    assert_eq!(kept.len(), 1);
    assert!(stderr.contains(&kept[0].display().to_string()));
    let looked = builder().arg("shell").arg(&kept[0]).args(["ls", "/bin/busybox"]).assert().success();
    assert_eq!(output_of(&looked).0, "/bin/busybox\n");
    assert!(!world.built().exists());
    assert_eq!(world.leftovers(), Vec::<String>::new());
}

#[test]
fn a_script_whose_interpreter_is_not_in_the_image_is_explained() {
    let Some(world) = World::new() else { return };
    let spec = world.spec(&format!("actions:\n{}", action("post-unpack", "#!/bin/bash -e\ntrue\n")));
    let stderr = output_of(&world.build(&spec).assert().code(1)).1;
    assert!(stderr.contains("its interpreter `/bin/bash -e` is not in the image"), "{stderr}");
}

#[test]
fn a_script_that_takes_too_long_is_killed_with_all_its_children() {
    let Some(world) = World::new() else { return };
    let script = format!("#!/bin/sh\nsleep {0} &\nsleep {0}\n", world.mark);
    let spec = world.spec(&format!("actions:\n{}", action("post-unpack", &script)));
    let begun = Instant::now();
    let stderr = output_of(&world.build(&spec).args(["--timeout", "2s"]).assert().code(1)).1;
    assert!(begun.elapsed() < Duration::from_mins(1));
    assert!(stderr.contains("`--timeout`"), "{stderr}");
    assert_eq!(world.leftovers(), Vec::<String>::new());
}

#[test]
fn what_a_script_left_running_ends_with_its_stage() {
    let Some(world) = World::new() else { return };
    let script = format!("#!/bin/sh\nsleep {} &\n", world.mark);
    let spec = world.spec(&format!("actions:\n{}", action("post-files", &script)));
    world.build(&spec).assert().success();
    assert_eq!(world.leftovers(), Vec::<String>::new());
}

#[test]
fn a_killed_builder_leaves_no_process_and_no_mount() {
    let Some(world) = World::new() else { return };
    let spec =
        world.spec(&format!("actions:\n{}", action("post-unpack", &format!("#!/bin/sh\nsleep {}\n", world.mark))));
    let mut builder = std::process::Command::new(env!("CARGO_BIN_EXE_rootcellar-builder"))
        .arg("build")
        .arg(&spec)
        .arg("--output")
        .arg(world.path("out"))
        .args(["--no-cache", "--formats", "lxc"])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let patience = Instant::now() + Duration::from_mins(1);
    while world.leftovers().is_empty() {
        assert!(Instant::now() < patience, "the script never started");
        std::thread::sleep(Duration::from_millis(20));
    }
    builder.kill().unwrap();
    builder.wait().unwrap();
    let patience = Instant::now() + Duration::from_secs(30);
    while !world.leftovers().is_empty() {
        assert!(Instant::now() < patience, "left behind: {:?}", world.leftovers());
        std::thread::sleep(Duration::from_millis(20));
    }
}
