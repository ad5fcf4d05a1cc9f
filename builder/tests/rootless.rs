//! A plain user with subordinate ids builds what root builds, byte for byte.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command as Program, Stdio};
use std::time::{Duration, Instant};

use crate::common::user::User;
use crate::common::{World, builder, output_of};

/// Everything that a user namespace makes difficult.
const DIFFICULT: &str = r#"
    mkdir -p opt/d/sub opt/gone opt/sticky var/lib/chroot/dev
    echo a > opt/d/sub/a; echo b > opt/gone/b; echo one > opt/one; ln opt/one opt/two; ln opt/one opt/three
    ln -s nowhere opt/link1; ln opt/link1 opt/link2
    mkfifo opt/fifo1; ln opt/fifo1 opt/fifo2
    mknod -m 640 var/lib/chroot/dev/null c 1 3; chown 0:6 var/lib/chroot/dev/null
    ln var/lib/chroot/dev/null var/lib/chroot/dev/zero
    mknod 'var/lib/chroot/dev/a "loop\' b 7 0
    echo x > opt/capable; chown 0:42 opt/capable; setcap cap_net_raw+ep opt/capable
    echo x > opt/setuid; chown 7:42 opt/setuid; chmod 6755 opt/setuid
    chown 65534:65534 opt/sticky; chmod 3777 opt/sticky
    echo x > opt/acl; setfacl -m u:1000:r,g:7:rw opt/acl; setfacl -d -m u:33:rx opt/sticky
    setfattr -n user.note -v hello opt/two; setfattr -n trusted.secret -v x opt/acl
    setfattr -n user.overlay.opaque -v y opt/gone; setfattr -n user.rootcellar.device -v 'c 1 1' opt/acl
    touch -h -d 2001-02-03 opt/d/sub/a opt/d/sub opt/d opt/one opt/link1 opt/sticky var/lib/chroot/dev/null opt
"#;

/// What is done to it, in several layers.
const ACTIONS: &str = "\
files:
- {generator: dump, path: /etc/motd, content: hello, mode: '0640', uid: '5', gid: '6'}
- {generator: hostname, path: /etc/hostname}
- {generator: remove, path: /mnt}
actions:
- trigger: post-unpack
  action: |-
    #!/bin/sh
    set -e
    id() { /bin/busybox id \"$@\"; }
    test \"$(id -u)\" = 0
    /bin/busybox chmod 600 /opt/two
    /bin/busybox chown -h 5:5 /opt/link1
    /bin/busybox chown 7:7 /opt/fifo2
    mv /opt/d /opt/e
    rm -r /opt/gone; mkdir /opt/gone; echo new > /opt/gone/new
    echo more >> /opt/acl
    /bin/busybox ln /opt/one /opt/four
- trigger: post-packages
  action: |-
    #!/bin/sh
    set -e
    rm /opt/three
    echo more >> /opt/four
    test \"$(cat /opt/two)\" = \"$(cat /opt/one)\"
    /bin/busybox chmod 711 /opt/capable
    echo x > /opt/owned; chown 1000:60000 /opt/owned
    test -c /dev/null; test -c /dev/console; echo lost > /dev/null; test -d /sys/kernel
    mount -t tmpfs none /mnt; echo lost > /mnt/x
";

/// A world with the difficult archive, open to other users.
fn world() -> Option<World> {
    let world = World::new()?;
    let script = format!("set -eu; cd source; {DIFFICULT} cd ..\n{TAR}");
    let made = Program::new("sh").args(["-c", &script]).current_dir(world.path("")).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    fs::set_permissions(world.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    Some(world)
}

const TAR: &str = "tar --xattrs '--xattrs-include=*' --acls -C source -cf root.tar .";

fn with_options(mut command: assert_cmd::Command, spec: &Path, output: &Path) -> assert_cmd::Command {
    command.arg("build").arg(spec).arg("--output").arg(output);
    command.args(["--formats", "lxc,incus,unified", "--xz-level", "0", "--serial", "20261123_0522", "--force"]);
    command.args(["-o", "image.name=x", "-o", "image.description=x", "--allow-lint", "excludes"]);
    command.env("SOURCE_DATE_EPOCH", "1700000000");
    command
}

/// All files of a build but its log.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let named = entries.map(|path| (path.file_name().unwrap().display().to_string(), fs::read(&path).unwrap()));
    named.filter(|(name, _)| name != "build.log").collect()
}

fn built(output: &Path) -> PathBuf {
    output.join("test/1.0/amd64/default/20261123_0522")
}

#[test]
fn plain_users_and_root_build_the_same_bytes_whatever_their_ids_paths_umask_and_time_zone() {
    let (Some(world), Some(ada), Some(bob)) = (world(), User::new(), User::new()) else { return };
    let spec = world.spec(ACTIONS);
    let by_root = world.path("by-root");
    with_options(builder(), &spec, &by_root).arg("--cache").arg(world.path("cache")).assert().success();
    let expected = files(&built(&by_root));
    assert_eq!(expected.len(), 11, "{:?}", expected.keys());

    let plain = ada.home.join("plain");
    with_options(ada.builder(), &spec, &plain).arg("--no-cache").assert().success();
    let elsewhere = bob.home.join("another/place");
    let mut shell = Program::new("sh");
    shell.args(["-c", "umask 077; exec \"$@\"", "sh"]).arg(bob.command().get_program());
    let mut command = bob.command();
    command.env("TZ", "Asia/Tokyo").env("LANG", "tr_TR.UTF-8").env("XDG_CACHE_HOME", bob.home.join("xdg"));
    shell.env_clear().envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
    std::os::unix::process::CommandExt::uid(&mut shell, bob.uid());
    std::os::unix::process::CommandExt::gid(&mut shell, bob.gid());
    with_options(assert_cmd::Command::from_std(shell), &spec, &elsewhere).assert().success();
    for (who, output) in [("ada", &plain), ("bob, whose umask is 077", &elsewhere)] {
        let found = files(&built(output));
        for (name, content) in &expected {
            assert!(found[name] == *content, "{name} of {who} differs from root's");
        }
    }

    // What was kept of bob's build is as good, and from another mode's cache comes nothing.
    let again = bob.home.join("again");
    let mut cached = with_options(bob.builder(), &spec, &again);
    cached.arg("--cache").arg(bob.home.join("xdg/rootcellar-builder"));
    let said = output_of(&cached.assert().success()).1;
    assert!(said.lines().any(|line| line.starts_with("tidy") && line.ends_with("cached")), "{said}");
    assert!(files(&built(&again)) == expected, "a cached build of a user differs");
    let mut userns = with_options(builder(), &spec, &world.path("userns"));
    if fs::read_to_string("/etc/subuid").unwrap_or_default().lines().any(|line| line.starts_with("root:")) {
        userns.args(["--mode", "userns"]).arg("--cache").arg(world.path("cache")).assert().success();
        assert!(files(&built(&world.path("userns"))) == expected, "root's build in a user namespace differs");
    }
    assert_eq!(world.leftovers(), Vec::<String>::new());
}

#[test]
fn the_image_of_a_user_holds_what_only_root_could_have_made() {
    let (Some(world), Some(user)) = (world(), User::new()) else { return };
    let spec = world.spec(ACTIONS);
    let output = user.home.join("out");
    with_options(user.builder(), &spec, &output).arg("--no-cache").assert().success();
    let archive = built(&output).join("rootfs.tar.xz");
    let listed = Program::new("tar")
        .args(["--numeric-owner", "--xattrs", "--xattrs-include=*", "--acls", "-tvvJf"])
        .arg(archive)
        .output();
    let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
    let line = |name: &str| {
        let found = listed.lines().find(|line| line.contains(&format!(" {name}")));
        found.unwrap_or_else(|| panic!("no {name} in {listed}")).to_owned()
    };
    for (name, expected) in [
        ("./var/lib/chroot/dev/null", "crw-r-----  0/6"),
        ("./var/lib/chroot/dev/null", " 1,3 "),
        ("./var/lib/chroot/dev/zero", "crw-r-----  0/6"),
        ("./var/lib/chroot/dev/a", "brw"),
        ("./opt/setuid", "-rwsr-sr-x  7/42"),
        ("./opt/sticky/", "drwxrws"),
        ("./opt/sticky/", "65534/65534"),
        ("./opt/owned", "1000/60000"),
        ("./opt/two link to ./opt/four", "hrw-------  0/0"),
        ("./opt/link2 link to ./opt/link1", "5/5"),
        ("./opt/fifo1", "prw"),
        ("./opt/fifo2", "7/7"),
        ("./opt/e/sub/a", "2001-02-0"),
    ] {
        assert!(line(name).contains(expected), "expected `{expected}`: {}", line(name));
    }
    assert!(listed.contains("security.capability") && listed.contains("user.note"), "{listed}");
    assert!(!listed.contains("trusted.") && !listed.contains("rootcellar.device"), "{listed}");
    let metadata =
        Program::new("tar").arg("-xJOf").arg(built(&output).join("meta.tar.xz")).arg("excludes-user").output();
    let excludes = String::from_utf8(metadata.unwrap().stdout).unwrap();
    assert!(excludes.contains("./var/lib/chroot/dev/null\n") && !excludes.contains("capable"), "{excludes}");
    let squashfs = Program::new("unsquashfs").arg("-lln").arg(built(&output).join("rootfs.squashfs")).output().unwrap();
    let squashfs = String::from_utf8(squashfs.stdout).unwrap();
    assert!(squashfs.lines().any(|line| line.starts_with("crw-r----- 0/6") && line.contains("dev/null")), "{squashfs}");
}

#[test]
fn a_users_failed_build_can_be_looked_into_and_gone_on_with_and_its_cache_pruned() {
    let (Some(world), Some(user)) = (world(), User::new()) else { return };
    let fails = ACTIONS.replace("rm /opt/three", "rm /opt/three; exit 3");
    let spec = world.spec(&fails);
    let (output, cache) = (user.home.join("out"), user.home.join("cache"));
    let failed = with_options(user.builder(), &spec, &output).arg("--cache").arg(&cache).assert().code(1);
    assert!(output_of(&failed).1.contains("exit status 3"));
    let parent = output.join("test/1.0/amd64/default");
    let kept = fs::read_dir(&parent).unwrap().map(|entry| entry.unwrap().path()).next().unwrap();
    let looked = user.builder().arg("shell").arg(&kept).args(["sh", "-c", "cat /opt/one; ls /opt/three"]).assert();
    assert_eq!(output_of(&looked.code(1)).0, "one\n");
    world.spec(ACTIONS);
    user.builder().arg("resume").arg(&kept).assert().success();
    assert!(built(&output).join("build.json").exists() && !kept.exists());
    let mut prune = user.builder();
    prune.args(["cache", "prune", "--max-size", "0", "--cache"]).arg(&cache).assert().success();
    let left = fs::read_dir(cache.join("stages/v1-userns")).unwrap().map(|entry| entry.unwrap().file_name());
    let trees: Vec<_> = left.filter(|name| name.len() >= 32).collect();
    assert!(trees.is_empty(), "{trees:?}");
    // Nothing that needs the ids is left in the user's own directories.
    fs::remove_dir_all(&output).unwrap();
}

#[test]
fn a_users_build_killed_at_any_point_leaves_no_process_and_no_mount_and_the_next_one_heals() {
    let (Some(world), Some(user)) = (world(), User::new()) else { return };
    let spec = world.spec(ACTIONS);
    let (output, cache) = (user.home.join("out"), user.home.join("cache"));
    let stages = ["unpack", "post-packages", "incus"];
    let all = stages.iter().flat_map(|stage| ["begun", "worked", "kept"].map(|point| format!("{stage}:{point}")));
    for checkpoint in all {
        let mut command = user.command();
        command.arg("build").arg(&spec).arg("--output").arg(&output).arg("--cache").arg(&cache);
        command.args(["--formats", "lxc,incus", "--xz-level", "0", "--serial", "20261123_0522"]);
        command.env("ROOTCELLAR_CHECKPOINT", &checkpoint).stdout(Stdio::null()).stderr(Stdio::null());
        let status = command.status().unwrap();
        assert_eq!(status.signal(), Some(9), "{checkpoint} was not reached: {status:?}");
        let patience = Instant::now() + Duration::from_secs(30);
        while !left_by(&user, &world).is_empty() {
            assert!(Instant::now() < patience, "{checkpoint} left {:?}", left_by(&user, &world));
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    with_options(user.builder(), &spec, &output).arg("--cache").arg(&cache).assert().success();
    let names = fs::read_dir(output.join("test/1.0/amd64/default")).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["20261123_0522"]);
    let partial = fs::read_dir(cache.join("stages/v1-userns")).unwrap().map(|entry| entry.unwrap().file_name());
    let partial: Vec<_> = partial.filter(|name| name.to_string_lossy().starts_with(".partial")).collect();
    assert!(partial.is_empty(), "{partial:?}");
}

/// Processes and mounts that have to do with the user.
fn left_by(user: &User, world: &World) -> Vec<String> {
    let mut found = world.leftovers();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    found.extend(mounts.lines().filter(|line| line.contains(&user.name)).map(str::to_owned));
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let program = fs::read_link(entry.path().join("exe")).unwrap_or_default();
        if String::from_utf8_lossy(&command).contains(&user.name) || program.starts_with(&user.home) {
            found.push(format!("process {}", entry.file_name().display()));
        }
    }
    found
}

#[test]
fn a_user_without_subordinate_ids_is_told_how_to_get_some() {
    let (Some(world), Some(user)) = (world(), User::with(&["-K", "SUB_UID_COUNT=0", "-K", "SUB_GID_COUNT=0"])) else {
        return;
    };
    let spec = world.spec("");
    let refused = with_options(user.builder(), &spec, &user.home.join("out")).assert().code(2);
    let said = output_of(&refused).1;
    for expected in ["too few subordinate ids in `/etc/subuid`: expected 65535, found 0", "hint: ", "usermod"] {
        assert!(said.contains(expected), "expected `{expected}` in: {said}");
    }
    let as_root = with_options(user.builder(), &spec, &user.home.join("out")).args(["--mode", "root"]).assert().code(2);
    assert!(output_of(&as_root).1.contains("hint: run it as root, or with `--mode userns`"));
}

#[test]
fn a_user_builds_the_debian_that_root_builds() {
    if std::env::var_os("ROOTCELLAR_TEST_ROOTLESS_DEBIAN").is_none() {
        testkit::skip("two builds of a whole Debian only with ROOTCELLAR_TEST_ROOTLESS_DEBIAN=1");
        return;
    }
    let (Some(world), Some(user)) = (World::new(), User::new()) else { return };
    fs::set_permissions(world.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let spec = world.path("debian.yaml");
    fs::write(&spec, include_str!("../../image-specs/debian.yaml")).unwrap();
    let by_root = world.path("by-root");
    with_options(builder(), &spec, &by_root).arg("--no-cache").assert().success();
    let by_user = user.home.join("out");
    with_options(user.builder(), &spec, &by_user).assert().success();
    let newest = |output: &Path| {
        let found = Program::new("find").arg(output).args(["-name", "20261123_0522"]).output().unwrap();
        files(Path::new(String::from_utf8(found.stdout).unwrap().trim()))
    };
    let (expected, found) = (newest(&by_root), newest(&by_user));
    for (name, content) in &expected {
        assert!(found[name] == *content, "{name} differs from root's");
    }
}
