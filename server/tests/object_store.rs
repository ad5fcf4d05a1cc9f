//! Builds can be in any object store that speaks S3, and everything works as with a directory.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use testkit::FakeImage;

use crate::support::{Curl, Gateway, Server, World, files_below, need};

const IMAGE: &str = "debian/trixie/amd64/default";
const OLD: &str = "20261122_0522";
const NEW: &str = "20261123_0522";

/// Ends the test with a visible reason unless the real object store can run.
macro_rules! need_gateway {
    () => {
        need!("ceph", "ceph-mon", "ceph-osd", "curl", "monmaptool", "radosgw", "radosgw-admin", "setpriv")
    };
}

/// A build whose squashfs takes more than one part.
fn image(serial: &str) -> FakeImage {
    FakeImage::new(IMAGE).serial(serial).incus().file("etc/serial", serial).file("usr/share/large", vec![7; 20 << 20])
}

/// A world whose builds are in a bucket of their own.
fn world(bucket: &str, args: &[&str]) -> (World, &'static Gateway) {
    let gateway = Gateway::shared();
    gateway.bucket(bucket);
    let world = world_with_credentials();
    choose(&world, gateway, bucket, args);
    (world, gateway)
}

fn world_with_credentials() -> World {
    World::new().env("AWS_ACCESS_KEY_ID", Gateway::ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", Gateway::SECRET_KEY)
}

fn choose(world: &World, gateway: &Gateway, bucket: &str, args: &[&str]) {
    let place = format!("s3://{bucket}/cellar");
    world.run(&[&["store", "use", &place, "--endpoint", &gateway.url], args].concat()).succeeds();
}

fn path(serial: &str, name: &str) -> String {
    format!("images/{IMAGE}/{serial}/{name}")
}

/// Every file that the streams list, with the content it must have.
fn listed(world: &World, builds: &[&Path]) -> Vec<(String, Vec<u8>)> {
    let json = world.products("");
    let mut files = Vec::new();
    for build in builds {
        let serial = build.file_name().unwrap().to_str().unwrap();
        for name in files_below(build) {
            let path = path(serial, &name);
            if json.contains(&format!("\"{path}\"")) {
                files.push((path, fs::read(build.join(name)).unwrap()));
            }
        }
    }
    assert!(files.len() >= 10, "{json}");
    files
}

fn fetch(server: &Server, path: &str, args: &[&str]) -> Vec<u8> {
    let to = tempfile::NamedTempFile::new().unwrap();
    let output = ["--no-include", "-o", to.path().to_str().unwrap()];
    Curl::new(server, "GET", path).args(&output).args(args).send();
    fs::read(to.path()).unwrap()
}

#[test]
fn builds_in_an_object_store_are_imported_listed_served_exported_and_verified_like_those_of_a_directory() {
    need_gateway!();
    let (world, gateway) = world("all", &[]);
    let builds = [world.build(&image(OLD)), world.build(&image(NEW))];
    for build in &builds {
        world.run(&["import", build.to_str().unwrap()]).succeeds();
    }
    world.run(&["publish"]).succeeds();
    assert!(files_below(&world.data().join("images")).is_empty(), "builds are in the data directory");
    let keys = gateway.keys("all");
    for name in ["build.json", "SHA256SUMS.gpg", "rootfs.tar.xz.asc", "rootfs.squashfs"] {
        assert!(keys.contains(&format!("cellar/{}", path(NEW, name))), "{name} is not in {keys:?}");
    }
    let delta = format!("rootfs.tar.{OLD}.zst");
    assert!(keys.contains(&format!("cellar/{}", path(NEW, &delta))), "{keys:?}");
    let list = world.run(&["list"]).succeeds().stdout;
    assert!(list.contains(OLD) && list.contains(NEW), "{list}");

    let server = world.serve();
    let paths = listed(&world, &[&builds[0], &builds[1]]);
    for (path, content) in &paths {
        assert!(fetch(&server, &format!("/{path}"), &[]) == *content, "{path}");
        assert_eq!(server.get(&format!("//{path}")).header("content-length"), Some(content.len().to_string().as_str()));
    }
    let rootfs = format!("/{}", path(NEW, "rootfs.squashfs"));
    let content = fs::read(builds[1].join("rootfs.squashfs")).unwrap();
    assert_eq!(fetch(&server, &rootfs, &["-r", "17000000-17000999"]), content[17_000_000..=17_000_999]);
    let answer = server.get_with(&rootfs, &[("Range", "bytes=-5")]);
    assert_eq!((answer.status, answer.body.as_slice()), (206, &content[content.len() - 5..]));
    let etag = answer.header("etag").unwrap().to_owned();
    assert_eq!(server.get_with(&rootfs, &[("If-None-Match", &etag)]).status, 304);
    assert_eq!(server.get_with(&rootfs, &[("Range", "bytes=99999999-")]).status, 416);
    assert_eq!(server.get(&format!("/{}", path(NEW, "nothing"))).status, 404);
    let page = server.get(&format!("/images/{IMAGE}"));
    assert!(page.status == 200 && page.text().contains("rootfs.squashfs"), "{}", page.text());

    let site = world.path("site");
    world.run(&["export", site.to_str().unwrap()]).succeeds();
    for (path, content) in &paths {
        assert!(fs::read(site.join(path)).unwrap() == *content, "{path}");
    }
    let again = world.run(&["export", site.to_str().unwrap()]).succeeds();
    assert!(again.stderr.contains("files written: 0"), "{again}");
    world.run(&["verify"]).succeeds();
}

#[test]
fn clients_are_sent_to_the_object_store_by_urls_that_expire_when_that_is_configured() {
    need_gateway!();
    let (world, gateway) = world("redirect", &["--redirect", "--redirect-validity", "2s"]);
    let build = world.build(&image(NEW));
    world.run(&["import", build.to_str().unwrap()]).succeeds();
    world.run(&["publish"]).succeeds();
    let server = world.serve();
    let file = format!("/{}", path(NEW, "rootfs.tar.xz"));
    let content = fs::read(build.join("rootfs.tar.xz")).unwrap();

    let answer = server.get(&file);
    let location = answer.header("location").unwrap().to_owned();
    assert_eq!((answer.status, answer.header("cache-control")), (307, Some("no-store")));
    assert!(location.starts_with(&gateway.url) && location.contains("X-Amz-Signature="), "{location}");
    assert!(!location.contains(Gateway::SECRET_KEY));
    assert!(fetch(&server, &file, &["-L"]) == content);
    assert_eq!(fetch(&server, &file, &["-L", "-r", "10-19"]), content[10..20]);
    // A download that is resumed compares entity tags of ours.
    let etag = server.get_with(&file, &[("Range", "bytes=0-0"), ("If-Range", "\"other\"")]);
    assert_eq!((etag.status, etag.body.len()), (200, content.len()));
    let etag = etag.header("etag").unwrap().to_owned();
    let rest = server.get_with(&file, &[("Range", "bytes=100-"), ("If-Range", &etag)]);
    assert_eq!((rest.status, rest.body.as_slice()), (206, &content[100..]));
    // What is known without the bytes needs no second request, and what is small is not worth one.
    let head = Curl::new(&server, "HEAD", &file).args(&["--head"]).send();
    assert_eq!((head.status, head.header("content-length")), (200, Some(content.len().to_string().as_str())));
    assert_eq!(server.get_with(&file, &[("If-None-Match", head.header("etag").unwrap())]).status, 304);
    assert_eq!(server.get(&format!("/{}", path(NEW, "SHA256SUMS"))).status, 200);

    let deadline = Instant::now() + Duration::from_mins(1);
    let status = || {
        let args = ["-s", "-o", "/dev/null", "-w", "%{http_code}", "--noproxy", "*", &location];
        crate::support::run(std::process::Command::new("curl").args(args)).succeeds().stdout
    };
    while status() != "403" {
        assert!(Instant::now() < deadline, "the URL does not expire");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_damaged_object_is_found_and_its_build_kept_aside_until_it_is_imported_again() {
    need_gateway!();
    let (world, gateway) = world("damaged", &[]);
    let build = world.build(&image(NEW));
    world.run(&["import", build.to_str().unwrap()]).succeeds();
    world.import(&image(OLD));
    world.run(&["publish"]).succeeds();
    let lie = world.path("another-file");
    fs::write(&lie, "not what was built").unwrap();
    gateway.put(&format!("damaged/cellar/{}", path(NEW, "meta.tar.xz")), &lie);
    let outcome = world.run(&["verify"]).fails_with(1, &format!("s3://damaged/cellar/quarantine/{IMAGE}/{NEW}"));
    assert!(outcome.stdout.contains(&format!("{IMAGE}@{NEW} meta.tar.xz: expected ")), "{outcome}");
    let keys = gateway.keys("damaged");
    assert!(keys.contains(&format!("cellar/quarantine/{IMAGE}/{NEW}/build.json")), "{keys:?}");
    assert!(!keys.iter().any(|key| key.starts_with(&format!("cellar/{}", path(NEW, "")))), "{keys:?}");
    assert!(!world.products("").contains(NEW));
    world.run(&["import", build.to_str().unwrap()]).succeeds();
    world.run(&["verify"]).succeeds();
}

#[test]
fn an_import_that_was_killed_leaves_no_build_and_is_done_again_or_swept_away() {
    need_gateway!();
    let (world, gateway) = world("killed", &[]);
    world.import(&image(OLD));
    let build = world.build(&image(NEW));
    let die = || {
        let mut command = world.command();
        command.env("ROOTCELLAR_CHECKPOINT", "objects:before-record").arg("import").arg(&build);
        assert_eq!(crate::support::run(&mut command).status, None);
    };
    let left = || gateway.keys("killed").iter().filter(|key| key.contains(NEW)).count();
    die();
    assert!(left() > 0 && !world.run(&["list"]).succeeds().stdout.contains(NEW));
    world.run(&["prune"]).succeeds();
    assert_eq!(left(), 0);
    die();
    world.run(&["import", build.to_str().unwrap()]).succeeds();
    world.run(&["verify"]).succeeds();
    assert!(world.run(&["list"]).succeeds().stdout.contains(NEW));
}

#[test]
fn pruned_builds_leave_the_object_store_when_the_grace_is_over() {
    need_gateway!();
    let (world, gateway) = world("pruned", &[]);
    // A plus sign means a blank where names are badly escaped.
    for serial in [OLD, NEW] {
        world.import(&FakeImage::new("debian/trixie/amd64/c++").serial(serial));
    }
    world.run(&["publish"]).succeeds();
    let has_old = || gateway.keys("pruned").iter().any(|key| key.contains(&format!("/{OLD}/")));
    world.run(&["prune", "--keep", "1"]).succeeds();
    assert!(has_old());
    world.run(&["prune", "--keep", "1", "--grace", "0s"]).succeeds();
    assert!(!has_old());
    world.run(&["verify"]).succeeds();
}

#[test]
fn a_place_belongs_to_one_data_directory_until_another_takes_it_over() {
    need_gateway!();
    let (first, gateway) = world("owned", &[]);
    first.import(&FakeImage::new(IMAGE).serial(OLD));
    let second = world_with_credentials();
    let words = ["store", "use", "s3://owned/cellar", "--endpoint", &gateway.url];
    second.run(&words).fails_with(1, "belongs to another data directory");
    assert!(second.run(&["store", "show"]).succeeds().stdout.contains("v1/images"));
    second.run(&[&words[..], &["--take-over-from-another-server"]].concat()).succeeds();
    assert!(second.run(&["list"]).succeeds().stdout.contains(OLD));
    let build = first.build(&FakeImage::new(IMAGE).serial(NEW));
    first.run(&["import", build.to_str().unwrap()]).fails_with(2, "belongs to another data directory");
    assert!(!second.run(&["list"]).succeeds().stdout.contains(NEW));
}

#[test]
fn builds_of_the_data_directory_move_into_the_object_store() {
    need_gateway!();
    let gateway = Gateway::shared();
    gateway.bucket("moved");
    let world = world_with_credentials();
    let build = world.build(&image(NEW));
    world.run(&["import", build.to_str().unwrap()]).succeeds();
    world.run(&["publish"]).succeeds();
    choose(&world, gateway, "moved", &[]);
    assert!(files_below(&world.data().join("images")).is_empty());
    world.run(&["verify"]).succeeds();
    let server = world.serve();
    let content = fs::read(build.join("rootfs.tar.xz")).unwrap();
    assert!(fetch(&server, &format!("/{}", path(NEW, "rootfs.tar.xz")), &[]) == content);
}

#[test]
fn an_uploaded_build_goes_into_the_object_store() {
    need_gateway!();
    let (world, gateway) = world("uploaded", &[]);
    world.run(&["keys", "init"]).succeeds();
    world.run(&["publish"]).succeeds();
    let token = world.run(&["token", "create", "builder1", "--images", "*"]).succeeds().stdout;
    let server = world.serve_with(&[]);
    let build = world.build(&FakeImage::new(IMAGE).serial(NEW));
    let begun = Curl::new(&server, "POST", "/api/v1/uploads").token(&token).body(&build.join("build.json")).send();
    let upload = begun.header("location").unwrap().to_owned();
    for file in begun.json()["files"].as_array().unwrap() {
        let name = file["name"].as_str().unwrap();
        let sent = Curl::new(&server, "PATCH", &format!("{upload}/files/{name}")).token(&token);
        assert_eq!(sent.header("Upload-Offset: 0").body(&build.join(name)).send().status, 204, "{name}");
    }
    let done = Curl::new(&server, "POST", &format!("{upload}/commit")).token(&token).send();
    assert_eq!(done.status, 201, "{}", done.body);
    assert!(gateway.keys("uploaded").contains(&format!("cellar/{}", path(NEW, "build.json"))));
}

#[test]
fn while_the_object_store_does_not_answer_documents_are_served_and_files_are_a_502_that_tells_nothing() {
    need_gateway!();
    let (world, gateway) = world("outage", &[]);
    world.import(&FakeImage::new(IMAGE).serial(OLD));
    world.run(&["publish"]).succeeds();
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let settings = world.data().join("store.toml");
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, text.replace(&gateway.url, &format!("http://127.0.0.1:{port}"))).unwrap();
    let server = world.serve();
    let answer = server.get(&format!("/{}", path(OLD, "rootfs.tar.xz")));
    assert_eq!((answer.status, answer.text().as_str()), (502, "bad gateway\n"));
    assert_eq!(server.get("/streams/v1/index.sjson").status, 200);
    assert!(server.log().contains("A file of the store cannot be served"), "{}", server.log());
    let build = world.build(&FakeImage::new(IMAGE).serial(NEW));
    let outcome = world.run(&["import", build.to_str().unwrap()]).fails_with(2, "s3://outage/cellar/images");
    assert!(outcome.stderr.contains("hint: "), "{outcome}");
}

#[test]
fn a_wrong_secret_is_an_error_that_names_the_bucket_and_says_what_to_check() {
    need_gateway!();
    let (world, gateway) = world("secret", &[]);
    world.import(&FakeImage::new(IMAGE).serial(OLD));
    let wrong = |world: &World| {
        let mut command = world.command();
        command.env("AWS_SECRET_ACCESS_KEY", "wrong").arg("verify");
        crate::support::run(&mut command)
    };
    let outcome = wrong(&world).fails_with(2, "s3://secret/cellar/images");
    assert!(outcome.stderr.contains("AWS_SECRET_ACCESS_KEY"), "{outcome}");
    assert_eq!(gateway.keys("secret").iter().filter(|key| key.contains("quarantine")).count(), 0);
    world.run(&["verify"]).succeeds();
    gateway.remove(&format!("secret/cellar/{}", path(OLD, "meta.tar.xz")));
    world.run(&["verify", "--dry-run"]).fails_with(1, "damaged files: 1");
}

#[test]
fn an_object_store_that_is_not_there_is_an_error_and_changes_nothing() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let world = World::new().env("AWS_ACCESS_KEY_ID", "x").env("AWS_SECRET_ACCESS_KEY", "x");
    world.import(&FakeImage::new(IMAGE).serial(OLD));
    let endpoint = format!("http://127.0.0.1:{port}");
    let outcome =
        world.run(&["store", "use", "s3://none", "--endpoint", &endpoint]).fails_with(2, "s3://none/owner.json");
    assert!(outcome.stderr.contains("hint: "), "{outcome}");
    assert!(world.run(&["store", "show"]).succeeds().stdout.contains("v1/images"));
    world.run(&["verify"]).succeeds();
}
