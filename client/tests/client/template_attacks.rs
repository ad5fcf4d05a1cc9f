//! Every attack that the program refuses is refused under the template's name too: status 1, in the words of the attack
//! on stderr, without a line on stdout that scripts take for success, and with the container as liblxc began it.

use std::fs;

use formats::layout;
use formats::record::BuildFile;
use formats::signature::RepositoryKey;
use formats::time::Span;
use testkit::FakeImage;

use crate::template::{BEGUN, IMAGE, begun, fill};
use crate::world::{Claims, Host, Server, bookworm, now, path_of, serial, stranger};

/// What somebody does to what the server sends, before or after the host has met the server.
type Attack = fn(&mut Server, &Host);

const ATTACKS: &[(&str, Attack, &str)] = &[
    ("a forged rootfs", |server, _| forge(server, BuildFile::RootfsTarXz), "does not match its digest"),
    ("forged metadata", |server, _| forge(server, BuildFile::MetaTarXz), "does not match its digest"),
    ("a forged index", forged_index, "was altered after it was signed"),
    ("swapped rootfs", swapped_rootfs, "does not match its digest"),
    ("swapped documents", swapped_documents, "the index carries no OpenPGP signature"),
    ("rollback", rollback, "the index was rolled back"),
    ("freeze", freeze, "the index expired"),
    ("mix and match", mix_and_match, "is not the file the signed index names"),
    ("an endless index", endless_index, "is larger than 16777216 bytes"),
    ("an endless rootfs", endless_rootfs, "has the wrong size"),
    ("a stranger's key", strangers_key, "is signed by a key that is not pinned"),
    ("a stranger's certificate", strangers_certificate, "is signed by a key that is not pinned"),
    ("a revoked key", revoked_key, "is signed by a key that was revoked"),
    ("a revoked subkey", revoked_subkey, "is signed by a key that was revoked"),
    ("a fast-forward serial", fast_forward, "the index is from the future"),
    ("an index of the future", future, "the index is from the future"),
];

#[test]
fn every_attack_ends_with_1_and_its_name_and_leaves_the_container_as_it_was() {
    for (attack, act, words) in ATTACKS {
        let mut server = Server::publishing(&[old(), trixie()]);
        let host = Host::trusting(&server);
        act(&mut server, &host);
        begun(&host, "p1", BEGUN);
        let config = fs::read(host.at("begun/p1/config")).unwrap();
        let before = host.tree("begun");
        let said = fill(&host, "p1", IMAGE);
        assert_eq!(said.code, 1, "{attack}: {}{}", said.stdout, said.stderr);
        assert!(said.stderr.starts_with("error: ") && said.stderr.contains(words), "{attack}: {}", said.stderr);
        for success in ["is now ready", "Unpacking", "local cache", "up to date", "---", "created"] {
            assert!(!said.stdout.contains(success), "{attack}: {}", said.stdout);
        }
        assert_eq!(host.tree("begun"), before, "{attack}");
        assert_eq!(fs::read(host.at("begun/p1/config")).unwrap(), config, "{attack}");
        host.run("fetch debian/12 --offline").refuses("is in the cache");
    }
}

fn old() -> FakeImage {
    bookworm().serial(&serial(60))
}

fn trixie() -> FakeImage {
    FakeImage::new("debian/trixie/amd64/default").serial(&serial(0))
}

fn forge(server: &Server, file: BuildFile) {
    let path = path_of(&old(), file);
    let mut content = server.get(&path);
    let middle = content.len() / 2;
    content[middle] ^= 1;
    server.put(&path, content);
}

fn forged_index(server: &mut Server, _: &Host) {
    let content = String::from_utf8(server.get(layout::SIGNED_INDEX)).unwrap().replace("\"stable\"", "\"stabld\"");
    server.put(layout::SIGNED_INDEX, content.into_bytes());
}

/// Another sound rootfs of the same server, and of the same size: xz allows zeros at the end.
fn swapped_rootfs(server: &mut Server, _: &Host) {
    let path = path_of(&old(), BuildFile::RootfsTarXz);
    let mut other = server.get(&path_of(&trixie(), BuildFile::RootfsTarXz));
    let size = server.get(&path).len();
    assert!(other.len() <= size);
    other.resize(size, 0);
    server.put(&path, other);
}

fn swapped_documents(server: &mut Server, _: &Host) {
    let products = server.paths(".json").pop().unwrap();
    server.put(layout::SIGNED_INDEX, server.get(&products));
}

fn rollback(server: &mut Server, host: &Host) {
    let older = server.get(layout::SIGNED_INDEX);
    server.publish(Claims::fresh(10));
    list(host);
    server.put(layout::SIGNED_INDEX, older);
}

fn freeze(server: &mut Server, _: &Host) {
    let published = now() - Span::from_days(3);
    let serial = u64::try_from(published.unix()).unwrap();
    server.publish(Claims { serial, published, expires: published + Span::from_days(1) });
}

/// A newer index, and the products as they were before.
fn mix_and_match(server: &mut Server, host: &Host) {
    list(host);
    let earlier = server.paths(".json").pop().unwrap();
    server.add(bookworm(), Claims::fresh(5));
    let named = server.paths(".json").into_iter().find(|path| *path != earlier).unwrap();
    server.put(&named, server.get(&earlier));
}

fn endless_index(server: &mut Server, _: &Host) {
    server.put(layout::SIGNED_INDEX, vec![b'-'; 32 << 20]);
}

fn endless_rootfs(server: &mut Server, _: &Host) {
    let path = path_of(&old(), BuildFile::RootfsTarXz);
    let content = [server.get(&path), vec![0; 8 << 20]].concat();
    server.put(&path, content);
}

fn strangers_key(server: &mut Server, _: &Host) {
    server.publish_signed_by(&stranger(), Claims::fresh(1));
}

fn strangers_certificate(server: &mut Server, _: &Host) {
    let stranger = stranger();
    server.publish_signed_by(&stranger, Claims::fresh(1));
    server.put(&layout::certificate(&server.fingerprint()), stranger.0.certificate().to_armored().unwrap());
}

fn revoked_key(server: &mut Server, _: &Host) {
    revoke(server, |key| RepositoryKey(key.0.revoke(now()).unwrap()));
}

fn revoked_subkey(server: &mut Server, _: &Host) {
    revoke(server, |key| RepositoryKey(key.0.revoke_subkeys(now()).unwrap()));
}

fn revoke(server: &Server, revoked: fn(&RepositoryKey) -> RepositoryKey) {
    let certificate = revoked(&server.key).0.certificate();
    server.put(&layout::certificate(&server.fingerprint()), certificate.to_armored().unwrap());
}

fn fast_forward(server: &mut Server, _: &Host) {
    server.publish(Claims { serial: u64::MAX, ..Claims::fresh(5) });
}

fn future(server: &mut Server, _: &Host) {
    let published = now() + Span::from_days(2);
    let serial = u64::try_from(published.unix()).unwrap();
    server.publish(Claims { serial, published, expires: published + Span::from_days(1) });
}

/// The host meets the server.
fn list(host: &Host) {
    let said = host.template().arg("--list").output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
}
