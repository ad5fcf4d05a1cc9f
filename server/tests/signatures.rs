//! Every signature is one that gpg accepts, and an old index is one that it refuses.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use formats::certificate::Certificate;
use formats::time::Timestamp;
use formats::verified::{Keyring, Memory, PastValidity, verify_index, verify_products};
use testkit::FakeImage;

use crate::support::{Outcome, World, files_below, need, run};

fn world() -> World {
    let image = FakeImage::new("debian/trixie/amd64/default").serial("20261123_0522").incus();
    let world = World::publishing(&[image]);
    let keys = world.path("keys");
    world.run(&["keys", "export", keys.to_str().unwrap()]).succeeds();
    world
}

/// gpgv with one certificate of the server in its keyring.
fn gpgv(world: &World, key: &str, files: &[&Path]) -> Outcome {
    let certificate = world.current().join(format!("keys/{}.pgp", world.fingerprint(key)));
    run(Command::new("gpgv").arg("--keyring").arg(certificate).args(files))
}

#[test]
fn every_detached_signature_is_one_of_the_compat_key() {
    need!("gpgv");
    let world = world();
    let mut checked = 0;
    for directory in [world.current(), world.data().join("images")] {
        for name in files_below(&directory) {
            let Some(content) = name.strip_suffix(".asc").or_else(|| name.strip_suffix(".gpg")) else { continue };
            let (signature, content) = (directory.join(&name), directory.join(content));
            gpgv(&world, "compat", &[&signature, &content]).succeeds();
            assert_ne!(gpgv(&world, "repository", &[&signature, &content]).status, Some(0), "{name}");
            checked += 1;
        }
    }
    // The indexes of two channels, and what stands beside the build.
    assert_eq!(checked, 2 * 16 + 3);
}

#[test]
fn only_the_repository_key_signs_inline() {
    need!("gpgv");
    let world = world();
    let served = [world.current(), world.data().join("images")];
    let mut inline: Vec<_> =
        served.iter().flat_map(|top| files_below(top).into_iter().map(|name| top.join(name))).collect();
    inline.retain(|path| fs::read(path).unwrap().starts_with(b"-----BEGIN PGP SIGNED MESSAGE"));
    assert_eq!(inline.len(), 2, "one a channel: {inline:?}");
    for inline in &inline {
        gpgv(&world, "repository", &[inline]).succeeds();
        assert_ne!(gpgv(&world, "compat", &[inline]).status, Some(0));
    }
}

#[test]
fn an_index_past_its_validity_is_refused_by_gpgv_and_a_file_is_not() {
    need!("gpgv");
    let world = world();
    world.run(&["publish", "--validity", "1s"]).succeeds();
    std::thread::sleep(Duration::from_secs(3));
    let index = world.current().join("meta/1.0/index-user");
    gpgv(&world, "compat", &[&index.with_extension("asc"), &index]).fails_with(1, "expired");
    let streams = world.current().join("streams/v1/index.sjson");
    gpgv(&world, "repository", &[&streams]).fails_with(1, "expired");
    let rootfs = world.data().join("images/debian/trixie/amd64/default/20261123_0522/rootfs.tar.xz");
    gpgv(&world, "compat", &[&rootfs.with_extension("xz.asc"), &rootfs]).succeeds();
}

#[test]
fn our_client_accepts_what_is_published_down_to_every_file() {
    let world = world();
    let now = Timestamp::from(SystemTime::now());
    let certificate = Certificate::from_bytes(&fs::read(world.path("keys/repository.asc")).unwrap()).unwrap();
    let mut keyring = Keyring::default();
    keyring.pin(&world.fingerprint("repository").parse().unwrap(), certificate).unwrap();
    let read = |path: &str| fs::read(world.current().join(path)).unwrap();
    let (signed, channel) = (read("streams/v1/index.sjson"), "stable".parse().unwrap());
    let index = verify_index(&signed, &keyring, &channel, &Memory::nothing(), now, PastValidity::Refuse).unwrap();
    let path = index.index["debian"].path.clone();
    let products = verify_products(&index, &path, &read(&path)).unwrap();
    let (_, product) = products.images().next().unwrap();
    let (_, version) = product.builds().next().unwrap();
    assert_eq!(version.items.len(), 6);
    for item in version.items.values() {
        let bytes = fs::read(world.data().join(&item.path)).unwrap();
        assert_eq!(formats::digest::FileDigest::of(&bytes), item.digest, "{}", item.path);
    }
}

#[test]
fn every_publish_has_a_greater_serial_and_a_later_end() {
    let world = world();
    let edition = || {
        let json = fs::read(world.current().join("streams/v1/index.json")).unwrap();
        let index: formats::streams::StreamsIndex = serde_json::from_slice(&json).unwrap();
        (index.serial, index.published, index.expires)
    };
    let mut last = edition();
    for _ in 0..3 {
        world.run(&["publish"]).succeeds();
        let next = edition();
        assert!(next.0 > last.0 && next.1 >= last.1 && next.2 >= last.2, "{last:?} {next:?}");
        last = next;
    }
}
