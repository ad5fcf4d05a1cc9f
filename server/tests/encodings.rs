//! JSON documents are sent compressed to those who ask, and nothing else ever is.

use testkit::FakeImage;

use crate::support::{World, need, run};

#[test]
fn json_documents_are_compressed_for_those_who_ask_each_form_with_its_own_tag() {
    let images = ["debian/trixie/amd64/default", "debian/trixie/amd64/cloud", "debian/sid/amd64/default"];
    let world = World::publishing(&images.map(|id| FakeImage::new(id).incus()));
    let server = world.serve();
    let path = "/streams/v1/images.json";
    let plain = server.get(path);
    assert_eq!((plain.header("content-encoding"), plain.header("vary")), (None, Some("Accept-Encoding")));
    let gzip = server.get_with(path, &[("Accept-Encoding", "gzip")]);
    let zstd = server.get_with(path, &[("Accept-Encoding", "gzip, zstd")]);
    assert_eq!((gzip.header("content-encoding"), zstd.header("content-encoding")), (Some("gzip"), Some("zstd")));
    assert!(gzip.body.len() < plain.body.len() / 2 && zstd.body.len() < plain.body.len() / 2);
    assert!(gzip.body.starts_with(b"\x1f\x8b") && zstd.body.starts_with(b"\x28\xb5\x2f\xfd"));
    let tags = [&plain, &gzip, &zstd].map(|answer| answer.header("etag").unwrap().to_owned());
    assert!(tags[0] != tags[1] && tags[1] != tags[2] && tags[0] != tags[2]);
    let known = |encoding: &str, tag: &str| {
        server.get_with(path, &[("Accept-Encoding", encoding), ("If-None-Match", tag)]).status
    };
    assert_eq!((known("gzip", &tags[1]), known("gzip", &tags[0]), known("identity", &tags[0])), (304, 200, 304));
    let part = server.get_with(path, &[("Accept-Encoding", "gzip"), ("Range", "bytes=0-9")]);
    assert_eq!((part.status, part.header("content-encoding"), &*part.body), (206, None, &plain.body[..10]));
    for path in [
        "/meta/1.0/index-user",
        "/streams/v1/index.sjson",
        "/images/debian/trixie/amd64/default/20260101_0000/rootfs.tar.xz",
        "/images/debian/trixie/amd64/default/20260101_0000/build.json",
    ] {
        let answer = server.get_with(path, &[("Accept-Encoding", "gzip, zstd")]);
        assert_eq!((answer.status, answer.header("content-encoding")), (200, None), "{path}");
    }
}

#[test]
fn curl_unpacks_what_it_asked_for_to_the_document() {
    need!("curl");
    let world = World::publishing(&[FakeImage::new("debian/trixie/amd64/default").incus()]);
    let server = world.serve();
    let url = format!("{}/streams/v1/images.json", server.url);
    let mut curl = std::process::Command::new("curl");
    curl.args(["-sS", "--compressed", "--cacert"]).arg(&server.ca).arg(url);
    assert_eq!(run(&mut curl).succeeds().stdout, server.get("/streams/v1/images.json").text());
}
