//! Hosts that have a build get the next one through a delta that was proven to work, or in full; nothing else is offered.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use formats::delta::DeltaKind;
use formats::digest::FileDigest;
use formats::streams::{Item, Products, Version};
use testkit::FakeImage;

use crate::support::{World, files_below, need, run};

const IMAGE: &str = "debian/trixie/amd64/default";
const PRODUCT: &str = "debian:trixie:amd64:default";
const OLD: &str = "20261121_0522";
const MIDDLE: &str = "20261122_0522";
const NEW: &str = "20261123_0522";

/// Bytes that cannot be compressed, the same for the same seed.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..20_000).flat_map(|_| next()).collect()
}

/// A build with a large file that all builds share and a small one of its own.
fn build(serial: &str) -> FakeImage {
    FakeImage::new(IMAGE)
        .serial(serial)
        .incus()
        .file("usr/lib/large", noise(1))
        .file("etc/motd", format!("of {serial}\n"))
}

fn versions(world: &World, channel: &str) -> std::collections::BTreeMap<String, Version> {
    let products: Products = serde_json::from_str(&world.products(channel)).unwrap();
    products.products[PRODUCT].versions.clone()
}

/// The deltas of a build in a channel: kind, base, item.
fn listed(world: &World, channel: &str, serial: &str) -> Vec<(DeltaKind, String, Item)> {
    let version = &versions(world, channel)[serial];
    let of = |kind| version.deltas(kind).map(move |(base, item)| (kind, base.to_string(), item.clone()));
    DeltaKind::ALL.into_iter().flat_map(of).collect()
}

fn delta_files(world: &World) -> Vec<String> {
    let files = files_below(&world.data().join("images"));
    let name = |path: &String| path.rsplit('/').next().unwrap().to_owned();
    files.iter().map(name).filter(|name| DeltaKind::parse_file_name(name).is_some()).collect()
}

fn stdout_to(path: &Path, program: &str, args: &[&str]) {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(fs::File::create(path).unwrap());
    assert!(command.status().unwrap().success(), "{command:?}");
}

#[test]
fn the_deltas_that_are_listed_make_the_new_files_from_the_old_ones_with_the_tools_of_others() {
    need!("xdelta3", "zstd", "xz");
    let world = World::publishing(&[build(OLD), build(NEW)]);
    let server = world.serve();
    let deltas = listed(&world, "", NEW);
    assert_eq!(
        deltas.iter().map(|(kind, base, _)| (*kind, base.as_str())).collect::<Vec<_>>(),
        [(DeltaKind::Tar, OLD), (DeltaKind::Squashfs, OLD)]
    );
    assert_eq!(listed(&world, "", OLD), []);
    let file = |serial: &str, name: &str| world.data().join(format!("images/{IMAGE}/{serial}/{name}"));
    for (kind, _, item) in deltas {
        let answer = server.get(&format!("/{}", item.path));
        assert_eq!((answer.status, FileDigest::of(&answer.body)), (200, item.digest));
        assert_eq!(answer.header("content-length"), Some(&*item.digest.size_bytes.to_string()));
        assert!(answer.header("cache-control").unwrap().contains("immutable"));
        let [delta, base, wanted, result] = ["delta", "base", "wanted", "result"].map(|name| world.path(name));
        fs::write(&delta, answer.body).unwrap();
        let name = |path: &PathBuf| path.to_str().unwrap().to_owned();
        match kind {
            DeltaKind::Tar => {
                stdout_to(&base, "xz", &["-dc", file(OLD, "rootfs.tar.xz").to_str().unwrap()]);
                stdout_to(&wanted, "xz", &["-dc", file(NEW, "rootfs.tar.xz").to_str().unwrap()]);
                let patch = format!("--patch-from={}", name(&base));
                run(Command::new("zstd").args(["-q", "-d", "--long=31", &patch]).arg(&delta).arg("-o").arg(&result))
                    .succeeds();
                let tar = versions(&world, "")[NEW].items["rootfs.tar.xz"].tar.unwrap();
                assert_eq!(FileDigest::of(&fs::read(&result).unwrap()), tar);
            }
            DeltaKind::Squashfs => {
                fs::copy(file(NEW, "rootfs.squashfs"), &wanted).unwrap();
                let base = file(OLD, "rootfs.squashfs");
                run(Command::new("xdelta3").args(["-f", "-d", "-s"]).arg(base).arg(&delta).arg(&result)).succeeds();
            }
        }
        assert_eq!(fs::read(&result).unwrap(), fs::read(&wanted).unwrap(), "{kind:?}");
    }
}

#[test]
fn a_delta_that_saves_too_little_is_neither_listed_nor_kept_nor_tried_again() {
    let other = FakeImage::new(IMAGE).serial(NEW).incus().file("usr/lib/large", noise(2));
    let world = World::publishing(&[build(OLD), other]);
    assert_eq!(listed(&world, "", NEW), []);
    assert_eq!(delta_files(&world), [] as [&str; 0]);
    let again = world.run(&["delta"]).succeeds();
    assert!(again.stderr.contains("No new delta") && !again.stderr.contains("Not worth"), "{again}");
}

#[test]
fn an_unchanged_rootfs_needs_no_delta_of_ours_and_a_tiny_one_for_incus() {
    need!("xdelta3");
    let same = |serial| FakeImage::new(IMAGE).serial(serial).incus().file("usr/lib/large", noise(1));
    let world = World::publishing(&[same(OLD), same(NEW)]);
    let versions = versions(&world, "");
    let tar = |serial: &str| versions[serial].items["rootfs.tar.xz"].tar;
    assert_eq!(tar(OLD), tar(NEW));
    let deltas = listed(&world, "", NEW);
    let [(DeltaKind::Squashfs, _, item)] = deltas.as_slice() else { panic!("{deltas:?}") };
    assert!(item.digest.size_bytes < 200, "{item:?}");
}

#[test]
fn a_build_has_one_delta_of_each_kind_in_every_channel_and_it_starts_from_a_build_of_that_channel() {
    need!("xdelta3");
    let world = World::new();
    let import = |serial: &str, channel: &str| {
        run(world.command().args(["import", "--channel", channel]).arg(world.build(&build(serial)))).succeeds();
    };
    for (channel, serials) in [("staging", [OLD, MIDDLE, NEW].as_slice()), ("stable", &[OLD, NEW])] {
        for serial in serials {
            import(serial, channel);
        }
    }
    world.run(&["publish"]).succeeds();
    for (channel, base) in [("", OLD), ("c/staging/", MIDDLE)] {
        let deltas = listed(&world, channel, NEW);
        let bases: Vec<_> = deltas.iter().map(|(kind, base, _)| (*kind, base.as_str())).collect();
        assert_eq!(bases, [(DeltaKind::Tar, base), (DeltaKind::Squashfs, base)], "{channel}");
    }
}

#[test]
fn a_delta_goes_when_its_base_goes_and_not_before() {
    need!("xdelta3");
    let world = World::publishing(&[build(OLD), build(NEW)]);
    let server = world.serve();
    let paths: Vec<_> = listed(&world, "", NEW).into_iter().map(|(_, _, item)| item.path).collect();
    assert_eq!(paths.len(), 2);
    world.run(&["prune", "--keep", "1"]).succeeds();
    assert_eq!(listed(&world, "", NEW), [], "the base is no longer a version of the product");
    for path in &paths {
        assert_eq!(server.get(&format!("/{path}")).status, 200, "an index of today may still be in use");
    }
    world.run(&["prune", "--keep", "1", "--grace", "0s"]).succeeds();
    for path in &paths {
        assert_eq!(server.get(&format!("/{path}")).status, 404);
    }
    assert_eq!(delta_files(&world), [] as [&str; 0]);
}

#[test]
fn a_damaged_delta_is_found_and_made_again_and_its_build_stays() {
    need!("xdelta3");
    let world = World::publishing(&[build(OLD), build(NEW)]);
    let (_, _, item) = listed(&world, "", NEW).remove(0);
    let path = world.data().join(&item.path);
    let mut bytes = fs::read(&path).unwrap();
    bytes[5] ^= 1;
    fs::write(&path, bytes).unwrap();
    let outcome = world.run(&["verify"]).fails_with(1, "damaged files: 1");
    assert!(outcome.stdout.contains("rootfs.tar.20261121_0522.zst: expected"), "{outcome}");
    assert_eq!(listed(&world, "", NEW).len(), 1);
    assert!(!path.exists());
    let again = world.run(&["delta"]).succeeds();
    assert!(again.stdout.contains("rootfs.tar.20261121_0522.zst"), "{again}");
    world.run(&["publish"]).succeeds();
    assert_eq!(listed(&world, "", NEW).len(), 2);
    world.run(&["verify"]).succeeds();
}

#[test]
fn a_file_named_like_a_delta_that_is_on_no_list_is_not_served() {
    let world = World::publishing(&[build(OLD), build(NEW)]);
    let path = format!("images/{IMAGE}/{NEW}/rootfs.tar.20261120_0522.zst");
    fs::write(world.data().join(&path), "planted").unwrap();
    assert_eq!(world.serve().get(&format!("/{path}")).status, 404);
}

#[test]
fn deltas_killed_anywhere_are_made_by_the_next_run() {
    for checkpoint in ["delta:made", "delta:placed"] {
        let world = World::new();
        for serial in [OLD, NEW] {
            run(world.command().args(["import", "--no-delta"]).arg(world.build(&build(serial)))).succeeds();
        }
        assert_eq!(delta_files(&world), [] as [&str; 0]);
        let mut command = world.command();
        command.arg("delta").env("ROOTCELLAR_CHECKPOINT", checkpoint).stdout(Stdio::null()).stderr(Stdio::null());
        assert_eq!(command.status().unwrap().signal(), Some(9), "{checkpoint}");
        world.run(&["publish"]).succeeds();
        assert_eq!(listed(&world, "", NEW), [], "{checkpoint}");
        let outcome = world.run(&["delta", IMAGE]).succeeds();
        assert!(outcome.stdout.contains("rootfs.tar.20261121_0522.zst"), "{checkpoint}: {outcome}");
        world.run(&["publish"]).succeeds();
        assert!(listed(&world, "", NEW).iter().any(|(kind, _, _)| *kind == DeltaKind::Tar), "{checkpoint}");
        assert_eq!(files_below(&world.data().join("making")), [] as [&str; 0]);
    }
}
