//! Killed at any point, the server's data is as before or as after, and the next run goes on from there.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use testkit::FakeImage;

use crate::support::{World, files_below, run};

fn image(serial: &str) -> FakeImage {
    FakeImage::new("debian/trixie/amd64/default").serial(serial)
}

/// Runs a command that is killed at a checkpoint.
fn kill_at(world: &World, checkpoint: &str, args: &[&str]) {
    let mut command = world.command();
    command.args(args).env("ROOTCELLAR_CHECKPOINT", checkpoint).stdout(Stdio::null()).stderr(Stdio::null());
    let status = command.status().unwrap();
    assert_eq!(status.signal(), Some(9), "{checkpoint} was not reached: {status:?}");
}

#[test]
fn an_import_killed_before_the_rename_left_nothing_in_the_store() {
    let world = World::new();
    let build = world.build(&image("20261123_0522"));
    kill_at(&world, "import:staged", &["import", build.to_str().unwrap()]);
    assert_eq!(files_below(&world.data().join("images")), [] as [&str; 0]);
    let outcome = run(world.command().arg("import").arg(&build)).succeeds();
    assert!(outcome.stderr.contains("Imported"), "{outcome}");
    assert_eq!(files_below(&world.data().join("staging")), [] as [&str; 0]);
}

#[test]
fn an_import_killed_after_the_rename_is_completed_by_the_next() {
    let world = World::new();
    let build = world.build(&image("20261123_0522"));
    kill_at(&world, "import:renamed", &["import", build.to_str().unwrap()]);
    world.run(&["verify"]).succeeds();
    let outcome = run(world.command().arg("import").arg(&build)).succeeds();
    assert!(outcome.stderr.contains("Already there, now also offered"), "{outcome}");
    let list = world.run(&["list", "--format", "json"]).succeeds().stdout;
    assert!(list.contains("stable"), "{list}");
}

#[test]
fn a_publish_killed_anywhere_leaves_the_old_generation_or_the_new_one() {
    let world = World::publishing(&[image("20261122_0000")]);
    world.import(&image("20261123_0522"));
    for (checkpoint, is_new) in [("publish:written", false), ("publish:before-flip", false), ("publish:flipped", true)]
    {
        let old = world.current();
        kill_at(&world, checkpoint, &["publish"]);
        let now = world.current();
        assert_eq!(now != old, is_new, "{checkpoint}");
        let signed = files_below(&now).iter().filter_map(|name| name.strip_suffix(".asc")).count();
        assert_eq!(signed, 2 * 16, "{checkpoint}");
        let index = fs::read_to_string(now.join("meta/1.0/index-system")).unwrap();
        let serial = if is_new { "20261123_0522" } else { "20261122_0000" };
        assert!(index.contains(serial), "{checkpoint}: {index}");
    }
    world.run(&["publish"]).succeeds();
    assert_eq!(files_below(&world.data().join("staging")), [] as [&str; 0]);
    let mut generations: Vec<_> = fs::read_dir(world.data().join("generations")).unwrap().collect();
    let newest = generations.drain(..).map(|entry| entry.unwrap().path()).max().unwrap();
    assert_eq!(newest, world.current(), "a generation that was never current is left");
}

#[test]
fn a_promote_killed_before_its_publish_left_clients_the_old_selection_and_the_next_publish_completes_it() {
    let world = World::publishing(&[image("20261122_0000")]);
    let build = world.build(&image("20261123_0522"));
    run(world.command().args(["import", "--channel", "staging"]).arg(&build)).succeeds();
    let old = world.current();
    kill_at(&world, "promote:selected", &["promote", "debian/trixie/amd64/default", "--to", "stable"]);
    assert_eq!(world.current(), old);
    world.run(&["publish"]).succeeds();
    let index = fs::read_to_string(world.current().join("meta/1.0/index-system")).unwrap();
    assert!(index.contains("20261123_0522"), "{index}");
    world.run(&["rollback", "stable"]).succeeds();
    let index = fs::read_to_string(world.current().join("meta/1.0/index-system")).unwrap();
    assert!(index.contains("20261122_0000"), "{index}");
}

#[test]
fn a_prune_killed_anywhere_lists_nothing_that_is_gone_and_the_next_one_finishes() {
    for checkpoint in ["publish:before-flip", "publish:flipped", "prune:unlisted", "prune:removed-one"] {
        let serials = ["20261120_0000", "20261121_0000", "20261122_0000", "20261123_0522"];
        let world = World::publishing(&serials.map(image));
        kill_at(&world, checkpoint, &["prune", "--keep", "1", "--grace", "0s"]);
        let images = world.products("");
        let store = world.data().join("images/debian/trixie/amd64/default");
        for serial in serials.iter().filter(|serial| images.contains(**serial)) {
            assert!(store.join(serial).join("rootfs.tar.xz").is_file(), "{checkpoint}: {serial} is listed and gone");
        }
        world.run(&["verify"]).succeeds();
        world.run(&["prune", "--keep", "1", "--grace", "0s"]).succeeds();
        let left: Vec<_> = fs::read_dir(&store).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["20261123_0522"], "{checkpoint}");
        assert_eq!(files_below(&world.data().join("staging")), [] as [&str; 0], "{checkpoint}");
    }
}
