//! A publish makes again what changed and takes over the rest, and what comes of it is what a publish of everything
//! makes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use formats::record::BuildFile;
use formats::streams::{Products, StreamsIndex};
use testkit::FakeImage;

use crate::support::{World, files_below};

const DEBIAN: &str = "debian/trixie/amd64/default";
const ALPINE: &str = "alpine/3.20/amd64/default";

fn world() -> World {
    World::publishing(&[DEBIAN, ALPINE].map(|image| FakeImage::new(image).serial("20261122_0522").incus()))
}

fn products(world: &World, distribution: &str) -> PathBuf {
    let index: StreamsIndex =
        serde_json::from_slice(&fs::read(world.current().join("streams/v1/index.json")).unwrap()).unwrap();
    world.current().join(&index.index[distribution].path)
}

fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

/// Every document but those that carry the time of their publication.
fn timeless(world: &World) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for path in files_below(&world.current()) {
        if ![".asc", "streams/v1/index.json", "streams/v1/index.sjson"].iter().any(|end| path.ends_with(end)) {
            all.insert(path.clone(), fs::read(world.current().join(path)).unwrap());
        }
    }
    all
}

#[test]
fn what_changed_is_made_again_and_the_rest_is_the_same_file() {
    let world = world();
    let [alpine, debian] = ["alpine", "debian"].map(|name| inode(&products(&world, name)));
    world.import(&FakeImage::new(DEBIAN).serial("20261123_0522").incus());
    world.run(&["publish"]).succeeds();
    assert_eq!(inode(&products(&world, "alpine")), alpine);
    assert_ne!(inode(&products(&world, "debian")), debian);
    let made = timeless(&world);
    fs::remove_dir_all(world.data().join("rendered")).unwrap();
    world.run(&["publish"]).succeeds();
    assert_ne!(inode(&products(&world, "alpine")), alpine, "without notes everything is made again");
    assert_eq!(timeless(&world), made);
    let index = String::from_utf8(made["meta/1.0/index-user"].clone()).unwrap();
    assert!(index.contains("alpine;") && index.contains("20261123_0522") && index.lines().count() == 2, "{index}");
}

#[test]
fn a_note_that_is_damaged_or_about_another_generation_is_not_believed() {
    let world = world();
    let made = timeless(&world);
    let note = world.data().join("rendered/stable/alpine.json");
    let good = fs::read_to_string(&note).unwrap();
    let other = good.replacen("\"sha256\":\"", "\"sha256\":\"0000", 1);
    let (start, rest) = other.split_once("\"sha256\":\"").unwrap();
    let other = format!("{start}\"sha256\":\"{}{}", &rest[..64], &rest[68..]);
    assert_ne!(other, good);
    for lie in ["", "{", &other] {
        fs::write(&note, lie).unwrap();
        world.run(&["publish"]).succeeds();
        assert_eq!(timeless(&world), made);
        assert_eq!(fs::read_to_string(&note).unwrap(), good);
    }
}

#[test]
fn a_distribution_that_left_is_in_no_document_and_its_products_stay_for_those_who_hold_an_index() {
    let world = world();
    let alpine = products(&world, "alpine");
    let name = alpine.file_name().unwrap().to_owned();
    fs::write(
        world.data().join("channels/stable.json"),
        format!(r#"{{"format":"rootcellar-channel:2","builds":["{DEBIAN}@20261122_0522"]}}"#),
    )
    .unwrap();
    world.run(&["publish"]).succeeds();
    assert!(!world.products("").contains("alpine"));
    assert!(!fs::read_to_string(world.current().join("meta/1.0/index-system.7")).unwrap().contains("alpine"));
    assert!(world.current().join("streams/v1").join(&name).is_file());
    let server = world.serve();
    assert_eq!(server.get(&format!("/streams/v1/{}", name.to_str().unwrap())).status, 200);
    assert!(!server.get("/streams/v1/images.json").text().contains("alpine"));
}

#[test]
fn of_images_with_one_fingerprint_in_two_distributions_the_newest_is_offered_to_incus() {
    let world = world();
    // The same files under the name of another distribution and an older serial.
    let build = world.build(&FakeImage::new(DEBIAN).serial("20261122_0522").incus());
    let record = fs::read_to_string(build.join("build.json")).unwrap();
    fs::write(
        build.join("build.json"),
        record.replace(DEBIAN, "ours/trixie/amd64/default").replace("20261122_0522", "20261121_0522"),
    )
    .unwrap();
    world.run(&["import", build.to_str().unwrap()]).succeeds();
    for _ in 0..2 {
        let outcome = world.run(&["publish"]).succeeds();
        assert!(outcome.stderr.contains("have the same fingerprint"), "{outcome}");
        let read =
            |name: &str| -> Products { serde_json::from_slice(&fs::read(products(&world, name)).unwrap()).unwrap() };
        for (name, image, serial, expected) in [
            ("debian", "debian:trixie:amd64:default", "20261122_0522", true),
            ("ours", "ours:trixie:amd64:default", "20261121_0522", false),
        ] {
            let products = read(name);
            let version = &products.products[image].versions[serial];
            assert_eq!(version.item(BuildFile::IncusTarXz).is_some(), expected, "{name}");
            assert!(version.item(BuildFile::RootfsTarXz).is_some());
        }
    }
}

#[test]
fn images_json_is_all_products_files_in_one() {
    let world = world();
    let server = world.serve();
    let answer = server.get("/streams/v1/images.json");
    let images: Products = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(
        images.products.keys().collect::<Vec<_>>(),
        ["alpine:3.20:amd64:default", "debian:trixie:amd64:default"]
    );
    let part = server.get_with("/streams/v1/images.json", &[("Range", "bytes=50-1999")]);
    assert_eq!((part.status, &*part.body), (206, &answer.body[50..2000]));
    assert_eq!(server.get("/c/staging/streams/v1/images.json").text().matches("\"products\":{}").count(), 1);
}
