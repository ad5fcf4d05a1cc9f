//! TLS with a certificate that real clients accept, on one port with plain HTTP where that is allowed.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use testkit::FakeImage;

use crate::support::{Connection, Outcome, Server, World, need, request, run};

fn world() -> World {
    World::publishing(&[FakeImage::new("debian/trixie/amd64/default").serial("20261123_0522")])
}

fn curl(server: &Server, args: &[&str], path: &str) -> Outcome {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--cacert"]).arg(&server.ca).args(args).arg(format!("{}{path}", server.url));
    run(&mut curl)
}

#[test]
fn curl_is_served_over_tls_1_2_and_1_3_and_http_1_and_2() {
    need!("curl");
    let world = world();
    let server = world.serve_with(&[]);
    let format = "%{http_version} %{http_code}";
    for (args, version) in [
        (["--tls-max", "1.2", "--http1.1"].as_slice(), "1.1"),
        (&["--tlsv1.3", "--http1.1"], "1.1"),
        (&["--tlsv1.3", "--http2"], "2"),
    ] {
        let args = [args, &["-o", "/dev/null", "-w", format]].concat();
        let outcome = curl(&server, &args, "//meta/1.0/index-user.7").succeeds();
        assert_eq!(outcome.stdout, format!("{version} 200"));
    }
    assert_eq!(curl(&server, &["--tls-max", "1.1"], "/healthz").status, Some(35));
}

#[test]
fn over_http_2_everything_is_as_over_http_1() {
    need!("curl");
    let world = world();
    let server = world.serve_with(&[]);
    let build = "/images/debian/trixie/amd64/default/20261123_0522";
    let whole = std::fs::read(world.data().join(&build[1..]).join("rootfs.tar.xz")).unwrap();
    let head = |args: &[&str], path: &str| {
        let args = [&["--http2", "--path-as-is", "-D", "-", "-o", "/dev/null"], args].concat();
        curl(&server, &args, path).succeeds().stdout.to_lowercase()
    };
    let rootfs = format!("/{build}//rootfs.tar.xz");
    let length = format!("content-length: {}\r", whole.len());
    for (args, path, wanted) in [
        (&[][..], &*rootfs, vec!["http/2 200", &length, "accept-ranges: bytes"]),
        (&["-I"], &rootfs, vec!["http/2 200", &length]),
        (&["-r", "10-19"], &rootfs, vec!["http/2 206", "content-length: 10\r", "content-range: bytes 10-19/"]),
        (&["-r", "999999999-"], &rootfs, vec!["http/2 416", "content-range: bytes */"]),
        (&["-H", "If-Modified-Since: Mon, 23 Nov 2026 05:22:00 GMT"], &rootfs, vec!["http/2 304"]),
        (&["-H", "If-Modified-Since: Mon, 23 Nov 2026 05:21:59 GMT"], &rootfs, vec!["http/2 200"]),
        (&["-H", "Accept-Encoding: gzip"], "//meta/1.0/index-system.7", vec!["http/2 200", "content-length: "]),
        (&["-X", "DELETE"], "/meta/1.0/index-user", vec!["http/2 405", "allow: get, head"]),
        (&[], "/../../etc/passwd", vec!["http/2 400"]),
        (&[], "/nothing", vec!["http/2 404"]),
    ] {
        let head = head(args, path);
        assert!(wanted.iter().all(|field| head.contains(field)), "{args:?} {path}: {head}");
        assert!(!head.contains("content-encoding") && !head.contains("transfer-encoding"), "{path}: {head}");
    }
    let large = format!("X: {}", "a".repeat(100_000));
    let refused = curl(&server, &["--http2", "-H", &large, "-o", "/dev/null", "-w", "%{http_code}"], "/healthz");
    assert!(refused.stdout == "431" || refused.status != Some(0), "{refused}");
    curl(&server, &["--http2"], "/healthz").succeeds();
}

#[test]
fn wget_trusts_the_private_authority_and_nobody_does_unasked() {
    need!("wget");
    let world = world();
    let server = world.serve_with(&[]);
    let url = format!("{}//images/debian/trixie/amd64/default/20261123_0522//rootfs.tar.xz", server.url);
    let wget = || {
        let mut wget = Command::new("wget");
        wget.args(["-q", "--tries=1", "-O"]).arg(world.path("rootfs")).arg(&url);
        wget
    };
    let rc = world.path("wgetrc");
    std::fs::write(&rc, format!("ca_certificate = {}\n", server.ca.display())).unwrap();
    run(wget().env("WGETRC", rc)).succeeds();
    let image = FakeImage::new("debian/trixie/amd64/default").serial("20261123_0522");
    assert_eq!(&std::fs::read(world.path("rootfs")).unwrap(), image.files().values().next().unwrap());
    assert_ne!(run(&mut wget()).status, Some(0));
}

#[test]
fn the_certificate_names_localhost_and_further_names_and_survives_a_restart() {
    need!("curl");
    let world = world();
    let server = world.serve_with(&["--name", "images.example.org"]);
    let port = server.address().rsplit(':').next().unwrap().to_owned();
    for name in ["localhost", "images.example.org"] {
        let resolve = format!("{name}:{port}:127.0.0.1");
        let url = format!("https://{name}:{port}/healthz");
        let mut curl = Command::new("curl");
        run(curl.args(["-sS", "--cacert"]).arg(&server.ca).args(["--resolve", &resolve, &url])).succeeds();
    }
    let ca = std::fs::read(&server.ca).unwrap();
    drop(server);
    let server = world.serve_with(&[]);
    assert_eq!(std::fs::read(&server.ca).unwrap(), ca);
    curl(&server, &[], "/healthz").succeeds();
}

#[test]
fn plain_http_is_answered_on_the_tls_port_only_when_allowed() {
    need!("curl");
    let world = world();
    let server = world.serve_with(&[]);
    let plain = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert_ne!(request(server.address(), plain).status, 200);
    drop(server);
    let server = world.serve_with(&["--allow-plain"]);
    assert_eq!(request(server.address(), plain).status, 200);
    curl(&server, &[], "/healthz").succeeds();
}

#[test]
fn a_given_certificate_is_used_and_no_authority_is_made() {
    need!("curl", "openssl");
    let world = world();
    let (certificate, key) = (world.path("c.pem"), world.path("k.pem"));
    make_certificate(&certificate, &key);
    let [given, secret] = [&certificate, &key].map(|path| path.to_str().unwrap());
    let mut server = world.serve_with(&["--tls-cert", given, "--tls-key", secret]);
    assert!(!server.ca.exists());
    server.ca = certificate;
    curl(&server, &[], "/healthz").succeeds();
}

#[test]
fn a_renewed_certificate_is_used_after_sighup_and_connections_under_way_go_on() {
    need!("curl", "openssl");
    let world = world();
    let (certificate, key) = (world.path("c.pem"), world.path("k.pem"));
    make_certificate(&certificate, &key);
    let [given, secret] = [&certificate, &key].map(|path| path.to_str().unwrap());
    let mut server = world.serve_with(&["--tls-cert", given, "--tls-key", secret, "--allow-plain"]);
    let mut under_way = Connection::open(server.address());
    assert_eq!(under_way.get("/healthz").status, 200);
    let old = world.path("old.pem");
    std::fs::rename(&certificate, &old).unwrap();
    std::fs::write(&certificate, "half a certificate").unwrap();
    hang_up(&server, "The TLS certificate stays the one before");
    server.ca.clone_from(&old);
    curl(&server, &[], "/healthz").succeeds();

    make_certificate(&certificate, &key);
    hang_up(&server, "The TLS certificate was read again");
    assert_ne!(curl(&server, &[], "/healthz").status, Some(0), "the old certificate is still used");
    server.ca = certificate;
    curl(&server, &[], "/healthz").succeeds();
    assert_eq!(under_way.get("/healthz").status, 200);
}

#[test]
fn curl_resumes_a_download_and_does_not_fetch_twice_what_it_has() {
    need!("curl");
    let world = world();
    let server = world.serve_with(&[]);
    let path = "/images/debian/trixie/amd64/default/20261123_0522/rootfs.tar.xz";
    let whole = std::fs::read(world.data().join(&path[1..])).unwrap();
    let (file, etag) = (world.path("rootfs"), world.path("etag"));
    let [name, tag] = [&file, &etag].map(|path| path.to_str().unwrap().to_owned());
    let format = "%{http_code} %{size_download}";
    let fetch = |args: &[&str]| curl(&server, &[&["-o", &name, "-w", format], args].concat(), path).succeeds().stdout;

    std::fs::write(&file, &whole[..100]).unwrap();
    assert_eq!(fetch(&["-C", "-"]), format!("206 {}", whole.len() - 100));
    assert_eq!(std::fs::read(&file).unwrap(), whole);
    assert_eq!(fetch(&["--etag-save", &tag]), format!("200 {}", whole.len()));
    assert_eq!(fetch(&["--etag-compare", &tag]), "304 0");
    assert_eq!(fetch(&["-z", "Mon, 23 Nov 2026 05:22:00 GMT"]), "304 0");
    assert_eq!(fetch(&["-r", "5-9"]), "206 5");
    assert_eq!(std::fs::read(&file).unwrap(), whole[5..10]);
}

/// Sends SIGHUP and waits until the server says what came of it.
fn hang_up(server: &Server, words: &str) {
    run(Command::new("kill").arg("-HUP").arg(server.id().to_string())).succeeds();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !server.log().contains(words) {
        assert!(Instant::now() < deadline, "expected `{words}` in {}", server.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Makes a certificate for 127.0.0.1 that signs itself.
fn make_certificate(certificate: &Path, key: &Path) {
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]);
    openssl.args(["-subj", "/CN=given", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout"]).arg(key);
    run(openssl.arg("-out").arg(certificate)).succeeds();
}

#[test]
fn a_server_that_is_asked_to_stop_finishes_and_stops() {
    for signal in ["-TERM", "-INT"] {
        let world = world();
        let server = world.serve();
        assert_eq!(server.get("/healthz").status, 200);
        run(Command::new("kill").arg(signal).arg(server.id().to_string())).succeeds();
        assert_eq!(server.ended(), Some(0), "{signal}");
    }
}

#[test]
fn a_download_under_way_is_finished_before_a_server_stops() {
    // Larger than what the system keeps on the way between the two.
    let image = FakeImage::new("debian/trixie/amd64/default").serial("20261123_0522").incus();
    let world = World::publishing(&[image.file("zeros", vec![0; 24 << 20])]);
    let server = world.serve();
    let path = "/images/debian/trixie/amd64/default/20261123_0522/rootfs.squashfs";
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = vec![0; 1 << 16];
    stream.read_exact(&mut answer).unwrap();
    run(Command::new("kill").arg(server.id().to_string())).succeeds();
    let address = server.address().to_owned();
    let deadline = Instant::now() + Duration::from_secs(30);
    // Nobody new is served meanwhile.
    while TcpStream::connect(&address).is_ok() {
        assert!(Instant::now() < deadline, "the server still listens");
        std::thread::sleep(Duration::from_millis(20));
    }
    stream.read_to_end(&mut answer).unwrap();
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    assert_eq!(answer[head + 4..], std::fs::read(world.data().join(&path[1..])).unwrap());
    assert_eq!(server.ended(), Some(0));
}
