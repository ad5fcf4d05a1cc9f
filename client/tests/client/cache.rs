//! Whatever happens to the cache, the next command finds its way; nothing is downloaded twice.

use std::process::Child;
use std::time::Duration;

use formats::record::BuildFile;
use formats::time::Timestamp;
use testkit::FakeImage;

use crate::world::{Claims, Host, Said, Server, bookworm, is_root, serial};

const ROOTFS: &str = "rootfs.tar.xz";

/// Bytes that do not compress, so that a download takes a moment.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 1_u64;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    })
    .take(bytes)
    .collect()
}

#[test]
fn many_concurrent_cold_fetches_make_one_download_and_all_succeed() {
    let server = Server::publishing(&[bookworm().file("usr/noise", noise(3 << 20))]);
    let host = Host::trusting(&server);
    let piped = std::process::Stdio::piped;
    let children: Vec<Child> =
        (0..8).map(|_| host.rootcellar("fetch debian/12").stdout(piped()).stderr(piped()).spawn().unwrap()).collect();
    for child in children {
        Said::of(&child.wait_with_output().unwrap()).succeeds();
    }
    assert_eq!(server.requests(ROOTFS), 1);
}

#[test]
fn a_killed_fetch_is_healed_by_the_next_one() {
    let server = Server::publishing(&[bookworm().file("usr/noise", noise(8 << 20))]);
    for milliseconds in [0, 20, 40, 60, 80, 120, 160, 240] {
        let host = Host::trusting(&server);
        let mut child = host.rootcellar("-q fetch debian/12").spawn().unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        child.kill().unwrap();
        child.wait().unwrap();
        host.run("fetch debian/12").succeeds();
        host.run("cache verify").succeeds();
    }
}

#[test]
fn a_damaged_file_is_noticed_and_fetched_again() {
    let server = Server::publishing(&[bookworm()]);
    let host = Host::trusting(&server);
    host.run("fetch debian/12").succeeds();
    for damaged in [b"".as_slice(), b"damaged"] {
        std::fs::write(host.cached(&bookworm(), BuildFile::RootfsTarXz), damaged).unwrap();
        host.run("fetch debian/12 --offline").refuses("no undamaged build");
        host.run("fetch debian/12").succeeds();
        host.run("fetch debian/12 --offline").succeeds();
    }
    assert_eq!(server.requests(ROOTFS), 3);
    assert_eq!(server.requests("meta.tar.xz"), 1);
}

#[test]
fn an_unchanged_image_costs_an_index_and_no_download() {
    let server = Server::publishing(&[bookworm()]);
    let host = Host::trusting(&server);
    host.run("fetch debian/12").succeeds();
    let said = host.run("fetch debian").succeeds();
    assert!(said.stderr.contains("The cache is already up to date"), "{}", said.stderr);
    assert_eq!(server.requests(ROOTFS), 1);
}

#[test]
fn a_newer_build_is_fetched_and_a_pinned_one_stays_available() {
    let old = bookworm().serial(&serial(60));
    let mut server = Server::publishing(std::slice::from_ref(&old));
    let host = Host::trusting(&server);
    host.run("fetch debian/12").succeeds();
    server.add(bookworm(), Claims::fresh(5));
    let said = host.run("fetch debian/12").succeeds();
    assert_eq!(said.stdout.trim(), format!("debian/bookworm/amd64/default@{}", serial_of(&bookworm())));
    host.run(&format!("fetch debian/12@{} --offline", serial_of(&old))).succeeds();
    host.run("cache prune").succeeds();
    host.run(&format!("fetch debian/12@{} --offline", serial_of(&old))).refuses("no undamaged build");
    host.run("fetch debian/12 --offline").succeeds();
}

#[test]
fn a_build_asked_for_by_its_serial_is_kept_and_used_without_the_server() {
    let old = bookworm().serial(&serial(60));
    let mut server = Server::publishing(std::slice::from_ref(&old));
    server.add(bookworm(), Claims::fresh(5));
    let host = Host::trusting(&server);
    let pinned = format!("fetch debian/12@{}", serial_of(&old));
    host.run(&pinned).succeeds();
    let asked = server.requests("");
    host.run("cache prune").succeeds();
    let said = host.run(&format!("{pinned} --offline")).succeeds();
    assert!(!said.stderr.contains("should have been refreshed"), "{}", said.stderr);
    host.run(&pinned).succeeds();
    assert_eq!(server.requests(""), asked);
    // It is no answer to the question for the newest build.
    let refused = host.run("fetch debian/12 --offline").refuses("no undamaged build");
    assert!(refused.stderr.contains(&format!("`debian/12@{}`", serial_of(&old))), "{}", refused.stderr);
    let refused = host.run("fetch debain/12 --offline").refuses("no undamaged build");
    assert!(refused.stderr.contains("the cache has `debian/12`"), "{}", refused.stderr);
}

fn serial_of(image: &FakeImage) -> String {
    image.record().serial.to_string()
}

#[test]
fn one_servers_image_is_never_used_for_another() {
    let (one, other) = (Server::publishing(&[bookworm()]), Server::publishing(&[bookworm()]));
    let host = Host::trusting(&one);
    host.run("fetch debian/12").succeeds();
    let of_other = format!("--server {} --fingerprint {}", other.url(), other.fingerprint());
    host.run(&format!("fetch debian/12 --offline {of_other}")).refuses("no undamaged build");
    host.run(&format!("fetch debian/12 {of_other}")).succeeds();
}

#[test]
fn a_full_listing_of_the_cache_names_builds_and_their_size() {
    let server = Server::publishing(&[bookworm()]);
    let host = Host::trusting(&server);
    host.run("fetch debian/12").succeeds();
    let listed = || {
        let said = host.run("cache list --format json").succeeds();
        serde_json::from_str::<serde_json::Value>(&said.stdout).unwrap()[0].clone()
    };
    let files = bookworm().files();
    let size = files[&BuildFile::RootfsTarXz].len() + files[&BuildFile::MetaTarXz].len();
    let row = listed();
    assert_eq!((&row["size_bytes"], &row["image"]), (&size.into(), &"debian/bookworm/amd64/default".into()));
    assert_eq!((&row["server"], &row["current"]), (&server.url().into(), &true.into()));
    for time in ["fetched", "fresh_until"] {
        let time = row[time].as_str().unwrap();
        assert!(time.ends_with('Z') && time.parse::<Timestamp>().is_ok(), "{time}");
    }
    // What was decoded takes room, too.
    host.run("cache warm").succeeds();
    let tar = usize::try_from(bookworm().record().rootfs_tar.size_bytes).unwrap();
    assert_eq!(listed()["size_bytes"], size + tar);
    let text = host.run("cache list").succeeds().stdout;
    assert!(text.starts_with("IMAGE ") && text.contains("CURRENT") && text.contains("FRESH UNTIL"), "{text}");
    assert!(text.contains(" yes ") && text.contains(&server.url()), "{text}");
}

#[test]
fn a_replaced_build_is_listed_as_no_longer_current() {
    let mut server = Server::publishing(&[bookworm().serial(&serial(60))]);
    let host = Host::trusting(&server);
    host.run("fetch debian/12").succeeds();
    server.add(bookworm(), Claims::fresh(5));
    host.run("cache warm").succeeds();
    let rows: serde_json::Value =
        serde_json::from_str(&host.run("cache list --format json").succeeds().stdout).unwrap();
    assert_eq!((&rows[0]["current"], &rows[1]["current"]), (&true.into(), &false.into()));
    assert_eq!(rows[1]["fresh_until"], serde_json::Value::Null);
    let current: Vec<_> = host.run("cache list").stdout.lines().skip(1).map(|line| line.contains(" yes ")).collect();
    assert_eq!(current, [true, false]);
}

/// Lets the cache expiry of everything that is cached pass.
pub(crate) fn expire(host: &Host) {
    for path in host.tree("cache/v1/images").iter().filter(|path| path.ends_with("current.json")) {
        let mut current: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        current["fresh_until"] = "2020-01-01T00:00:00Z".into();
        std::fs::write(path, current.to_string()).unwrap();
    }
}

#[test]
fn an_expired_build_that_is_still_the_newest_is_renewed_without_a_download_and_for_a_while() {
    if !is_root() {
        return;
    }
    let server = Server::publishing(&[bookworm()]);
    let host = Host::trusting(&server);
    host.run("create one debian/12").succeeds();
    expire(&host);
    let said = host.run("create two debian/12").succeeds();
    assert!(said.stderr.contains("The cache is already up to date"), "{}", said.stderr);
    assert_eq!((server.requests(ROOTFS), server.requests("meta.tar.xz"), server.requests("index.sjson")), (1, 1, 2));
    host.run("create three debian/12").succeeds();
    assert_eq!(server.requests("index.sjson"), 2, "it is fresh again");
}

#[test]
fn an_expired_build_is_used_offline_with_a_warning_and_never_silently() {
    let server = Server::publishing(&[bookworm()]);
    let host = Host::trusting(&server);
    host.run("fetch debian/12").succeeds();
    expire(&host);
    let said = host.run("fetch debian/12 --offline").succeeds();
    assert!(said.stderr.contains("should have been refreshed by 2020-01-01 00:00 UTC"), "{}", said.stderr);
    // A server that has nothing any more is no reason to take an old build for the newest.
    server.files.lock().unwrap().clear();
    let said = host.run("fetch debian/12");
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert!(said.stderr.contains("index.sjson") && said.stderr.contains("hint: "), "{}", said.stderr);
    host.run("fetch debian/12 --offline").succeeds();
}

#[test]
fn without_a_connection_the_way_to_use_what_is_cached_is_said() {
    let server = Server::publishing(&[bookworm()]);
    let host = Host::trusting(&server);
    host.run("fetch debian/12").succeeds();
    expire(&host);
    // Nobody listens on the discard port of this machine.
    let elsewhere = format!("fetch debian/12 --server http://127.0.0.1:9 --fingerprint {}", server.fingerprint());
    let said = host.run(&elsewhere);
    assert_eq!(said.code, 2, "{}", said.stderr);
    assert!(said.stderr.contains("hint: `--offline` uses what is cached"), "{}", said.stderr);
}

#[test]
fn warming_makes_the_next_create_decode_and_ask_nothing() {
    if !is_root() {
        return;
    }
    let image = bookworm().file("srv/big", vec![b'x'; 1 << 20]);
    let server = Server::publishing(std::slice::from_ref(&image));
    let host = Host::trusting(&server);
    let said = host.run("cache warm debian/12").succeeds();
    assert_eq!(said.stdout.trim(), format!("debian/bookworm/amd64/default@{}", serial_of(&image)));
    let asked = server.requests("");
    std::fs::remove_file(host.cached(&image, BuildFile::RootfsTarXz)).unwrap();
    host.run("create one debian/12").succeeds();
    assert_eq!(server.requests(""), asked);
    // Without names it is what is cached that is brought up to date.
    let said = host.run("cache warm").succeeds();
    assert!(said.stdout.contains("debian/bookworm/amd64/default@"), "{}", said.stdout);
    assert_eq!((server.requests(ROOTFS), Host::new().run("cache warm").code), (1, 1));
}

/// A small file system. It is unmounted with this value.
pub(crate) struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    pub(crate) fn at(path: std::path::PathBuf, megabytes: u32) -> Self {
        std::fs::create_dir_all(&path).unwrap();
        let size = format!("size={megabytes}m");
        let mounted =
            std::process::Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path).status();
        assert!(mounted.unwrap().success());
        Self(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_said_and_what_was_cached_stays_usable() {
    if !is_root() {
        return;
    }
    let old = bookworm().serial(&serial(60));
    let mut server = Server::publishing(std::slice::from_ref(&old));
    let host = Host::trusting(&server);
    let _disk = SmallDisk::at(host.at("cache"), 4);
    host.run("fetch debian/12").succeeds();
    server.add(bookworm().file("usr/noise", noise(6 << 20)), Claims::fresh(5));
    for line in ["fetch debian/12", "create new debian/12"] {
        expire(&host);
        let said = host.run(line);
        assert_eq!(said.code, 2, "{line}: {}", said.stderr);
        assert!(said.stderr.contains("cache prune"), "{line}: {}", said.stderr);
        assert!(!host.at("containers/new").exists(), "{line}");
        host.run("fetch debian/12 --offline").succeeds();
    }
    host.run("cache prune").succeeds();
    host.run("create old debian/12 --offline").succeeds();
    assert!(host.at("containers/old/rootfs/etc/os-release").exists());
}

#[test]
fn a_container_is_made_although_the_cache_has_no_room_for_the_decoded_archive() {
    if !is_root() {
        return;
    }
    let server = Server::publishing(&[bookworm().file("usr/zeros", vec![0; 8 << 20])]);
    let host = Host::trusting(&server);
    let _disk = SmallDisk::at(host.at("cache"), 2);
    for name in ["one", "two"] {
        host.run(&format!("create {name} debian/12")).succeeds();
        assert_eq!(std::fs::metadata(host.at(&format!("containers/{name}/rootfs/usr/zeros"))).unwrap().len(), 8 << 20);
    }
    assert_eq!(server.requests(ROOTFS), 1);
}
