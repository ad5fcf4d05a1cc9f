//! Hostile requests get exact refusals, and nothing leaks.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use testkit::FakeImage;

use crate::support::{Server, World, request};

fn server() -> (World, Server) {
    let image = FakeImage::new("debian/trixie/amd64/default").serial("20261123_0522");
    let world = World::publishing(&[image]);
    let server = world.serve();
    (world, server)
}

#[test]
fn no_path_leads_out_of_the_repository() {
    let (_world, server) = server();
    for (path, status) in [
        ("/../../../../etc/passwd", 400),
        ("/images/../keys/compat.secret.pgp", 400),
        ("/images/debian/trixie/amd64/default/20261123_0522/../../../../../../keys/compat.secret.pgp", 400),
        ("/%2e%2e/%2e%2e/etc/passwd", 400),
        ("/..%2f..%2f..%2fetc%2fpasswd", 400),
        ("/..%5c..%5cetc", 400),
        ("/images/%00", 400),
        ("/%", 400),
        ("/%zz", 400),
        ("/%c0%ae%c0%ae/etc/passwd", 400),
        ("/%252e%252e/etc/passwd", 404),
        ("/keys/compat.secret.pgp", 404),
        ("/keys/", 404),
        ("/tls/ca.key.pem", 404),
        ("/tls/ca.pem", 404),
        ("/staging/", 404),
        ("/channels/stable.json", 404),
        ("/current/meta/1.0/index-user", 404),
        ("/generations/", 404),
        ("/lock", 404),
        ("/images/", 404),
        ("/images/debian/trixie/amd64/default/20261123_0522/", 404),
        ("/images/debian/trixie/amd64/default/20261123_0522/build.log", 404),
        ("/images/debian/trixie/amd64/default/20261124_0522/rootfs.tar.xz", 404),
        ("/c/../keys/compat.secret.pgp", 400),
        ("/c/nobody/streams/v1/index.json", 404),
        ("/c/nobody/images/debian/trixie/amd64/default/20261123_0522/rootfs.tar.xz", 404),
        ("/c/", 404),
        ("/meta/1.0/index-user.8", 404),
        ("/pks/lookup", 400),
        ("/pks/lookup?op=get&search=../../etc/passwd", 404),
    ] {
        let answer = server.get(path);
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        let phrase = if status == 400 { "bad request\n" } else { "not found\n" };
        assert_eq!(answer.text(), phrase, "{path}");
    }
}

#[test]
fn other_methods_are_refused_and_told_which_ones_are_not() {
    let (_world, server) = server();
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
        let text = format!("{method} /meta/1.0/index-user HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let answer = request(server.address(), text.as_bytes());
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
}

#[test]
fn a_body_that_never_comes_is_not_waited_for() {
    let (_world, server) = server();
    for method in ["GET", "POST", "PUT"] {
        let started = Instant::now();
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        let head = format!("{method} /meta/1.0/index-user HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nx");
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let status = if method == "GET" { "HTTP/1.1 200" } else { "HTTP/1.1 405" };
        assert!(answer.starts_with(status.as_bytes()), "{method}: {}", String::from_utf8_lossy(&answer));
        assert!(started.elapsed() < Duration::from_secs(40), "{method}: kept for {:?}", started.elapsed());
    }
}

#[test]
fn heads_that_are_too_large_or_no_http_are_refused() {
    let (_world, server) = server();
    let huge = format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "a".repeat(100_000));
    assert_eq!(request(server.address(), huge.as_bytes()).status, 431);
    let many = format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: a\r\n".repeat(1000));
    assert_eq!(request(server.address(), many.as_bytes()).status, 431);
    for text in ["GET /\u{7f} HTTP/1.1\r\n\r\n", "\r\n\r\nhello\r\n\r\n", "GET / HTTP/9.9\r\n\r\n"] {
        assert_eq!(request(server.address(), text.as_bytes()).status, 400, "{text:?}");
    }
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn a_client_that_never_finishes_its_request_is_cut_off_and_others_are_served_meanwhile() {
    let (_world, server) = server();
    let started = Instant::now();
    let mut slow: Vec<TcpStream> = [&b"GET / HT"[..], b"", b"\x16\x03\x01"]
        .iter()
        .map(|bytes| {
            let mut stream = TcpStream::connect(server.address()).unwrap();
            stream.write_all(bytes).unwrap();
            stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
            stream
        })
        .collect();
    assert_eq!(server.get("/healthz").status, 200);
    for stream in &mut slow {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(!rest.starts_with(b"HTTP/1.1 200"), "{rest:?}");
    }
    assert!(started.elapsed() < Duration::from_secs(40), "slow clients were kept for {:?}", started.elapsed());
}

#[test]
fn the_log_shows_what_a_client_sent_in_one_plain_line() {
    let (_world, server) = server();
    server.get_with("/nothing", &[("User-Agent", "lxc/1.0 \u{9b}31mcompat:7")]);
    let deadline = Instant::now() + Duration::from_secs(10);
    while !server.log().contains("GET /nothing") {
        assert!(Instant::now() < deadline, "{}", server.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    let log = server.log();
    let line = log.lines().find(|line| line.contains("GET /nothing")).unwrap();
    assert!(line.contains("status=404") && line.contains("compat:7") && !line.contains('\u{9b}'), "{line:?}");
}
