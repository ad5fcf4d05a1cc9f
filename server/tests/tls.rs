//! TLS with a certificate that real clients accept, on one port with plain HTTP where that is allowed.

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
