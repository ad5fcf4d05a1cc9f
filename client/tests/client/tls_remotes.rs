//! A server that signs nothing can be a remote, trusted for its TLS certificate; which is chosen in so many words, said
//! each time, and given up for a key.

use std::process::Command;

use crate::tls::Encrypted;
use crate::world::{Host, Said, Server, bookworm, is_root};

const WARNING: &str = "warning: nothing but its TLS certificate vouches for";

fn world() -> (Server, Host, Encrypted) {
    let (server, host) = (Server::publishing(&[bookworm()]), Host::new());
    server.publish_classic();
    let encrypted = server.encrypt(&host);
    (server, host, encrypted)
}

fn added() -> (Server, Host, Encrypted) {
    let (server, host, encrypted) = world();
    let line = format!("remote add classic {} --trust-tls --ca {}", encrypted.url, encrypted.ca.display());
    let said = host.run(&line).succeeds();
    assert!(said.stderr.contains(WARNING) && said.stderr.contains("none of them signed"), "{}", said.stderr);
    (server, host, encrypted)
}

#[test]
fn everything_works_through_it_and_the_trust_is_said_each_time() {
    let (server, host, encrypted) = added();
    let listed = host.run("remote list").succeeds().stdout;
    assert!(listed.contains("tls") && listed.contains(&encrypted.ca.display().to_string()), "{listed}");
    let json: serde_json::Value =
        serde_json::from_str(&host.run("remote list --format json").succeeds().stdout).unwrap();
    assert_eq!((&json[0]["trust"], &json[0]["fingerprint"]), (&"tls".into(), &serde_json::Value::Null));
    for line in ["list", "info debian/bookworm", "fetch classic:debian/bookworm", "list --remote classic"] {
        let said = host.run(line).succeeds();
        assert!(said.stderr.contains(WARNING) && said.stderr.contains("the remote was added with"), "{}", said.stderr);
        assert!(said.stdout.contains("debian/bookworm"), "{line}: {}", said.stdout);
    }
    assert_eq!(server.requests("index.sjson"), 0);
    let mut template = host.template();
    let listed = Said::of(&template.args(["--list"]).output().unwrap()).succeeds();
    assert!(listed.stdout.contains("bookworm") && listed.stderr.contains("nothing but its TLS"), "{}", listed.stderr);
    if is_root() {
        host.run("create c1 debian/bookworm").succeeds();
        assert!(host.at("containers/c1/rootfs").is_dir());
    }
}

#[test]
fn an_index_that_is_not_in_order_is_listed_in_order_and_each_image_once() {
    let (server, host, _) = added();
    let line = |image: &str, build: &str| format!("{image};default;{build};/images/x/\n");
    let index = [line("void;1;amd64", "1"), line("alpine;3;x86_64", "2"), line("alpine;3;amd64", "1")].concat();
    for (_, content) in server.files.lock().unwrap().iter_mut().filter(|(path, _)| path.starts_with("meta/")) {
        *content = index.clone().into_bytes();
    }
    let listed = host.run("list").succeeds().stdout;
    let rows: Vec<Vec<&str>> = listed.lines().skip(1).map(|row| row.split_whitespace().take(2).collect()).collect();
    assert_eq!(rows, [["alpine/3/amd64/default", "2"], ["void/1/amd64/default", "1"]]);
    let json: serde_json::Value = serde_json::from_str(&host.run("list --format json").succeeds().stdout).unwrap();
    assert_eq!((&json[0]["image"], &json[1]["image"]), (&rows[0][0].into(), &rows[1][0].into()));
}

#[test]
fn it_is_not_stored_without_tls_or_without_images_or_together_with_a_key() {
    let (server, host, encrypted) = world();
    host.run(&format!("remote add classic {} --trust-tls", server.url())).refuses("nothing vouches");
    host.run(&format!("remote add classic {} --trust-tls", encrypted.url)).refuses("UnknownIssuer");
    let key = "A".repeat(40);
    host.run(&format!("remote add classic {} --trust-tls --fingerprint {key}", encrypted.url))
        .refuses("cannot be used with");
    server.files.lock().unwrap().retain(|path, _| !path.starts_with("meta/"));
    host.run(&format!("remote add classic {} --trust-tls --ca {}", encrypted.url, encrypted.ca.display()))
        .refuses("index-");
    assert!(!host.at("config/client.toml").exists());
}

#[test]
fn a_key_that_is_pinned_later_takes_its_place() {
    let (server, host, _) = added();
    let said = host.run(&format!("remote trust classic --fingerprint {}", server.fingerprint())).succeeds();
    assert!(said.stderr.contains("until now for its TLS certificate alone"), "{}", said.stderr);
    let said = host.run("fetch classic:debian/12").succeeds();
    assert!(!said.stderr.contains("warning"), "{}", said.stderr);
    assert!(host.run("remote list").stdout.contains(&server.fingerprint()));
    let text = std::fs::read_to_string(host.at("config/client.toml")).unwrap();
    assert!(!text.contains("trust"), "{text}");
}

#[test]
fn a_remote_in_the_configuration_needs_a_key_or_the_word_that_does_without() {
    let host = Host::new();
    host.configure("[remotes.classic]\nurl = \"https://127.0.0.1:9\"\n");
    let said = host.run("remote list").refuses("cannot understand");
    assert!(said.stderr.contains("`trust = \"tls\"` to do without"), "{}", said.stderr);
    assert!(said.stderr.contains("hint: `rootcellar remote config-template`"), "{}", said.stderr);
}

#[test]
fn the_help_of_remote_add_says_what_doing_without_means() {
    let said = Said::of(&Command::new(crate::world::PROGRAM).args(["remote", "add", "--help"]).output().unwrap());
    assert!(said.succeeds().stdout.contains("without any signature"));
}
