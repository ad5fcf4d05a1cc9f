//! `cache warm` does what it can of several images, and says what it could not.

use testkit::FakeImage;

use crate::world::{Claims, Fault, Host, Server, bookworm, path_of, serial};
use formats::record::BuildFile;

fn alpine() -> FakeImage {
    FakeImage::new("alpine/3.20/amd64/default").serial(&serial(0)).alias("alpine")
}

/// A host with two remotes.
fn with_two_remotes(home: &Server, work: &Server) -> Host {
    let host = Host::new();
    let remote = |name: &str, server: &Server| {
        format!("[remotes.{name}]\nurl = \"{}\"\nfingerprint = \"{}\"\n", server.url(), server.fingerprint())
    };
    host.configure(&format!("default_remote = \"home\"\n{}{}", remote("home", home), remote("work", work)));
    host
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn an_image_that_fails_does_not_keep_the_others_cold() {
    let server = Server::publishing(&[alpine(), bookworm()]);
    let path = path_of(&alpine(), BuildFile::RootfsTarXz);
    let mut altered = server.get(&path);
    *altered.last_mut().unwrap() ^= 1;
    server.put(&path, altered);
    let host = Host::trusting(&server);
    let said = host.run("-q cache warm alpine debian/12 nowhere").refuses("error: cannot warm `alpine`");
    assert!(said.stderr.contains("error: cannot warm `nowhere`") && said.stderr.contains("sha256"), "{}", said.stderr);
    assert_eq!(said.stdout, format!("debian/bookworm/amd64/default@{}\n", serial(0)));
    let said = host.run("-q cache warm alpine debian/12 --format json").refuses("");
    let rows = json(&said.stdout);
    assert!(rows[0]["serial"].is_null() && rows[0]["error"].as_str().unwrap().contains("sha256"), "{rows}");
    assert_eq!((&rows[1]["serial"], &rows[1]["error"]), (&serial(0).into(), &serde_json::Value::Null));
}

#[test]
fn without_a_name_the_cached_images_of_every_remote_are_warmed_and_the_gravest_failure_is_the_status() {
    let (home, work) = (Server::publishing(&[bookworm()]), Server::publishing(&[alpine()]));
    let host = with_two_remotes(&home, &work);
    host.run("fetch debian/12").succeeds();
    host.run("fetch work:alpine").succeeds();
    let said = host.run("cache warm").succeeds();
    assert_eq!(said.stdout.lines().count(), 2, "{}", said.stdout);
    let of_one = host.run("cache warm --remote work").succeeds();
    assert_eq!(of_one.stdout, format!("alpine/3.20/amd64/default@{}\n", serial(0)));
    home.fails(Some(Fault::Gone));
    let said = host.run("-q cache warm");
    assert_eq!((said.code, said.stdout), (2, of_one.stdout), "{}", said.stderr);
    assert!(said.stderr.contains("error: cannot warm `debian/bookworm/amd64/default`"), "{}", said.stderr);
}

#[test]
fn a_server_that_does_not_answer_is_waited_for_once() {
    let (home, work) = (Server::publishing(&[alpine(), bookworm()]), Server::publishing(&[alpine()]));
    let host = with_two_remotes(&home, &work);
    for image in ["alpine", "debian/12", "work:alpine"] {
        host.run(&format!("fetch {image}")).succeeds();
    }
    home.fails(Some(Fault::Gone));
    let said = host.run("-q cache warm");
    assert_eq!((said.code, said.stdout.lines().count()), (2, 1), "{}{}", said.stdout, said.stderr);
    assert_eq!(said.stderr.matches("error: cannot warm").count(), 2, "{}", said.stderr);
    assert_eq!(
        said.stderr.matches(&format!("`{}` did not answer a moment ago", home.url())).count(),
        1,
        "{}",
        said.stderr
    );
}

#[test]
fn what_a_newer_build_replaced_is_removed_when_asked() {
    let old = bookworm().serial(&serial(60)).file("srv/old", "x");
    let mut server = Server::publishing(std::slice::from_ref(&old));
    let host = Host::trusting(&server);
    host.run("fetch debian/12").succeeds();
    server.add(bookworm(), Claims::fresh(5));
    host.run("cache warm").succeeds();
    assert!(host.cached(&old, BuildFile::RootfsTarXz).exists());
    host.run("cache warm --prune").succeeds();
    assert!(!host.cached(&old, BuildFile::RootfsTarXz).exists());
    assert!(host.cached(&bookworm(), BuildFile::RootfsTarXz).exists());
}

#[test]
fn fetch_and_verify_speak_json() {
    let server = Server::publishing(&[bookworm()]);
    let host = Host::trusting(&server);
    let image = serde_json::json!({ "image": "debian/bookworm/amd64/default", "serial": serial(0) });
    assert_eq!(json(&host.run("fetch debian/12 --format json").succeeds().stdout), image);
    let verdicts = |said: &str| json(said)[0]["sound"].clone();
    assert_eq!(verdicts(&host.run("cache verify --format json").succeeds().stdout), true);
    std::fs::write(host.cached(&bookworm(), BuildFile::RootfsTarXz), "damaged").unwrap();
    assert_eq!(verdicts(&host.run("cache verify --format json").refuses("").stdout), false);
}
