//! A server's key is pinned once, by a person or by its fingerprint, and images are found by their names.

use testkit::FakeImage;

use crate::world::{Claims, Host, Server, bookworm, stranger};

#[test]
fn a_remote_is_added_by_its_fingerprint_and_used_by_its_name() {
    let server = Server::publishing(&[bookworm()]);
    let host = Host::new();
    host.run(&format!("remote add home {} --fingerprint {}", server.url(), server.fingerprint())).succeeds();
    host.run(&format!("remote add home {} --fingerprint {}", server.url(), server.fingerprint()))
        .refuses("already is a remote `home`");
    let said = host.run("remote list").succeeds();
    assert!(said.stdout.contains(&server.fingerprint()), "{}", said.stdout);
    host.run("info home:debian/12").succeeds();
    host.run("remote remove home").succeeds();
    host.run("info home:debian/12").refuses("there is no remote `home`");
}

#[test]
fn a_fingerprint_that_the_server_does_not_use_is_not_stored() {
    let server = Server::publishing(&[bookworm()]);
    let host = Host::new();
    let other = stranger().0.certificate().fingerprint().to_string();
    let said = host.run(&format!("remote add home {} --fingerprint {other}", server.url()));
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert!(!host.at("config/client.toml").exists());
}

#[test]
fn without_a_terminal_an_unknown_key_is_shown_with_the_command_that_pins_it() {
    let server = Server::publishing(&[bookworm()]);
    server.answer_key_lookups();
    let host = Host::new();
    let said = host.run(&format!("remote add home {}", server.url())).refuses("there is no terminal to ask on");
    let command = format!("rootcellar remote add home {} --fingerprint {}", server.url(), server.fingerprint());
    assert!(said.stderr.contains(&command), "{}", said.stderr);
    assert!(!host.at("config/client.toml").exists());
}

#[test]
fn a_new_key_is_used_only_after_it_was_pinned() {
    let mut server = Server::publishing(&[bookworm()]);
    let host = Host::trusting(&server);
    host.run("list").succeeds();
    server.key = stranger();
    server.publish(Claims::fresh(5));
    host.run("list").refuses("is signed by a key that is not pinned");
    host.run(&format!("remote trust default --fingerprint {}", server.fingerprint())).succeeds();
    host.run("list").succeeds();
}

#[test]
fn images_are_listed_by_pattern_and_as_json() {
    let server = Server::publishing(&[bookworm(), FakeImage::new("alpine/3.20/arm64/cloud")]);
    let host = Host::trusting(&server);
    let said = host.run("list debian").succeeds();
    assert!(
        said.stdout.contains("debian/bookworm/amd64/default") && !said.stdout.contains("alpine"),
        "{}",
        said.stdout
    );
    let said = host.run("list --format json").succeeds();
    let rows: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 2);
    assert_eq!(rows[0]["image"], "alpine/3.20/arm64/cloud");
}

#[test]
fn a_misspelt_image_is_answered_with_near_ones() {
    let server = Server::publishing(&[bookworm()]);
    let host = Host::trusting(&server);
    let said = host.run("fetch debian/bokworm").refuses("no image matches `debian/bokworm`");
    assert!(said.stderr.contains("hint: did you mean `debian/bookworm`"), "{}", said.stderr);
}

#[test]
fn without_any_remote_the_hint_says_how_to_add_one() {
    let said = Host::new().run("list").refuses("no remote is configured");
    assert!(said.stderr.contains("rootcellar remote add default"), "{}", said.stderr);
}
