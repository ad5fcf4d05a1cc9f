//! A build that fails can be looked into and gone on with; one that is killed leaves nothing behind.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command as Program, Stdio};

use crate::common::{World, builder, output_of};

fn text(second: &str) -> String {
    format!(
        "actions:\n- {{trigger: post-packages, action: \"#!/bin/sh\\necho once >> /etc/first\"}}\n\
         - {{trigger: post-packages, action: \"#!/bin/sh\\necho $OWN > /etc/second; {second}\"}}\n\
         - {{trigger: post-files, action: \"#!/bin/sh\\ncp /etc/first /etc/third\"}}\n\
         environment: {{variables: [{{key: OWN, value: mine}}]}}\n"
    )
}

fn build(world: &World, spec: &Path, cached: bool, serial: &str) -> assert_cmd::Command {
    let mut command = builder();
    command.arg("build").arg(spec).arg("--output").arg(world.path("out"));
    if cached {
        command.arg("--cache").arg(world.path("cache"));
    } else {
        command.arg("--no-cache");
    }
    command.args(["--formats", "lxc", "--xz-level", "0", "--serial", serial]);
    command
}

#[test]
fn a_failed_build_can_be_looked_into_put_right_and_gone_on_with() {
    for cached in [true, false] {
        let Some(world) = World::new() else { return };
        let world = world.with_files([]);
        std::os::unix::fs::symlink("busybox", world.path("source/bin/cp")).unwrap();
        let world = world.with_files([]);
        let spec = world.spec(&text("exit 3"));
        let stderr = output_of(&build(&world, &spec, cached, SERIAL).assert().code(1)).1;
        let kept = world.kept().pop().unwrap();
        for expected in ["actions[1] (line 7) failed: exit status 3", "`post-packages.2`", &kept.display().to_string()]
        {
            assert!(stderr.contains(expected), "expected `{expected}` in: {stderr}");
        }
        // Another build leaves what is kept alone.
        build(&world, &world.spec(""), cached, "20261123_0600").arg("--force").assert().success();

        let shell = |words: &[&str]| builder().arg("shell").arg(&kept).args(words).assert();
        assert_eq!(output_of(&shell(&["cat", "/etc/first", "/etc/second"]).success()).0, "once\nmine\n");
        shell(&["sh", "-c", "exit 4"]).code(1);
        let typed = builder().arg("shell").arg(&kept).write_stdin("echo $OWN; pwd\nexit 5\n").assert().success();
        assert_eq!(output_of(&typed).0, "mine\n/root\n".replace("/root", "/"), "a shell in the tree");

        world.spec(&text("true"));
        let refused = builder().arg("resume").arg(&kept).args(["--from", "tidy"]).assert().code(1);
        assert!(output_of(&refused).1.contains("it has come to: unpack, post-packages.1, post-packages.2"));
        let done = builder().arg("resume").arg(&kept).assert().success();
        let (stdout, stderr) = output_of(&done);
        assert_eq!(stdout.trim_end(), world.built().display().to_string());
        assert!(stderr.contains("post-packages.1") && stderr.contains("kept"), "{stderr}");
        let tree = world.unpacked();
        assert_eq!(fs::read_to_string(tree.join("etc/third")).unwrap(), "once\n", "an earlier stage ran again");
        assert!(world.kept().is_empty());
        if cached {
            let stages = fs::read_dir(world.path("cache/stages/v1")).unwrap();
            let names: Vec<_> = stages.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            assert!(names.iter().all(|name| !name.starts_with(".partial")), "{names:?}");
        }
        assert_eq!(world.leftovers(), Vec::<String>::new());
    }
}

#[test]
fn going_on_from_an_earlier_stage_runs_it_again() {
    let Some(world) = World::new() else { return };
    let spec = world.spec(&text("exit 3"));
    build(&world, &spec, true, SERIAL).assert().code(1);
    world.spec(&text("true").replace("once", "twice").replace("cp /etc/first", "cat /etc/first >"));
    let kept = world.kept().pop().unwrap();
    let done = builder().arg("resume").arg(&kept).args(["--from", "post-packages"]).assert().success();
    assert!(output_of(&done).1.contains("Going on from the stage `post-packages.1`"));
    assert_eq!(fs::read_to_string(world.unpacked().join("etc/first")).unwrap(), "twice\n");
}

#[test]
fn a_spec_from_standard_input_can_be_gone_on_with() {
    let Some(world) = World::new() else { return };
    let spec = fs::read_to_string(world.spec(&text("test -e /etc/fixed"))).unwrap();
    build(&world, Path::new("-"), true, SERIAL).write_stdin(spec).assert().code(1);
    let kept = world.kept().pop().unwrap();
    builder().arg("resume").arg(&kept).assert().code(1);
}

#[test]
fn a_tree_that_is_there_becomes_an_image_and_stays_as_it_is() {
    let Some(world) = World::new() else { return };
    let spec = world.spec(
        "files:\n- {generator: hostname, path: /etc/hostname}\nactions:\n\
         - {trigger: post-packages, action: \"#!/bin/sh\\necho never > /etc/untyped\"}\n\
         - {trigger: post-packages, types: [container], action: \"#!/bin/sh\\necho x > /etc/typed; rm /etc/hosts\"}\n",
    );
    let mut command = builder();
    command.arg("pack").arg(&spec).arg(world.path("source")).arg("--output").arg(world.path("out"));
    command.args(["--no-cache", "--formats", "lxc", "--xz-level", "0", "--serial", SERIAL]);
    command.assert().success();
    let tree = world.unpacked();
    assert!(tree.join("etc/typed").exists() && !tree.join("etc/untyped").exists() && !tree.join("etc/hosts").exists());
    assert_eq!(fs::read_to_string(tree.join("etc/hostname")).unwrap(), "LXC_NAME\n");
    let source = |name: &str| world.path("source/etc").join(name);
    assert_eq!(fs::read_to_string(source("hostname")).unwrap(), "buildhost\n");
    assert!(source("hosts").exists() && !source("typed").exists());
}

#[test]
fn a_build_killed_at_any_point_leaves_no_mount_and_the_next_one_heals() {
    let Some(world) = World::new() else { return };
    let spec = world.spec(&text("true").replace("cp /etc/first", "cat /etc/first >"));
    let points = ["begun", "worked", "sealed", "kept"];
    let stages = ["unpack", "post-packages.2", "tidy", "lxc"];
    let all = stages.iter().flat_map(|stage| points.iter().map(move |point| format!("{stage}:{point}")));
    let others = ["build:begun", "incus:packed", "lxc:packed", "record:written", "build:done"].map(str::to_owned);
    for checkpoint in all.chain(others) {
        let status = Program::new(env!("CARGO_BIN_EXE_rootcellar-builder"))
            .arg("build")
            .arg(&spec)
            .arg("--output")
            .arg(world.path("out"))
            .arg("--cache")
            .arg(world.path("cache"))
            .args(["--formats", "lxc,incus", "--xz-level", "0", "--serial", SERIAL])
            .env("ROOTCELLAR_CHECKPOINT", &checkpoint)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.signal(), Some(9), "{checkpoint} was not reached: {status:?}");
        assert_eq!(world.leftovers(), Vec::<String>::new(), "{checkpoint}");
        assert!(!world.built().exists(), "{checkpoint}");
        fs::write(world.path("cache/stages/v1/foreign"), "mine").unwrap();
    }
    build(&world, &spec, true, SERIAL).assert().success();
    assert_eq!(fs::read_to_string(world.unpacked().join("etc/third")).unwrap(), "once\n");
    assert!(world.kept().is_empty(), "{:?}", world.kept());
    let names = fs::read_dir(world.path("cache/stages/v1")).unwrap().map(|entry| entry.unwrap().file_name());
    let partial: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with(".partial")).collect();
    assert_eq!(partial, Vec::<std::ffi::OsString>::new());
}

/// The serial of builds that fail; [`World::built`] is where they end up.
const SERIAL: &str = "20261123_0522";
