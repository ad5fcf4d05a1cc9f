//! What has not changed is not made again, and what is kept is never stale.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command as Program;

use crate::common::{World, builder, output_of};

/// Actions around files: three stages of scripts, one of which makes what overlayfs has to get right.
fn text(first: &str, motd: &str, last: &str) -> String {
    format!(
        "files:\n- {{generator: hostname, path: /etc/hostname}}\n- {{generator: dump, path: /etc/motd, content: {motd}}}\n\
         - {{generator: remove, path: /mnt}}\n\
         actions:\n\
         - trigger: post-unpack\n  action: |-\n    #!/bin/sh\n    set -e\n    echo {first} > /etc/first\n    \
         mkdir -p /opt/d/sub /opt/gone; echo a > /opt/d/sub/a; echo b > /opt/gone/b; echo l > /opt/one\n    \
         ln /opt/one /opt/two; ln /opt/one /opt/three; echo passed > /tmp/passed\n\
         - trigger: post-packages\n  action: |-\n    #!/bin/sh\n    set -e\n    cat /tmp/passed > /etc/passed\n    \
         mv /opt/d /opt/e; rm -r /opt/gone; mkdir /opt/gone; chmod 600 /opt/two; rm /opt/three; echo more >> /opt/e/sub/a\n\
         - trigger: post-files\n  action: |-\n    #!/bin/sh\n    echo {last} > /etc/last; cat /etc/motd >> /etc/last\n"
    )
}

/// Which stages ran and which were cached, from what a build said.
fn stages(stderr: &str) -> BTreeMap<String, String> {
    let words = stderr.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let stages = words.filter(|words| words.len() >= 2 && words[1].ends_with('s') && words[0] != "Built");
    stages.map(|words| (words[0].to_owned(), words.get(2).unwrap_or(&"ran").to_string())).collect()
}

fn build(world: &World, spec: &Path, serial: &str, more: &[&str]) -> (std::path::PathBuf, BTreeMap<String, String>) {
    let mut command = builder();
    command.arg("build").arg(spec).arg("--output").arg(world.path("out")).arg("--cache").arg(world.path("cache"));
    command.args(["--formats", "lxc,incus", "--xz-level", "0", "--serial", serial, "--force"]).args(more);
    let done = command.env("SOURCE_DATE_EPOCH", "1700000000").assert().success();
    let (stdout, stderr) = output_of(&done);
    (stdout.trim_end().into(), stages(&stderr))
}

fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let named = entries.map(|path| (path.file_name().unwrap().display().to_string(), fs::read(&path).unwrap()));
    named
        .filter(|(name, _)| !["build.log", "image.yaml", "build.json", "SHA256SUMS"].contains(&name.as_str()))
        .collect()
}

fn ran(stages: &BTreeMap<String, String>) -> Vec<&str> {
    stages.iter().filter(|(_, how)| *how == "ran").map(|(name, _)| name.as_str()).collect()
}

fn can_pack() -> bool {
    let there = Program::new("mksquashfs").arg("-version").output().is_ok();
    if !there {
        testkit::skip("no mksquashfs: install the package `squashfs-tools`");
    }
    there
}

#[test]
fn only_the_stages_after_a_change_run_and_the_rest_is_cached() {
    let (Some(world), true) = (World::new(), can_pack()) else { return };
    let all = ["files", "incus", "lxc", "post-files", "post-packages", "post-unpack", "tidy", "unpack"];
    let (_, first) = build(&world, &world.spec(&text("one", "hello", "end")), "20261123_0001", &[]);
    assert_eq!(ran(&first), all);
    let (_, again) = build(&world, &world.spec(&text("one", "hello", "end")), "20261123_0002", &[]);
    assert_eq!(ran(&again), ["incus", "lxc"]);
    let (_, action) = build(&world, &world.spec(&text("one", "hello", "other")), "20261123_0003", &[]);
    assert_eq!(ran(&action), ["incus", "lxc", "post-files", "tidy"]);
    let (_, file) = build(&world, &world.spec(&text("one", "changed", "end")), "20261123_0004", &[]);
    assert_eq!(ran(&file), ["files", "incus", "lxc", "post-files", "tidy"]);
    let (_, early) = build(&world, &world.spec(&text("two", "hello", "end")), "20261123_0005", &[]);
    assert_eq!(ran(&early), ["files", "incus", "lxc", "post-files", "post-packages", "post-unpack", "tidy"]);
    let world = world.with_files([("etc/new", "new")]);
    let (_, source) = build(&world, &world.spec(&text("one", "hello", "end")), "20261123_0006", &[]);
    assert_eq!(ran(&source), all);
    assert_eq!(world.leftovers(), Vec::<String>::new());
}

#[test]
fn cached_and_uncached_builds_are_the_same_bytes() {
    let (Some(world), true) = (World::new(), can_pack()) else { return };
    let spec = world.spec(&text("one", "hello", "end"));
    let fixed = ["-o", "image.expiry=1d", "-o", "image.name=x", "-o", "image.description=x"];
    // One serial, as it is in the metadata; the builds go to different places.
    let at = |output: &str, more: &[&str]| {
        let output = world.path(output).display().to_string();
        let mut words = fixed.to_vec();
        words.extend(["--output", &output]);
        words.extend(more);
        let mut command = builder();
        command.arg("build").arg(&spec).args([
            "--formats",
            "lxc,incus",
            "--xz-level",
            "0",
            "--serial",
            "20261123_0001",
        ]);
        let done = command.args(words).env("SOURCE_DATE_EPOCH", "1700000000").assert().success();
        let (stdout, stderr) = output_of(&done);
        (files(Path::new(stdout.trim_end())), stages(&stderr))
    };
    let cache = world.path("cache").display().to_string();
    let (plain, _) = at("plain", &["--no-cache"]);
    let (cold, _) = at("cold", &["--cache", &cache]);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let (warm, stages) = at("warm", &["--cache", &cache]);
    assert_eq!(ran(&stages), ["incus", "lxc"]);
    let copied = copied(&world, &spec, &fixed);
    for (name, other) in [("cold", &cold), ("warm", &warm), ("without overlayfs", &copied)] {
        for (file, content) in &plain {
            assert!(other[file] == *content, "{file} differs: {name}");
        }
    }
    let tree = world.path("unpacked");
    fs::create_dir(&tree).unwrap();
    let archive = world.path("warm/test/1.0/amd64/default/20261123_0001/rootfs.tar.xz");
    assert!(Program::new("tar").arg("-xJf").arg(archive).arg("-C").arg(&tree).status().unwrap().success());
    let [one, two] = ["opt/one", "opt/two"].map(|name| fs::metadata(tree.join(name)).unwrap());
    assert_eq!((one.ino(), one.mode() & 0o777), (two.ino(), 0o600), "a change reaches all names of a file");
    assert!(!tree.join("opt/three").exists() && !tree.join("opt/d").exists() && !tree.join("mnt").exists());
    assert_eq!(fs::read_dir(tree.join("opt/gone")).unwrap().count(), 0);
    assert_eq!(fs::read_to_string(tree.join("opt/e/sub/a")).unwrap(), "a\nmore\n");
    assert_eq!(fs::read_to_string(tree.join("etc/passed")).unwrap(), "passed\n", "/tmp lasts for a phase");
}

/// A build whose cache is on overlayfs itself, which refuses to be below another.
fn copied(world: &World, spec: &Path, fixed: &[&str]) -> BTreeMap<String, Vec<u8>> {
    let place = world.path("on-overlay");
    for name in ["lower", "upper", "work", "tree"] {
        fs::create_dir_all(place.join(name)).unwrap();
    }
    let script = "set -e; cd \"$1\"; mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work tree; shift; \
                  exec \"$@\"";
    let done = Program::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(&place)
        .args([env!("CARGO_BIN_EXE_rootcellar-builder"), "build"])
        .arg(spec)
        .args(["--formats", "lxc,incus", "--xz-level", "0", "--serial", "20261123_0001", "--cache", "tree/cache"])
        .arg("--output")
        .arg(world.path("copied"))
        .args(fixed)
        .env("SOURCE_DATE_EPOCH", "1700000000")
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    files(Path::new(String::from_utf8(done.stdout).unwrap().trim_end()))
}

#[test]
fn two_builds_of_one_spec_at_once_share_the_work() {
    let Some(world) = World::new() else { return };
    let spec = world.spec("actions:\n- {trigger: post-unpack, action: \"#!/bin/sh\\nsleep 1; echo x > /etc/x\"}\n");
    let start = |output: &str| {
        Program::new(env!("CARGO_BIN_EXE_rootcellar-builder"))
            .arg("build")
            .arg(&spec)
            .args(["--formats", "lxc", "--xz-level", "0", "--cache"])
            .arg(world.path("cache"))
            .arg("--output")
            .arg(world.path(output))
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap()
    };
    let both = [start("a"), start("b")].map(|child| child.wait_with_output().unwrap());
    assert!(both.iter().all(|output| output.status.success()), "{both:?}");
    let how: Vec<_> = both.iter().map(|output| stages(&String::from_utf8_lossy(&output.stderr))).collect();
    let mut actions: Vec<_> = how.iter().map(|stages| stages["post-unpack"].clone()).collect();
    actions.sort();
    assert_eq!(actions, ["cached", "ran"]);
}

#[test]
fn nothing_is_built_when_nothing_has_changed() {
    let Some(world) = World::new() else { return };
    let run = |text: &str, serial: &str, more: &[&str]| {
        let mut command = builder();
        command.arg("build").arg(world.spec(text)).arg("--output").arg(world.path("out"));
        command.arg("--cache").arg(world.path("cache")).args(["--formats", "lxc", "--xz-level", "0"]);
        let done = command.args(["--serial", serial]).args(more).assert().success();
        output_of(&done)
    };
    let text = "files:\n- {generator: dump, path: /etc/motd, content: one}\n";
    let first = run(text, "20261123_0001", &[]).0;
    let record = fs::read(Path::new(first.trim_end()).join("build.json")).unwrap();
    let (again, said) = run(text, "20261123_0002", &[]);
    assert_eq!(again, first);
    assert!(said.contains("Nothing has changed since test/1.0/amd64/default 20261123_0001"), "{said}");
    let json = run(text, "20261123_0003", &["--format", "json"]).0;
    let document: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((document["result"].as_str(), document["serial"].as_str()), (Some("unchanged"), Some("20261123_0001")));
    assert_eq!(fs::read(Path::new(first.trim_end()).join("build.json")).unwrap(), record);
    let parent = Path::new(first.trim_end()).parent().unwrap();
    assert_eq!(fs::read_dir(parent).unwrap().count(), 1, "something was left beside the build");
    assert!(run(text, "20261123_0004", &["--force"]).0.contains("20261123_0004"));
    assert!(run(&text.replace("one", "two"), "20261123_0005", &[]).0.contains("20261123_0005"));
    assert!(run(&text.replace("one", "two"), "20261123_0006", &["-o", "image.expiry=2d"]).0.contains("20261123_0006"));
}

#[test]
fn a_copied_file_counts_with_its_content() {
    let Some(world) = World::new() else { return };
    fs::write(world.path("copied"), "one").unwrap();
    let text = "files:\n- {generator: copy, path: /etc/copied, source: copied}\n";
    let serial = |serial| {
        let mut command = builder();
        command.arg("build").arg(world.spec(text)).arg("--output").arg(world.path("out")).arg("--cache");
        command.arg(world.path("cache")).args(["--formats", "lxc", "--xz-level", "0", "--serial", serial]);
        output_of(&command.assert().success()).0
    };
    assert!(serial("20261123_0001").contains("20261123_0001"));
    assert!(serial("20261123_0002").contains("20261123_0001"));
    fs::write(world.path("copied"), "two").unwrap();
    assert!(serial("20261123_0003").contains("20261123_0003"));
}

#[test]
fn a_cache_that_is_somebody_elses_directory_is_refused_and_pruning_takes_only_what_is_ours() {
    let (Some(world), true) = (World::new(), can_pack()) else { return };
    let spec = world.spec("");
    fs::create_dir(world.path("photos")).unwrap();
    fs::write(world.path("photos/holiday.jpg"), "mine").unwrap();
    let mut command = builder();
    command.arg("build").arg(&spec).arg("--cache").arg(world.path("photos")).arg("--output").arg(world.path("out"));
    let refused = output_of(&command.args(["--formats", "lxc"]).assert().code(1)).1;
    assert!(refused.contains("`holiday.jpg`") && refused.contains("hint: "), "{refused}");
    assert_eq!(fs::read_dir(world.path("photos")).unwrap().count(), 1);

    build(&world, &spec, "20261123_0001", &[]);
    fs::write(world.path("cache/stages/v1/holiday"), "mine").unwrap();
    let cache = |words: &[&str]| {
        let mut command = builder();
        let done = command.arg("cache").args(words).arg("--cache").arg(world.path("cache")).assert().success();
        output_of(&done).0
    };
    assert!(cache(&["list"]).contains("unpack of test/1.0/amd64/default"));
    assert!(cache(&["prune", "--older-than", "1d"]).lines().count() <= 1);
    assert!(cache(&["prune", "--max-size", "0", "--dry-run"]).contains("unpack of"));
    assert!(cache(&["list"]).contains("unpack of"));
    assert!(cache(&["prune", "--max-size", "0"]).contains("unpack of"));
    assert!(!cache(&["list"]).contains("unpack of"));
    assert_eq!(fs::read_to_string(world.path("cache/stages/v1/holiday")).unwrap(), "mine");
    let (_, stages) = build(&world, &spec, "20261123_0002", &[]);
    assert_eq!(stages["unpack"], "ran");
}
