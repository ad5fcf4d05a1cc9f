//! A running server stays fresh: it serves what others publish and signs again in time.

use std::time::{Duration, Instant};

use testkit::FakeImage;

use crate::support::{Server, World};

fn serial(server: &Server) -> u64 {
    let index: serde_json::Value = serde_json::from_slice(&server.get("/streams/v1/index.json").body).unwrap();
    index["serial"].as_u64().unwrap()
}

fn wait_for(what: &str, seconds: u64, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen within {seconds} s");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_server_that_was_given_nothing_makes_what_it_needs_and_says_so() {
    let world = World::new();
    let server = world.serve_with(&["--allow-plain"]);
    assert_eq!(server.get("/healthz").text(), "ok\n");
    let said = server.log();
    for words in ["Made the repository key", "Made the compat key", "Published generation", "ca.pem", "remote add"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(said.contains(&world.fingerprint("repository")));
}

#[test]
fn what_another_process_publishes_is_served() {
    let world = World::publishing(&[FakeImage::new("debian/trixie/amd64/default").serial("20261122_0000")]);
    let server = world.serve();
    let before = serial(&server);
    world.import(&FakeImage::new("debian/trixie/amd64/default").serial("20261123_0522"));
    world.run(&["publish"]).succeeds();
    wait_for("the new generation", 10, || serial(&server) > before);
    assert!(server.get("/meta/1.0/index-user.7").text().contains("20261123_0522"));
    assert!(server.get("/meta/1.0/index-user").text().contains("20261123_0522"));
}

#[test]
fn a_server_signs_again_at_a_quarter_of_the_validity() {
    let world = World::publishing(&[FakeImage::new("debian/trixie/amd64/default")]);
    let server = world.serve_with(&["--allow-plain", "--validity", "8s"]);
    world.run(&["publish", "--validity", "8s"]).succeeds();
    let index = server.get("/meta/1.0/index-user").body;
    let first = serial(&server);
    for _ in 0..4 {
        let before = serial(&server);
        wait_for("another signature", 20, || serial(&server) > before);
    }
    assert!(serial(&server) > first + 4, "generations carry the time of their publication");
    assert_eq!(server.get("/meta/1.0/index-user").body, index, "what did not change has the same bytes");
    let generations = std::fs::read_dir(world.data().join("generations")).unwrap().count();
    assert!(generations <= 5, "old generations are removed: {generations} are there");
}

#[test]
fn a_generation_that_is_still_fresh_is_served_as_it_is() {
    let world = World::publishing(&[FakeImage::new("debian/trixie/amd64/default")]);
    let before = world.current();
    let server = world.serve();
    assert_eq!(serial(&server).to_string(), before.file_name().unwrap().to_str().unwrap());
    assert_eq!(world.current(), before);
}
