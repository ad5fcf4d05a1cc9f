//! The commands say data on stdout, conversation on stderr, and end with the status that says who is to blame.

use std::fs;

use testkit::FakeImage;

use crate::support::{World, run};

#[test]
fn keys_are_made_once() {
    let world = World::new();
    world.run(&["keys", "show"]).fails_with(1, "hint: `rootcellar-server keys init` makes both");
    let first = world.run(&["keys", "init", "--name", "images.example.org"]).succeeds();
    assert!(first.stdout.starts_with("repository  ") && first.stdout.contains("\ncompat      "), "{first}");
    let second = world.run(&["keys", "init"]).succeeds();
    assert_eq!(second.stdout, first.stdout);
    assert_eq!(second.stderr.matches("exists already, and is kept").count(), 2, "{second}");
    let armored = world.run(&["keys", "export"]).succeeds().stdout;
    assert_eq!(armored.matches("-----BEGIN PGP PUBLIC KEY BLOCK-----").count(), 2);
    assert!(!armored.contains("PRIVATE"));
}

#[test]
fn import_and_publish_make_missing_keys_and_say_so() {
    let world = World::new();
    let outcome = world.run(&["publish"]).succeeds();
    assert!(outcome.stderr.contains("Made the repository key") && outcome.stderr.contains("valid until"), "{outcome}");
    let serial: u64 = outcome.stdout.trim().parse().unwrap();
    assert!(world.current().ends_with(serial.to_string()));
}

#[test]
fn a_listing_is_a_table_or_json() {
    let world = World::publishing(&[FakeImage::new("debian/trixie/amd64/default").serial("20261123_0522")]);
    let table = world.run(&["list"]).succeeds().stdout;
    assert!(table.starts_with("IMAGE ") && table.contains("debian/trixie/amd64/default  20261123_0522"), "{table}");
    let json: serde_json::Value = serde_json::from_str(&world.run(&["list", "--format", "json"]).stdout).unwrap();
    assert_eq!(json[0]["channels"], serde_json::json!(["stable"]));
    assert!(json[0]["size_bytes"].as_u64().unwrap() > 0);
}

#[test]
fn bad_input_is_status_1_and_a_machine_that_fails_is_status_2() {
    let world = World::new();
    world.run(&["import", "/nonexistent"]).fails_with(1, "hint: give a build directory");
    let config = world.path("server.toml");
    fs::write(&config, "listne = 1\n").unwrap();
    world.run(&["serve", "--config", config.to_str().unwrap()]).fails_with(1, "listne");
    world.run(&["serve", "--listen", "nowhere"]).fails_with(1, "cannot listen on `nowhere`");
    fs::write(world.path("file"), "").unwrap();
    let outcome = run(world.command().arg("--data").arg(world.path("file/below")).arg("list"));
    assert_eq!(outcome.status, Some(2), "{outcome}");
}

#[test]
fn a_configuration_file_is_heeded_and_a_flag_wins_over_it() {
    let world = World::publishing(&[]);
    let config = world.path("server.toml");
    fs::write(&config, "allow_plain = true\nlisten = \"256.0.0.1:1\"\nvalidity = \"4h\"\n").unwrap();
    let server = world.serve_with(&["--config", config.to_str().unwrap()]);
    assert_eq!(server.get("/healthz").status, 200);
    assert!(server.log().contains("4h, signed afresh"), "{}", server.log());
}

#[test]
fn a_damaged_channel_is_not_published_as_an_empty_one() {
    let world = World::publishing(&[FakeImage::new("debian/trixie/amd64/default")]);
    let before = world.current();
    fs::write(world.data().join("channels/stable.json"), "{").unwrap();
    world.run(&["publish"]).fails_with(2, "stable.json` is damaged");
    assert_eq!(world.current(), before);
}
