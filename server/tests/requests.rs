//! Requests of every kind of client get what they ask for.

use std::fs;

use testkit::FakeImage;

use crate::support::{Server, World, request};

const BUILD: &str = "/images/debian/trixie/amd64/default/20261123_0522";

fn server() -> (World, Server) {
    let image = FakeImage::new("debian/trixie/amd64/default").serial("20261123_0522").incus();
    // Without systemd, and so in every index.
    let world = World::publishing(&[image, FakeImage::new("alpine/3.20/amd64/default")]);
    let server = world.serve();
    (world, server)
}

fn stored(world: &World, name: &str) -> Vec<u8> {
    fs::read(world.data().join(&BUILD[1..]).join(name)).unwrap()
}

#[test]
fn paths_with_runs_of_slashes_and_escapes_are_the_same_paths() {
    let (world, server) = server();
    let index = fs::read(world.current().join("meta/1.0/index-system.7")).unwrap();
    for path in ["/meta/1.0/index-system.7", "//meta/1.0/index-system.7", "///meta//1.0/index%2Dsystem.7"] {
        assert_eq!(server.get(path).body, index, "{path}");
    }
    let rootfs = stored(&world, "rootfs.tar.xz");
    let double = format!("/{BUILD}//rootfs.tar.xz");
    for path in [double.clone(), double.replace("_0522", "%5F0522")] {
        assert_eq!(server.get(&path).body, rootfs, "{path}");
    }
    // Builds of other servers have colons in their names, which wget2 escapes.
    let colon = double.replace("_0522", "_05:22");
    assert_eq!([colon.clone(), colon.replace(':', "%3A")].map(|path| server.get(&path).status), [404, 404]);
}

#[test]
fn every_level_of_both_modes_has_an_index_and_a_signature() {
    let (_world, server) = server();
    for mode in ["system", "user"] {
        for suffix in ["", ".1", ".2", ".3", ".4", ".5", ".6", ".7"] {
            let index = server.get(&format!("//meta/1.0/index-{mode}{suffix}"));
            assert_eq!(index.status, 200, "{mode}{suffix}");
            let text = index.text();
            assert!(text.ends_with('\n') && text.lines().all(is_line_of_an_index), "{mode}{suffix}: {text:?}");
            let signature = server.get(&format!("//meta/1.0/index-{mode}{suffix}.asc"));
            assert!(signature.text().starts_with("-----BEGIN PGP SIGNATURE-----"), "{mode}{suffix}");
        }
    }
    assert!(server.get("//meta/1.0/index-system").text().ends_with("/20261123_0522/\n"));
}

/// What every template of the last decade can read: six fields, a path, and nothing that a shell would expand.
fn is_line_of_an_index(line: &str) -> bool {
    let fields: Vec<&str> = line.split(';').collect();
    let is_plain =
        |field: &&str| !field.is_empty() && field.chars().all(|c| c.is_ascii_graphic() && !r#"*?[]\%$`"'"#.contains(c));
    fields.len() == 6 && fields.iter().all(is_plain) && fields[5].starts_with('/') && fields[5].ends_with('/')
}

#[test]
fn ranges_are_cut_exactly_and_only_from_what_the_client_has() {
    let (world, server) = server();
    let path = format!("{BUILD}/rootfs.squashfs");
    let whole = stored(&world, "rootfs.squashfs");
    let answer = server.get_with(&path, &[("Range", "bytes=100-199")]);
    assert_eq!(answer.status, 206);
    assert_eq!(answer.body, whole[100..200]);
    assert_eq!(answer.header("content-range"), Some(&*format!("bytes 100-199/{}", whole.len())));
    assert_eq!(answer.header("content-length"), Some("100"));
    let etag = answer.header("etag").unwrap().to_owned();

    let rest = server.get_with(&path, &[("Range", "bytes=100-"), ("If-Range", &etag)]);
    assert_eq!((rest.status, rest.body.as_slice()), (206, &whole[100..]));
    let other = server.get_with(&path, &[("Range", "bytes=100-"), ("If-Range", "\"another\"")]);
    assert_eq!((other.status, other.body.as_slice()), (200, &whole[..]));
    let last = server.get_with(&path, &[("Range", "bytes=-7")]);
    assert_eq!(last.body, whole[whole.len() - 7..]);
    let beyond = server.get_with(&path, &[("Range", "bytes=999999999-")]);
    assert_eq!(beyond.status, 416);
    assert_eq!(beyond.header("content-range"), Some(&*format!("bytes */{}", whole.len())));
    let index = server.get_with("/meta/1.0/index-user", &[("Range", "bytes=0-5")]);
    assert_eq!(index.text(), "alpine");
}

#[test]
fn a_head_is_a_get_without_a_body() {
    let (world, server) = server();
    for path in [&format!("{BUILD}/rootfs.tar.xz"), "/streams/v1/index.sjson", "/meta/1.0/index-user.asc"] {
        let get = server.get(path);
        let head = format!("HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let head = request(server.address(), head.as_bytes());
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        for field in ["content-length", "etag", "last-modified", "content-type", "accept-ranges", "cache-control"] {
            assert_eq!(head.header(field), get.header(field), "{path} {field}");
            assert!(get.header(field).is_some(), "{path} {field}");
        }
        assert_eq!(get.header("content-encoding"), None);
    }
    let rootfs = server.get(&format!("{BUILD}/rootfs.tar.xz"));
    assert_eq!(rootfs.header("content-length"), Some(&*stored(&world, "rootfs.tar.xz").len().to_string()));
    assert!(rootfs.header("cache-control").unwrap().contains("immutable"));
    assert_eq!(rootfs.header("last-modified"), Some("Mon, 23 Nov 2026 05:22:00 GMT"));
}

#[test]
fn what_a_client_has_is_not_sent_again() {
    let (_world, server) = server();
    for path in [&format!("{BUILD}/meta.tar.xz"), &format!("{BUILD}/SHA256SUMS"), "/streams/v1/index.json"] {
        let first = server.get(path);
        let etag = first.header("etag").unwrap();
        let again = server.get_with(path, &[("If-None-Match", etag)]);
        assert_eq!((again.status, again.body.len(), again.header("etag")), (304, 0, Some(etag)), "{path}");
        let since = first.header("last-modified").unwrap();
        assert_eq!(server.get_with(path, &[("If-Modified-Since", since)]).status, 304, "{path}");
        assert_eq!(server.get_with(path, &[("If-None-Match", "\"another\"")]).status, 200, "{path}");
        let before = [("If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT")];
        assert_eq!(server.get_with(path, &before).status, 200, "{path}");
    }
}

#[test]
fn archives_are_never_encoded_whatever_a_client_accepts() {
    let (world, server) = server();
    for name in ["rootfs.tar.xz", "meta.tar.xz", "incus.tar.xz", "lxd.tar.xz", "rootfs.squashfs", "rootfs.tar.xz.asc"] {
        let accept = [("Accept-Encoding", "gzip, deflate, bzip2, xz, lzma, br, zstd, *")];
        let answer = server.get_with(&format!("{BUILD}/{name}"), &accept);
        assert_eq!(answer.header("content-encoding"), None, "{name}");
        assert_eq!(answer.body, stored(&world, name), "{name}");
    }
}

#[test]
fn a_client_of_http_1_0_is_answered_and_the_connection_closed() {
    let (_world, server) = server();
    let answer = request(server.address(), b"GET //meta/1.0/index-user HTTP/1.0\r\n\r\n");
    assert_eq!((answer.version(), answer.status), ("HTTP/1.0", 200));
    assert_eq!(answer.header("content-length"), Some(&*answer.body.len().to_string()));
    // Every body has a length: a client of HTTP/1.0 knows no chunks.
    for path in ["/", "/images/debian/trixie/amd64/default", "/streams/v1/images.json", "/nothing", "/%", "/healthz"] {
        let answer = request(server.address(), format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes());
        assert_eq!(answer.header("content-length"), Some(&*answer.body.len().to_string()), "{path}");
        assert_eq!(answer.header("transfer-encoding"), None, "{path}");
    }
    let head = request(server.address(), b"HEAD //meta/1.0/index-user HTTP/1.0\r\n\r\n");
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[test]
fn one_connection_serves_many_requests() {
    let (_world, server) = server();
    let one = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let last = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = request(server.address(), format!("{one}{one}{last}").as_bytes());
    assert_eq!(answer.text().matches("HTTP/1.1 200 OK").count(), 2);
}

#[test]
fn a_file_that_was_cut_short_in_the_store_is_an_error_and_not_an_answer() {
    let (world, server) = server();
    fs::write(world.data().join(&BUILD[1..]).join("rootfs.tar.xz"), "short").unwrap();
    let answer = server.get(&format!("{BUILD}/rootfs.tar.xz"));
    assert_eq!((answer.status, answer.text().as_str()), (500, "internal server error\n"));
}
