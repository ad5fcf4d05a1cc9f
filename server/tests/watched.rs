//! Those who watch a server see whether it can be used, and by whom it is.

use std::time::{Duration, Instant, SystemTime};

use formats::certificate::SigningKey;
use formats::streams::StreamsIndex;
use formats::time::{Span, Timestamp};
use testkit::FakeImage;

use crate::support::{Answer, Server, World, request};

/// Asks the port that is only for those who watch.
fn ask_prometheus_port(server: &Server, path: &str) -> Answer {
    let log = server.log();
    let line = log.lines().find(|line| line.contains("Listening for Prometheus")).unwrap();
    let address = line.split_whitespace().last().unwrap();
    request(address, format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
}

#[test]
fn metrics_are_on_a_port_of_their_own_and_count_clients_by_family() {
    let world = World::publishing(&[FakeImage::new("debian/trixie/amd64/default")]);
    let server = world.serve_with(&["--allow-plain", "--metrics-listen", "127.0.0.1:0"]);
    assert_eq!(server.get("/metrics").status, 404);
    assert_eq!(server.get("/readyz").status, 200);
    let index = server.get_with("/meta/1.0/index-user", &[("User-Agent", "lxc/4.0.6 compat:7")]).body.len();
    server.get_with("/nothing", &[("User-Agent", "Incus 6.0.4 (Linux)")]);
    let get = |path: &str| ask_prometheus_port(&server, path);
    assert_eq!((get("/healthz").status, get("/readyz").status, get("/").status), (200, 200, 404));
    let wanted = [
        "rootcellar_requests_total{client=\"lxc\",status=\"2xx\"} 1".to_owned(),
        format!("rootcellar_sent_bytes_total{{client=\"lxc\"}} {index}"),
        "rootcellar_requests_total{client=\"incus\",status=\"4xx\"} 1".to_owned(),
        "rootcellar_generation_serial 1".to_owned(),
        "rootcellar_generation_age_seconds ".to_owned(),
        "rootcellar_validity_left_seconds 17".to_owned(),
    ];
    // An answer is counted when it has ended, which may be a moment after the client has it.
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let metrics = get("/metrics").text();
        let missing = wanted.iter().find(|line| !metrics.contains(*line));
        let Some(missing) = missing else { break };
        assert!(Instant::now() < deadline, "expected `{missing}` in {metrics}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_server_whose_validity_has_ended_answers_but_is_not_ready() {
    let world = World::publishing(&[FakeImage::new("debian/trixie/amd64/default")]);
    let server = world.serve_with(&["--allow-plain", "--validity", "2s", "--metrics-listen", "127.0.0.1:0"]);
    // Without its key nothing can be signed afresh.
    world.run(&["publish", "--validity", "2s"]).succeeds();
    std::fs::rename(world.data().join("keys"), world.path("keys-taken-away")).unwrap();
    let deadline = Instant::now() + Duration::from_secs(15);
    while server.get("/readyz").status != 503 {
        assert!(Instant::now() < deadline, "{}", server.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(server.get("/readyz").header("retry-after"), Some("60"));
    assert_eq!(server.get("/healthz").text(), "ok\n");
    assert!(server.get("/").text().contains("clients refuse what is published"));
    // Nobody overlooks that it cannot sign.
    let is_loud = |server: &Server| server.log().contains("ERROR Signing afresh failed");
    while !is_loud(&server) {
        assert!(Instant::now() < deadline, "{}", server.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    let metrics = ask_prometheus_port(&server, "/metrics").text();
    assert!(!metrics.contains("rootcellar_signing_failures_total 0"), "{metrics}");
}

#[test]
fn a_signing_subkey_near_its_end_is_told_and_ends_what_it_signed_in_time() {
    let world = World::publishing(&[FakeImage::new("debian/trixie/amd64/default")]);
    let server = world.serve_with(&["--allow-plain", "--metrics-listen", "127.0.0.1:0"]);
    assert_eq!(server.get("/readyz").text(), "ok\n");
    let made = Timestamp::from(SystemTime::now()) - Span::from_days(1);
    let key = SigningKey::generate_repository("t", made, Span::from_seconds(90_000)).unwrap();
    let end = made + Span::from_seconds(90_000);
    std::fs::write(world.data().join("keys/repository.secret.pgp"), key.to_armored_secret().unwrap()).unwrap();
    let said = world.run(&["publish"]).succeeds();
    assert!(said.stderr.contains("warning: the signing subkey of the repository key ends"), "{}", said.stderr);
    let expires = || {
        let index = std::fs::read(world.current().join("streams/v1/index.json")).unwrap();
        serde_json::from_slice::<StreamsIndex>(&index).unwrap().expires
    };
    // One second before: at the end itself a client refuses what the subkey signed.
    assert_eq!(expires(), end - Span::from_seconds(1));
    let (warning, deadline) =
        (format!("ok\nwarning: the signing subkey ends {end}; "), Instant::now() + Duration::from_secs(10));
    while !server.get("/readyz").text().starts_with(&warning) {
        assert!(Instant::now() < deadline, "{}", server.get("/readyz").text());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(server.get("/readyz").status, 200);
    let metrics = ask_prometheus_port(&server, "/metrics").text();
    assert!(metrics.contains("rootcellar_signing_key_left_seconds 3"), "{metrics}");
    assert!(server.log().contains("The signing subkey ends"), "{}", server.log());
    let shown = world.run(&["keys", "show"]).succeeds();
    assert!(shown.stdout.contains(&end.to_string()), "{}", shown.stdout);
    let said = world.run(&["keys", "rotate"]).succeeds();
    assert!(!said.stderr.contains("warning") && expires() > end, "{}", said.stderr);
    while server.get("/readyz").text() != "ok\n" {
        assert!(Instant::now() < deadline, "{}", server.get("/readyz").text());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn what_a_client_says_it_is_changes_nothing_of_its_answer() {
    let world = World::publishing(&[FakeImage::new("debian/trixie/amd64/default")]);
    let server = world.serve();
    let fields = |agent: &str| {
        let answer = server.get_with("//meta/1.0/index-user.7", &[("User-Agent", agent)]);
        (answer.status, answer.header("etag").map(str::to_owned), answer.body)
    };
    let expected = fields("lxc/6.0.2 compat:7");
    assert_eq!(expected.0, 200);
    for agent in ["lxc/1.0 compat:99", "Wget/1.21.3", "Mozilla/5.0", "", "sqlmap/1.7", "() { :; }; id"] {
        assert_eq!(fields(agent), expected, "{agent}");
    }
}
