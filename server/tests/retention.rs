//! Old builds are forgotten, but never while a client may hold an index that names them, and never the last one.

use std::fs;

use testkit::FakeImage;

use crate::support::{Server, World, files_below};

const IMAGE: &str = "debian/trixie/amd64/default";
const SERIALS: [&str; 4] = ["20261120_0522", "20261121_0522", "20261122_0522", "20261123_0522"];

fn world() -> World {
    World::publishing(&SERIALS.map(|serial| FakeImage::new(IMAGE).serial(serial)))
}

fn stored(world: &World) -> Vec<String> {
    let records = files_below(&world.data().join("images"));
    let records = records.iter().filter_map(|path| path.strip_suffix("/build.json"));
    records.filter_map(|path| path.rsplit('/').next().map(str::to_owned)).collect()
}

/// Every file that an index names, as a client that read it would ask for it.
fn files_of(server: &Server) -> Vec<String> {
    let images: serde_json::Value = serde_json::from_slice(&server.get("/streams/v1/images.json").body).unwrap();
    let versions = images["products"]["debian:trixie:amd64:default"]["versions"].as_object().unwrap().clone();
    let items = versions.values().flat_map(|version| version["items"].as_object().unwrap().values());
    items.map(|item| item["path"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_client_that_holds_the_old_index_gets_every_file_it_names() {
    let world = world();
    let server = world.serve();
    let old = files_of(&server);
    assert_eq!(old.len(), 4 * 3);
    let outcome = world.run(&["prune", "--keep", "1"]).succeeds();
    assert_eq!(outcome.stdout.matches("left its channels").count(), 3, "{outcome}");
    let again = world.run(&["prune", "--keep", "1"]).succeeds();
    assert_eq!(again.stdout, "");
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(files_of(&server).len(), 3, "the new index names one build");
    for path in old {
        assert_eq!(server.get(&format!("/{path}")).status, 200, "{path}");
    }
    // Once nobody can hold that index, they go.
    let outcome = world.run(&["prune", "--keep", "1", "--grace", "0s"]).succeeds();
    assert_eq!(outcome.stdout.matches(": removed").count(), 3, "{outcome}");
    assert_eq!(stored(&world), [SERIALS[3]]);
    assert_eq!(files_below(&world.data().join("staging")), [] as [&str; 0]);
}

#[test]
fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let world = world();
    let before = files_below(&world.data());
    let outcome = world.run(&["prune", "--dry-run", "--keep", "1", "--grace", "0s"]).succeeds();
    assert_eq!(outcome.stdout.matches("would leave its channels").count(), 3, "{outcome}");
    assert_eq!(files_below(&world.data()), before);
}

#[test]
fn pinned_builds_stay_until_they_are_unpinned() {
    let world = world();
    let pinned = format!("{IMAGE}@{}", SERIALS[0]);
    world.run(&["pin", &pinned]).succeeds();
    world.run(&["prune", "--keep", "1", "--grace", "0s"]).succeeds();
    assert_eq!(stored(&world), [SERIALS[0], SERIALS[3]]);
    world.run(&["unpin", &pinned]).succeeds();
    world.run(&["unpin", &pinned]).fails_with(1, "is not pinned");
    world.run(&["prune", "--keep", "1", "--grace", "0s"]).succeeds();
    assert_eq!(stored(&world), [SERIALS[3]]);
}

#[test]
fn the_configuration_says_what_is_kept_and_a_flag_wins() {
    let world = world();
    fs::write(world.path("server.toml"), "keep = 2\ngrace = \"0s\"\n").unwrap();
    let config = world.path("server.toml");
    world.run(&["prune", "--config", config.to_str().unwrap(), "--keep", "3"]).succeeds();
    assert_eq!(stored(&world).len(), 3);
    world.run(&["prune", "--config", config.to_str().unwrap()]).succeeds();
    assert_eq!(stored(&world).len(), 2);
}

#[test]
fn a_pruned_build_does_not_come_back_by_a_rollback() {
    let world = World::publishing(&[FakeImage::new(IMAGE).serial(SERIALS[0])]);
    for serial in &SERIALS[1..] {
        world.import(&FakeImage::new(IMAGE).serial(serial));
        world.run(&["publish"]).succeeds();
    }
    world.run(&["prune", "--keep", "2", "--grace", "0s"]).succeeds();
    world.run(&["rollback", "stable"]).succeeds();
    let list = world.run(&["list", "--channel", "stable", "--format", "json"]).succeeds().stdout;
    assert!(list.contains(SERIALS[2]) && !list.contains(SERIALS[3]) && !list.contains(SERIALS[1]), "{list}");
}
