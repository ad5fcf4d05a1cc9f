//! A channel is a prefix of the URL that stock clients can use.

use testkit::FakeImage;

use crate::support::{World, run};

#[test]
fn a_channel_offers_its_own_builds_below_its_prefix() {
    let world = World::publishing(&[FakeImage::new("debian/trixie/amd64/default").serial("20261122_0000")]);
    let new = world.build(&FakeImage::new("debian/trixie/amd64/default").serial("20261123_0522"));
    run(world.command().args(["import", "--channel", "staging"]).arg(new)).succeeds();
    world.run(&["publish"]).succeeds();
    let server = world.serve();

    let index = |prefix: &str| server.get(&format!("{prefix}//meta/1.0/index-system.7")).text();
    assert!(index("").contains("20261122_0000") && !index("").contains("20261123_0522"));
    assert_eq!(index("/c/stable"), index(""));
    assert!(index("/c/staging").contains("20261123_0522") && !index("/c/staging").contains("20261122_0000"));

    let signed = server.get("/c/staging/streams/v1/index.sjson").text();
    assert!(signed.contains("\"channel\": \"staging\""), "{signed}");
    // Clients join the URL of the remote and the paths that documents name.
    let json = server.get("/c/staging/streams/v1/index.json");
    let json: serde_json::Value = serde_json::from_slice(&json.body).unwrap();
    let products = server.get(&format!("/c/staging/{}", json["index"]["debian"]["path"].as_str().unwrap()));
    assert_eq!(products.status, 200);
    let products: serde_json::Value = serde_json::from_slice(&products.body).unwrap();
    let versions = &products["products"]["debian:trixie:amd64:default"]["versions"];
    let path = versions["20261123_0522"]["items"]["rootfs.tar.xz"]["path"].as_str().unwrap();
    assert_eq!(server.get(&format!("/c/staging/{path}")).status, 200);
    assert_eq!(server.get(&format!("/c/staging//{path}.asc")).status, 200);
    let key = format!("/c/staging/keys/{}.pgp", world.fingerprint("repository"));
    assert_eq!(server.get(&key).status, 200);
}

#[test]
fn an_empty_server_publishes_a_signed_index_of_nothing() {
    let world = World::publishing(&[]);
    let server = world.serve();
    assert_eq!(server.get("/meta/1.0/index-user.7").text(), "");
    assert!(server.get("/streams/v1/index.sjson").text().contains("\"index\": {}"));
}
