//! A newer build is fetched as what has changed since the cached one, and whole where that does not work.

use std::fs;
use std::io::{Read as _, Write as _};

use archive::xz::{DecodeLimits, Decoder};
use formats::record::BuildFile;
use testkit::FakeImage;

use crate::template::{BEGUN, IMAGE, arguments, begun};
use crate::world::{Claims, Host, Said, Server, bookworm, is_root, serial};

const ROOTFS: &str = "rootfs.tar.xz";
const DELTA: &str = ".zst";

/// Bytes that do not compress.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 3_u64;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    })
    .take(bytes)
    .collect()
}

pub(crate) fn old() -> FakeImage {
    bookworm().serial(&serial(60)).file("srv/noise", noise(1 << 20)).file("srv/version", "old")
}

pub(crate) fn new() -> FakeImage {
    bookworm().file("srv/noise", noise(1 << 20)).file("srv/version", "new")
}

/// The archive in the rootfs of an image.
pub(crate) fn tar(image: &FakeImage) -> Vec<u8> {
    let (xz, mut tar) = (&image.files()[&BuildFile::RootfsTarXz], Vec::new());
    Decoder::new(xz.as_slice(), &DecodeLimits::default()).unwrap().read_to_end(&mut tar).unwrap();
    tar
}

/// What makes one of these out of the other.
pub(crate) fn delta(base: &[u8], result: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::with_ref_prefix(Vec::new(), 3, base).unwrap();
    encoder.long_distance_matching(true).unwrap();
    encoder.window_log(24).unwrap();
    encoder.set_pledged_src_size(Some(result.len() as u64)).unwrap();
    encoder.write_all(result).unwrap();
    encoder.finish().unwrap()
}

/// A host that has the old build, and a server that has published the new one with this delta.
pub(crate) fn world(content: Vec<u8>, first: &str) -> (Server, Host) {
    let mut server = Server::publishing(&[old()]);
    let host = Host::trusting(&server);
    host.run(first).succeeds();
    server.offer_delta(&old(), &new(), content);
    server.add(new(), Claims::fresh(5));
    (server, host)
}

fn version(host: &Host, name: &str) -> String {
    assert_eq!(fs::read(host.at(&format!("containers/{name}/rootfs/srv/noise"))).unwrap(), noise(1 << 20));
    fs::read_to_string(host.at(&format!("containers/{name}/rootfs/srv/version"))).unwrap()
}

#[test]
fn a_newer_build_is_made_of_the_cached_one_and_a_tenth_of_its_bytes() {
    if !is_root() {
        return;
    }
    let content = delta(&tar(&old()), &tar(&new()));
    assert!(content.len() * 10 <= new().files()[&BuildFile::RootfsTarXz].len(), "{}", content.len());
    let (server, host) = world(content, "create one debian/12");
    let said = host.run("fetch debian/12").succeeds();
    assert!(said.stderr.contains("Downloading the changes"), "{}", said.stderr);
    assert_eq!((server.requests(ROOTFS), server.requests(DELTA)), (1, 1));
    host.run("cache verify").succeeds();
    host.run("create two debian/12 --offline").succeeds();
    assert_eq!((version(&host, "one"), version(&host, "two")), ("old".to_owned(), "new".to_owned()));
    let left = host.tree("cache/v1/partial");
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_host_that_only_fetches_never_downloads_a_whole_rootfs_again() {
    let (server, host) = world(delta(&tar(&old()), &tar(&new())), "fetch debian/12");
    host.run("fetch debian/12").succeeds();
    assert_eq!((server.requests(ROOTFS), server.requests(DELTA)), (1, 1));
    host.run("cache prune").succeeds();
    host.run("cache verify").succeeds();
    host.run("fetch debian/12 --offline").succeeds();
}

#[test]
fn a_delta_that_is_damaged_or_tells_lies_or_is_missing_costs_a_whole_download_and_no_more() {
    let sound = delta(&tar(&old()), &tar(&new()));
    let lie = delta(&tar(&old()), &tar(&old()));
    let of_another = delta(&noise(4 << 20), &tar(&new()));
    let bomb = zstd::encode_all(std::io::repeat(0).take(64 << 20), 3).unwrap();
    let cut = sound[..sound.len() / 2].to_vec();
    let cases = [("lie", lie), ("of another", of_another), ("bomb", bomb), ("cut", cut), ("no delta", b"x".to_vec())];
    for (name, content) in cases {
        let (server, host) = world(content, "fetch debian/12");
        let said = host.run("fetch debian/12").succeeds();
        assert!(said.stderr.contains("is of no use"), "{name}: {}", said.stderr);
        assert_eq!((server.requests(ROOTFS), server.requests(DELTA)), (2, 1), "{name}");
        host.run("cache verify").succeeds();
        assert!(host.tree("cache/v1/partial").is_empty(), "{name}");
    }
    for change in ["altered", "gone"] {
        let (server, host) = world(sound.clone(), "fetch debian/12");
        let path = server.paths(DELTA).remove(0);
        match change {
            "altered" => {
                let mut altered = server.get(&path);
                altered[20] ^= 1;
                server.put(&path, altered);
            }
            _ => drop(server.files.lock().unwrap().remove(&path)),
        }
        let said = host.run("fetch debian/12").succeeds();
        assert!(said.stderr.contains("is of no use"), "{change}: {}", said.stderr);
        assert_eq!(server.requests(ROOTFS), 2, "{change}");
    }
}

#[test]
fn without_a_sound_base_the_whole_rootfs_is_downloaded() {
    let (server, host) = world(delta(&tar(&old()), &tar(&new())), "fetch debian/12");
    fs::write(host.cached(&old(), BuildFile::RootfsTarXz), "damaged").unwrap();
    host.run("fetch debian/12").succeeds();
    assert_eq!((server.requests(ROOTFS), server.requests(DELTA)), (2, 0));
}

#[test]
fn a_delta_larger_than_the_whole_is_not_asked_for() {
    let (server, host) = world(noise(3 << 20), "fetch debian/12");
    host.run("fetch debian/12").succeeds();
    assert_eq!((server.requests(ROOTFS), server.requests(DELTA)), (2, 0));
}

#[test]
fn a_newer_build_of_the_same_files_costs_no_rootfs_at_all() {
    for first in ["fetch debian/12", "cache warm debian/12"] {
        let mut server = Server::publishing(&[old()]);
        let host = Host::trusting(&server);
        host.run(first).succeeds();
        let again = old().serial(&serial(0)).member("create-message", "again");
        server.add(again.clone(), Claims::fresh(5));
        let said = host.run("fetch debian/12").succeeds();
        assert!(said.stdout.trim().ends_with(&again.record().serial.to_string()), "{}", said.stdout);
        assert_eq!((server.requests(ROOTFS), server.requests(DELTA)), (1, 0), "{first}");
        assert_eq!(server.requests("meta.tar.xz"), 2);
        host.run("fetch debian/12 --offline").succeeds();
    }
}

#[test]
fn the_template_says_what_the_stock_one_says_of_a_whole_download() {
    if !is_root() {
        return;
    }
    let (server, host) = world(delta(&tar(&old()), &tar(&new())), "fetch debian/12");
    for path in host.tree("cache/v1/images").iter().filter(|path| path.ends_with("current.json")) {
        let mut current: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        current["fresh_until"] = "2020-01-01T00:00:00Z".into();
        fs::write(path, current.to_string()).unwrap();
    }
    begun(&host, "p1", BEGUN);
    let said = Said::of(&host.template().args(arguments(&host, "p1", IMAGE)).output().unwrap()).succeeds();
    let lines: Vec<&str> = said.stdout.lines().take(6).collect();
    let expected = [
        "The cached copy has expired, re-downloading...",
        "Downloading the image index",
        "Downloading the rootfs",
        "Downloading the metadata",
        "The image cache is now ready",
        "Unpacking the rootfs",
    ];
    assert_eq!(lines, expected);
    assert_eq!((server.requests(ROOTFS), server.requests(DELTA)), (1, 1));
    assert_eq!(fs::read_to_string(host.at("begun/p1/rootfs/srv/version")).unwrap(), "new");
}
