//! A damaged build is found, moved aside and no longer listed.

use std::fs;

use testkit::FakeImage;

use crate::support::{World, files_below};

const IMAGE: &str = "debian/trixie/amd64/default";

fn world() -> World {
    World::publishing(&["20261122_0522", "20261123_0522"].map(|serial| FakeImage::new(IMAGE).serial(serial)))
}

/// What is damaged in the newer build, and how.
fn damaged(damage: impl FnOnce(&std::path::Path)) {
    let world = world();
    let directory = world.data().join(format!("images/{IMAGE}/20261123_0522"));
    damage(&directory);
    world.run(&["verify", "--dry-run"]).fails_with(1, "damaged files: 1");
    assert!(directory.is_dir());
    let outcome = world.run(&["verify"]).fails_with(1, "quarantine");
    assert!(outcome.stdout.contains(&format!("{IMAGE}@20261123_0522")), "{outcome}");
    assert!(!directory.exists());
    assert!(!files_below(&world.data().join(format!("quarantine/{IMAGE}/20261123_0522"))).is_empty());
    let index = fs::read_to_string(world.current().join("meta/1.0/index-system.7")).unwrap();
    assert!(index.contains("20261122_0522") && !index.contains("20261123_0522"), "{index}");
    assert!(!world.products("").contains("20261123_0522"));
    world.run(&["verify"]).succeeds();
    // It comes back whole.
    world.import(&FakeImage::new(IMAGE).serial("20261123_0522"));
    world.run(&["verify"]).succeeds();
}

#[test]
fn a_build_with_one_flipped_bit_is_quarantined() {
    damaged(|directory| {
        let path = directory.join("rootfs.tar.xz");
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    });
}

#[test]
fn a_build_that_lost_a_file_is_quarantined() {
    damaged(|directory| fs::remove_file(directory.join("meta.tar.xz")).unwrap());
}

#[test]
fn a_build_whose_record_is_cut_off_is_quarantined() {
    damaged(|directory| fs::write(directory.join("build.json"), "{").unwrap());
}

#[test]
fn a_store_without_damage_is_left_alone() {
    let world = world();
    let before = files_below(&world.data());
    world.run(&["verify"]).succeeds();
    assert_eq!(files_below(&world.data()), before);
}
