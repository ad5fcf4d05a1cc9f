//! Builders upload builds: with a token that covers them, in as many pieces as it takes, and never in place of another.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use formats::record::BuildFile;
use testkit::FakeImage;

use crate::support::{Curl, Reply, Server, World, need};

const IMAGE: &str = "debian/trixie/amd64/default";
const UPLOADS: &str = "/api/v1/uploads";

fn image(serial: &str) -> FakeImage {
    FakeImage::new(IMAGE).serial(serial).incus()
}

fn token(world: &World, name: &str, args: &[&str]) -> String {
    let outcome = world.run(&[&["token", "create", name], args].concat()).succeeds();
    outcome.stdout.trim().to_owned()
}

struct Builder {
    server: Server,
    token: String,
    build: PathBuf,
    scratch: PathBuf,
}

impl Builder {
    fn new(world: &World, serial: &str) -> Self {
        let server = world.serve_with(&[]);
        let name = format!("builder-{}", serial.replace('_', "-"));
        let token = token(world, &name, &["--images", "debian/*/*/*"]);
        Self { server, token, build: world.build(&image(serial)), scratch: world.path(&format!("piece-{serial}")) }
    }

    fn curl(&self, method: &str, path: &str) -> Curl {
        Curl::new(&self.server, method, path).token(&self.token)
    }

    fn begin(&self) -> Reply {
        self.curl("POST", UPLOADS).body(&self.build.join("build.json")).send()
    }

    /// The path of an upload that began.
    fn location(&self) -> String {
        let reply = self.begin();
        assert_eq!(reply.status, 201, "{}", reply.body);
        reply.header("location").unwrap().to_owned()
    }

    fn received(&self, location: &str) -> BTreeMap<String, (u64, u64)> {
        let state = self.curl("GET", location).send().json();
        let file = |file: &serde_json::Value| {
            let number = |key: &str| file[key].as_u64().unwrap();
            (file["name"].as_str().unwrap().to_owned(), (number("size"), number("received")))
        };
        state["files"].as_array().unwrap().iter().map(file).collect()
    }

    /// Sends bytes of a file from an offset on.
    fn piece(&self, location: &str, file: &str, offset: u64, bytes: &[u8]) -> Reply {
        fs::write(&self.scratch, bytes).unwrap();
        let curl = self.curl("PATCH", &format!("{location}/files/{file}"));
        curl.header(format!("Upload-Offset: {offset}")).body(&self.scratch).send()
    }

    /// Sends what is missing.
    fn send(&self, location: &str) {
        for (file, (size, received)) in self.received(location) {
            let bytes = fs::read(self.build.join(&file)).unwrap();
            assert_eq!(bytes.len() as u64, size);
            let rest = &bytes[usize::try_from(received).unwrap()..];
            let (first, second) = rest.split_at(rest.len() / 2);
            for (offset, piece) in [(received, first), (received + first.len() as u64, second)] {
                if !piece.is_empty() {
                    let reply = self.piece(location, &file, offset, piece);
                    assert_eq!(reply.status, 204, "{}", reply.body);
                    assert_eq!(reply.header("upload-offset").unwrap(), (offset + piece.len() as u64).to_string());
                }
            }
        }
    }

    fn commit(&self, location: &str) -> Reply {
        self.curl("POST", &format!("{location}/commit")).send()
    }
}

fn wait_until_listed(world: &World, channel: &str, serial: &str) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !world.products(channel).contains(serial) {
        assert!(Instant::now() < deadline, "the build is not listed after a minute");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_build_sent_in_pieces_is_imported_listed_in_its_channel_and_cannot_be_replaced() {
    need!("curl");
    let world = World::publishing(&[]);
    let builder = Builder::new(&world, "20261123_0522");
    let location = builder.location();
    builder.send(&location);
    let committed = builder.commit(&location);
    assert_eq!((committed.status, committed.json()["new"].as_bool()), (201, Some(true)), "{}", committed.body);
    wait_until_listed(&world, "c/staging/", "20261123_0522");
    assert!(!world.products("").contains("20261123_0522"));
    world.run(&["verify"]).succeeds();
    assert_eq!(fs::read_dir(world.data().join("uploads")).unwrap().count(), 0);
    // The same again is no work, and another build of this name is refused.
    let again = builder.begin();
    assert_eq!((again.status, again.json()["new"].as_bool()), (200, Some(false)), "{}", again.body);
    image("20261123_0522").file("etc/motd", "another").write(&world.path("builds"));
    assert_eq!(builder.begin().status, 409);
}

#[test]
fn an_upload_goes_on_after_a_broken_connection_and_after_a_killed_server() {
    need!("curl");
    let world = World::publishing(&[]);
    let mut builder = Builder::new(&world, "20261123_0522");
    let location = builder.location();
    // A body that ends before its length.
    let bytes = fs::read(builder.build.join("meta.tar.xz")).unwrap();
    fs::write(&builder.scratch, &bytes[..10]).unwrap();
    let curl = builder.curl("PATCH", &format!("{location}/files/meta.tar.xz")).header("Upload-Offset: 0");
    let cut = curl.header(format!("Content-Length: {}", bytes.len())).args(&["--max-time", "2", "--http1.1"]);
    assert_eq!(cut.body(&builder.scratch).send().status, 0);
    let deadline = Instant::now() + Duration::from_secs(30);
    while builder.received(&location)["meta.tar.xz"].1 != 10 {
        assert!(Instant::now() < deadline, "{:?}", builder.received(&location));
        std::thread::sleep(Duration::from_millis(50));
    }
    // A server that dies when a piece is written.
    builder.server = world.serve_dying_at("upload:piece");
    let rootfs = fs::read(builder.build.join("rootfs.tar.xz")).unwrap();
    assert_eq!(builder.piece(&location, "rootfs.tar.xz", 0, &rootfs[..20]).status, 0);
    builder.server = world.serve_with(&[]);
    let received = builder.received(&location);
    assert_eq!((received["meta.tar.xz"].1, received["rootfs.tar.xz"].1), (10, 20));
    assert_eq!(builder.location(), location, "the same record goes on with its upload");
    builder.send(&location);
    assert_eq!(builder.commit(&location).status, 201);
    world.run(&["verify"]).succeeds();
}

#[test]
fn tokens_that_are_none_or_ended_or_for_something_else_are_refused() {
    need!("curl");
    let world = World::publishing(&[]);
    let server = world.serve();
    let record = world.build(&image("20261123_0522")).join("build.json");
    let begin = |token: Option<&str>, path: &str| {
        let curl = Curl::new(&server, "POST", path).body(&record);
        if let Some(token) = token { curl.token(token).send() } else { curl.send() }
    };
    let nobody = begin(None, UPLOADS);
    assert_eq!((nobody.status, nobody.header("www-authenticate")), (401, Some("Bearer")));
    for bad in ["", "x", &format!("rct_{}", "0".repeat(64)), "rct_' OR 1=1 --"] {
        assert_eq!(begin(Some(bad), UPLOADS).status, 401, "{bad}");
    }
    let good = token(&world, "good", &["--images", "debian/*/amd64/*"]);
    let ended = token(&world, "ended", &["--images", "*", "--validity", "0s"]);
    let revoked = token(&world, "revoked", &["--images", "*"]);
    world.run(&["token", "revoke", "revoked"]).succeeds();
    let other_image = token(&world, "other-image", &["--images", "alpine/*/*/*"]);
    let other_channel = token(&world, "other-channel", &["--images", "*", "--channel", "nightly"]);
    for (token, path, status) in [
        (&ended, UPLOADS, 401),
        (&revoked, UPLOADS, 401),
        (&other_image, UPLOADS, 403),
        (&other_channel, "/api/v1/uploads?channel=staging", 403),
        (&good, "/api/v1/uploads?channel=stable", 403),
        (&good, "/api/v1/uploads?channel=../x", 422),
        (&good, UPLOADS, 201),
    ] {
        let reply = begin(Some(token), path);
        assert_eq!(reply.status, status, "{path}: {}", reply.body);
    }
    // An upload belongs to its token.
    let location = begin(Some(&good), UPLOADS).header("location").unwrap().to_owned();
    for (method, path) in
        [("GET", location.clone()), ("DELETE", location.clone()), ("POST", format!("{location}/commit"))]
    {
        assert_eq!(Curl::new(&server, method, &path).token(&other_channel).send().status, 404, "{method}");
    }
    // A token is not taken in clear.
    let head =
        format!("GET {location} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {good}\r\n\r\n");
    assert_eq!(crate::support::request(server.address(), head.as_bytes()).status, 403);
    assert_eq!(Curl::new(&server, "DELETE", &location).token(&good).send().status, 204);
    assert_eq!(Curl::new(&server, "GET", &location).token(&good).send().status, 404);
    world.run(&["token", "create", "good", "--images", "*"]).fails_with(1, "there is a token `good` already");
    world.run(&["token", "create", "bad", "--images", "deb*"]).fails_with(2, "debian/*/amd64/default");
    world.run(&["token", "revoke", "nobody"]).fails_with(1, "there is no token `nobody`");
    let log = server.log();
    assert!(!log.contains(&good) && !log.contains("rct_0000"), "a token is in the log");
}

#[test]
fn what_does_not_fit_its_record_is_refused_exactly() {
    need!("curl");
    let world = World::publishing(&[]);
    let builder = Builder::new(&world, "20261123_0522");
    let post = |content: &[u8]| {
        fs::write(&builder.scratch, content).unwrap();
        builder.curl("POST", UPLOADS).body(&builder.scratch).send().status
    };
    let record = fs::read_to_string(builder.build.join("build.json")).unwrap();
    assert_eq!(post(b"{}"), 422);
    assert_eq!(post(record.replace("rootfs.squashfs", "../../x").as_bytes()), 422);
    assert_eq!(post(&vec![b' '; (1 << 20) + 1]), 413);
    let size = image("20261123_0522").record().files[&BuildFile::RootfsTarXz].size_bytes;
    assert_eq!(post(record.replace(&format!("\"size\": {size},"), "\"size\": 99999999999999,").as_bytes()), 413);
    let location = builder.location();
    let meta = fs::read(builder.build.join("meta.tar.xz")).unwrap();
    let missing = builder.commit(&location);
    assert_eq!(missing.status, 409, "{}", missing.body);
    let status = |file: &str, offset: u64, bytes: &[u8]| builder.piece(&location, file, offset, bytes).status;
    assert_eq!(status("meta.tar.xz", 0, &[meta.as_slice(), b"x"].concat()), 413);
    let kept = builder.received(&location)["meta.tar.xz"].1;
    assert!(kept <= meta.len() as u64);
    let elsewhere = builder.piece(&location, "meta.tar.xz", kept + 1, b"x");
    assert_eq!((elsewhere.status, elsewhere.header("upload-offset")), (409, Some(&*kept.to_string())));
    for (file, expected) in [("build.json", 404), ("packages.json", 404), ("..%2fupload.json", 404), ("build.log", 404)]
    {
        assert_eq!(status(file, 0, b"x"), expected, "{file}");
    }
    let scratch = builder.curl("PATCH", &format!("{location}/files/meta.tar.xz")).body(&builder.scratch);
    assert_eq!(scratch.send().status, 400, "no offset");
    for id in ["0".repeat(64), "..".to_owned(), "x%2f..%2f..".to_owned()] {
        let status = builder.curl("GET", &format!("{UPLOADS}/{id}")).send().status;
        assert!([404, 400].contains(&status), "{id}: {status}");
    }
    for (method, path) in [("GET", UPLOADS), ("PUT", &*location)] {
        assert_eq!(builder.curl(method, path).send().status, 405, "{method} {path}");
    }
    // A file of the right size and other bytes has to be sent again.
    builder.send(&location);
    let state = fs::read_dir(world.data().join("uploads")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(state.join("build/rootfs.tar.xz")).unwrap();
    bytes[30] ^= 1;
    fs::write(state.join("build/rootfs.tar.xz"), bytes).unwrap();
    let wrong = builder.commit(&location);
    assert_eq!(wrong.status, 422, "{}", wrong.body);
    assert_eq!(builder.received(&location)["rootfs.tar.xz"].1, 0);
    builder.send(&location);
    assert_eq!(builder.commit(&location).status, 201);
}

#[test]
fn the_api_describes_itself() {
    need!("curl");
    let world = World::publishing(&[]);
    let server = world.serve_with(&[]);
    let document = Curl::new(&server, "GET", "/api/v1/openapi.json").send();
    assert_eq!((document.status, document.header("content-type")), (200, Some("application/json")));
    let document = document.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    for (path, method) in [
        ("/api/v1/uploads", "post"),
        ("/api/v1/uploads/{id}", "get"),
        ("/api/v1/uploads/{id}", "delete"),
        ("/api/v1/uploads/{id}/files/{file}", "patch"),
        ("/api/v1/uploads/{id}/commit", "post"),
    ] {
        let operation = &document["paths"][path][method];
        assert!(operation["responses"]["401"].is_object(), "{method} {path}: {operation}");
        assert!(operation["security"][0]["token"].is_array(), "{method} {path}");
    }
}
