//! What we pack GNU tar unpacks, and what GNU tar packs we unpack, with nothing lost.

#![allow(clippy::unwrap_used, reason = "these are tests")]

#[path = "common/tree.rs"]
mod tree;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use formats::time::Timestamp;
use rootcellar_archive::pack::{PackOptions, pack_tree};
use rootcellar_archive::unpack::{DevicePolicy, Excludes, UnpackOptions, UnpackSummary, unpack};
use tree::{Tree, assert_same, build, in_whole_seconds, is_root, look, without_links_to_nodes};

#[test]
fn patterns_leave_out_what_gnu_tar_leaves_out() {
    if !can_compare() {
        return;
    }
    let world = World::new();
    let tar = world.pack_ours();
    // Nothing that another member is a hard link to.
    let patterns =
        "./null\n./disk\n./etc/deep\n./n*\n./etc/[hl]*\n./ta?\t*\n\nmail\n./etc/m*y-parts\n./\\*\n./zz*\n./z-*\n";
    let list = world.dir.path().join("patterns");
    fs::write(&list, patterns).unwrap();
    let (by_us, by_gnu) = (world.empty("by-us"), world.empty("by-gnu"));
    let options = UnpackOptions {
        // GNU tar takes `mail` to mean no member called `./mail`; we do not care for the `./`.
        excludes: Excludes::from_lines(patterns.replace("mail", "").as_bytes()),
        ..UnpackOptions::for_this_process().unwrap()
    };
    let summary = unpack(fs::File::open(&tar).unwrap(), &by_us, &options).unwrap();
    let mut command = Command::new("tar");
    command.args(["--anchored", "--numeric-owner", "--xattrs-include=*", "-X"]).arg(&list).arg("-xpf");
    run(command.arg(&tar).arg("-C").arg(&by_gnu));
    assert_same(&look(&by_us), &look(&by_gnu), "left out");
    assert!(summary.excluded > 10, "{summary:?}");
}

const NEWEST: i64 = 1_000_050_000;

struct World {
    dir: tempfile::TempDir,
    original: Tree,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("tree")).unwrap();
        build(&dir.path().join("tree"));
        let original = look(&dir.path().join("tree"));
        Self { dir, original }
    }

    fn empty(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::create_dir(&path).unwrap();
        path
    }

    fn pack_ours(&self) -> PathBuf {
        let out = self.dir.path().join("ours.tar");
        let options = PackOptions::new(Timestamp::from_unix(NEWEST));
        let summary = pack_tree(&self.dir.path().join("tree"), fs::File::create(&out).unwrap(), &options).unwrap();
        assert_eq!(summary.entries, self.original.len() as u64);
        out
    }

    fn pack_gnu(&self, options: &[&str]) -> PathBuf {
        let out = self.dir.path().join("gnu.tar");
        let mut tar = Command::new("tar");
        tar.args(["--xattrs", "--acls", "--numeric-owner"]).args(options).arg("-cf").arg(&out);
        run(tar.arg("-C").arg(self.dir.path().join("tree")).arg("."));
        out
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn unpack_gnu(tar: &Path, dest: &Path) {
    let mut command = Command::new("tar");
    command.args(["--numeric-owner", "--xattrs", "--xattrs-include=*", "--acls", "-xpf"]);
    run(command.arg(tar).arg("-C").arg(dest));
}

fn unpack_ours(tar: &Path, dest: &Path) -> UnpackSummary {
    let options = UnpackOptions::for_this_process().unwrap();
    unpack(fs::File::open(tar).unwrap(), dest, &options).unwrap()
}

/// Whether this machine can be the yardstick; says so when it cannot.
fn can_compare() -> bool {
    let tar = Command::new("tar").arg("--version").output();
    let is_gnu = tar.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("GNU tar"));
    if !is_gnu {
        testkit::skip("no GNU tar on this machine");
    } else if !is_root() {
        testkit::skip("only root can restore owners");
    }
    is_gnu && is_root()
}

#[test]
fn what_we_pack_both_unpack_to_the_same_tree() {
    if !can_compare() {
        return;
    }
    let world = World::new();
    let tar = world.pack_ours();
    let expected = in_whole_seconds(world.original.clone(), NEWEST);
    let (by_us, by_gnu) = (world.empty("by-us"), world.empty("by-gnu"));
    let summary = unpack_ours(&tar, &by_us);
    assert_same(&look(&by_us), &expected, "packed by us, unpacked by us");
    assert_eq!((summary.entries, summary.attributes_skipped), (world.original.len() as u64, 0));
    unpack_gnu(&tar, &by_gnu);
    assert_same(&look(&by_gnu), &expected, "packed by us, unpacked by GNU tar");

    // As the stock template of LXC runs it.
    let by_template = world.empty("by-template");
    let mut command = Command::new("tar");
    command.args(["--anchored", "--numeric-owner", "--xattrs-include=*", "-xpf"]);
    run(command.arg(&tar).arg("-C").arg(&by_template));
    assert_same(&look(&by_template), &expected, "packed by us, unpacked as the stock template does");
}

#[test]
fn what_gnu_tar_packs_we_unpack_to_the_same_tree_to_the_nanosecond() {
    if !can_compare() {
        return;
    }
    let world = World::new();
    let tar = world.pack_gnu(&["--format=posix"]);
    let (by_us, by_gnu) = (world.empty("by-us"), world.empty("by-gnu"));
    unpack_ours(&tar, &by_us);
    let expected = without_links_to_nodes(world.original);
    assert_same(&look(&by_us), &expected, "packed by GNU tar, unpacked by us");
    unpack_gnu(&tar, &by_gnu);
    assert_same(&look(&by_gnu), &expected, "packed by GNU tar, unpacked by GNU tar");
}

#[test]
fn every_sparse_format_of_gnu_tar_is_read() {
    if !can_compare() {
        return;
    }
    for format in ["0.0", "0.1", "1.0"] {
        let world = World::new();
        let tar = world.pack_gnu(&["--format=posix", "--sparse", &format!("--sparse-version={format}")]);
        assert!(fs::metadata(&tar).unwrap().len() < 8 << 20, "holes were stored");
        let by_us = world.empty("by-us");
        unpack_ours(&tar, &by_us);
        assert_same(&look(&by_us), &without_links_to_nodes(world.original), &format!("sparse format {format}"));
    }
}

#[test]
fn the_format_gnu_tar_had_before_is_read() {
    if !can_compare() {
        return;
    }
    let mut world = World::new();
    let out = world.dir.path().join("gnu.tar");
    let mut tar = Command::new("tar");
    tar.args(["--format=gnu", "--sparse", "--numeric-owner", "-cf"]).arg(&out);
    run(tar.arg("-C").arg(world.dir.path().join("tree")).arg("."));
    let by_us = world.empty("by-us");
    unpack_ours(&out, &by_us);
    // This format has no extended attributes and whole seconds.
    for seen in world.original.values_mut() {
        seen.xattrs.clear();
    }
    let mut found = in_whole_seconds(look(&by_us), i64::MAX);
    for seen in found.values_mut() {
        seen.xattrs.clear();
    }
    let expected = without_links_to_nodes(in_whole_seconds(world.original, i64::MAX));
    assert_same(&found, &expected, "GNU format");
}

#[test]
fn without_devices_everything_else_is_there() {
    if !can_compare() {
        return;
    }
    let world = World::new();
    let tar = world.pack_ours();
    let by_us = world.empty("by-us");
    let options = UnpackOptions { devices: DevicePolicy::Skip, ..UnpackOptions::for_this_process().unwrap() };
    let summary = unpack(fs::File::open(&tar).unwrap(), &by_us, &options).unwrap();
    let mut expected = in_whole_seconds(world.original, NEWEST);
    for name in ["null", "null-too", "disk"] {
        expected.remove(&Path::new(".").join(name));
    }
    assert_same(&look(&by_us), &expected, "devices skipped");
    assert_eq!(summary.devices_skipped, 3);
}
