//! A build reaches a channel by one flip, and leaves it by one.

use testkit::FakeImage;

use crate::support::{World, run};

const IMAGE: &str = "debian/trixie/amd64/default";

fn staged(serials: &[&str]) -> World {
    let world = World::new();
    for serial in serials {
        let build = world.build(&FakeImage::new(IMAGE).serial(serial));
        run(world.command().args(["import", "--channel", "staging"]).arg(build)).succeeds();
    }
    world.run(&["publish"]).succeeds();
    world
}

/// The serial that stock templates of a channel get.
fn offered(world: &World, prefix: &str) -> String {
    let index = std::fs::read_to_string(world.current().join(format!("{prefix}meta/1.0/index-system.7"))).unwrap();
    index.trim().rsplit('/').nth(1).unwrap_or_default().to_owned()
}

fn generation(world: &World) -> u64 {
    world.current().file_name().unwrap().to_str().unwrap().parse().unwrap()
}

#[test]
fn promote_takes_the_newest_staged_build_and_rollback_the_one_before_each_by_one_flip() {
    let world = staged(&["20261122_0522"]);
    assert_eq!(offered(&world, ""), "");
    world.run(&["promote", IMAGE, "--to", "stable"]).succeeds();
    assert_eq!(offered(&world, ""), "20261122_0522");
    let build = world.build(&FakeImage::new(IMAGE).serial("20261123_0522"));
    run(world.command().args(["import", "--channel", "staging"]).arg(build)).succeeds();
    let outcome = world.run(&["promote", IMAGE, "--to", "stable"]).succeeds();
    assert_eq!(outcome.stdout, format!("{IMAGE}@20261123_0522\n"));
    let before = generation(&world);
    assert_eq!(offered(&world, ""), "20261123_0522");
    world.run(&["rollback", "stable"]).succeeds();
    assert_eq!(offered(&world, ""), "20261122_0522");
    assert_eq!(offered(&world, "c/staging/"), "20261123_0522");
    // Clients refuse an older serial, so going back is a newer generation too.
    assert!(generation(&world) > before);
    world.run(&["rollback", "stable"]).fails_with(1, "channel `stable` has no selection before this one");
    assert_eq!(offered(&world, ""), "20261122_0522");
}

#[test]
fn an_older_build_can_be_promoted_and_is_what_clients_get() {
    let world = staged(&["20261122_0522", "20261123_0522"]);
    world.run(&["promote", IMAGE, "--to", "stable"]).succeeds();
    world.run(&["promote", &format!("{IMAGE}@20261122_0522"), "--to", "stable"]).succeeds();
    assert_eq!(offered(&world, ""), "20261122_0522");
    let list = |channel: &str| world.run(&["list", "--channel", channel, "--format", "json"]).succeeds().stdout;
    assert!(!list("stable").contains("20261123_0522") && list("staging").contains("20261123_0522"));
}

#[test]
fn what_a_channel_does_not_have_is_not_promoted() {
    let world = staged(&["20261122_0522"]);
    let build = format!("{IMAGE}@20261122_0522");
    let none = "channel `stable` has no ";
    world.run(&["promote", &build, "--from", "stable", "--to", "staging"]).fails_with(1, none);
    let other = "debian/bookworm/amd64/default";
    world.run(&["promote", other, "--to", "stable"]).fails_with(1, "channel `staging` has no debian/bookworm");
    let missing = format!("{IMAGE}@20261101_0522");
    world.run(&["promote", &missing, "--to", "stable"]).fails_with(1, "the store has no ");
}
