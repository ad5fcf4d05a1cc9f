//! No input makes us panic or touch anything outside of the destination, and what we pack comes back.

#![allow(clippy::unwrap_used, reason = "these are tests")]

#[path = "common/forge.rs"]
mod forge;
#[path = "common/tree.rs"]
mod tree;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use forge::Forge;
use formats::time::Timestamp;
use proptest::prelude::*;
use rootcellar_archive::members::{MemberLimits, read_members};
use rootcellar_archive::pack::{PackOptions, pack_tree};
use rootcellar_archive::unpack::{DevicePolicy, UnpackLimits, UnpackOptions, unpack};
use rootcellar_archive::xz::{DecodeLimits, Decoder};
use tar::EntryType;
use tree::{assert_same, in_whole_seconds, look, look_beside, open_up};

/// Unpacks beside a file of the host, and compares the host before and after.
fn unpack_beside_a_host(tar: &[u8]) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("host/dest")).unwrap();
    fs::write(dir.path().join("host/x"), "of the host").unwrap();
    let outside = || look_beside(&dir.path().join("host"), "dest");
    let before = outside();
    let limits = UnpackLimits { entries: 1000, unpacked_bytes: 1 << 20, ..UnpackLimits::default() };
    let options = UnpackOptions { limits, devices: DevicePolicy::Skip, ..UnpackOptions::for_this_process().unwrap() };
    let _ = unpack(tar, &dir.path().join("host/dest"), &options);
    assert_same(&outside(), &before, "the host");
    open_up(&dir.path().join("host/dest"));
    let _ = read_members(tar, &MemberLimits::default());
}

/// Names that meet each other often, some of which try to leave. None names a place that a machine has.
fn name() -> impl Strategy<Value = String> {
    let part = prop_oneof![4 => Just("x"), 4 => Just("y"), 1 => Just("."), 1 => Just(".."), 1 => Just("")];
    prop::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"))
}

fn kind() -> impl Strategy<Value = u8> {
    prop_oneof![9 => prop::sample::select(&b"0012234567xgLKSV"[..]), 1 => any::<u8>()]
}

fn record() -> impl Strategy<Value = String> {
    let key = prop::sample::select(
        &[
            "path",
            "linkpath",
            "size",
            "uid",
            "mtime",
            "SCHILY.xattr.user.a",
            "SCHILY.acl.access",
            "GNU.sparse.map",
            "GNU.sparse.size",
            "GNU.sparse.major",
            "GNU.sparse.minor",
            "GNU.sparse.realsize",
            "GNU.sparse.offset",
            "GNU.sparse.numbytes",
            "GNU.sparse.numblocks",
            "GNU.sparse.name",
        ][..],
    );
    let value = prop_oneof![name(), "[0-9]{0,3}", "[0-9,.-]{0,8}", "[a-z:,-]{0,20}"];
    (key, value).prop_map(|(key, value)| format!("{key}={value}"))
}

/// A kind of member, its name, its target, its content, its mode and records in front of it.
type Piece = (u8, String, String, Vec<u8>, u32, Vec<String>);

fn forge(pieces: &[Piece]) -> Vec<u8> {
    let add = |forge: Forge, (kind, name, link, content, mode, records): &Piece| {
        let records: Vec<_> = records.iter().map(String::as_str).collect();
        let forge = if records.is_empty() { forge } else { forge.pax(&records) };
        let size = content.len() as u64;
        forge.header(name, EntryType::new(*kind), link, size, |header| header.set_mode(*mode)).content(content)
    };
    pieces.iter().fold(Forge::default(), add).end()
}

fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    let content =
        prop_oneof![prop::collection::vec(any::<u8>(), 0..40), "([0-9]{1,2}\n){0,6}".prop_map(String::into_bytes)];
    let piece = (kind(), name(), name(), content, 0..0o7777_u32, prop::collection::vec(record(), 0..3));
    prop::collection::vec(piece, 1..12)
}

#[derive(Clone, Debug)]
enum Thing {
    File(Vec<u8>),
    Link(String),
    HardLinkToTheFirstFile,
}

fn things() -> impl Strategy<Value = BTreeMap<Vec<String>, (Thing, u32, i64)>> {
    let part = prop_oneof!["[abé]{1,2}", "[a-z \\n*]{90,120}"];
    let thing = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..2000).prop_map(Thing::File),
        "[a-z./]{1,150}".prop_map(Thing::Link),
        Just(Thing::HardLinkToTheFirstFile),
    ];
    let path = prop::collection::vec(part, 1..4);
    prop::collection::btree_map(path, (thing, 0o400..0o1777_u32, 0..2_000_000_000_i64), 0..12)
}

fn build(root: &Path, things: &BTreeMap<Vec<String>, (Thing, u32, i64)>) {
    let mut first_file = None;
    for (parts, (thing, mode, seconds)) in things {
        let path = root.join(parts.join("/"));
        // A file where another thing needs a directory: this one is left out.
        if fs::create_dir_all(path.parent().unwrap()).is_err() || path.symlink_metadata().is_ok() {
            continue;
        }
        match (thing, &first_file) {
            (Thing::Link(target), _) => symlink(target, &path).unwrap(),
            (Thing::HardLinkToTheFirstFile, Some(first)) => fs::hard_link(first, &path).unwrap(),
            (thing, _) => {
                let content: &[u8] = if let Thing::File(content) = thing { content } else { b"" };
                fs::write(&path, content).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(mode | 0o400)).unwrap();
                let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds.unsigned_abs());
                fs::File::open(&path).unwrap().set_modified(time).unwrap();
                first_file.get_or_insert(path);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn archives_of_any_members_stay_inside(pieces in pieces()) {
        unpack_beside_a_host(&forge(&pieces));
    }

    #[test]
    fn archives_with_flipped_bytes_stay_inside(pieces in pieces(), flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20)) {
        let mut tar = forge(&pieces);
        for (at, byte) in flips {
            let at = at.index(tar.len());
            tar[at] = byte;
        }
        unpack_beside_a_host(&tar);
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        unpack_beside_a_host(&bytes);
        let mut out = Vec::new();
        let after_magic = [b"\xfd7zXZ\0".as_slice(), &bytes].concat();
        for xz in [&bytes, &after_magic] {
            prop_assert!(Decoder::new(xz.as_slice(), &DecodeLimits::default()).unwrap().take(1 << 20).read_to_end(&mut out).is_err());
        }
    }

    #[test]
    fn what_is_packed_comes_back(things in things()) {
        let dir = tempfile::tempdir().unwrap();
        let (root, copy) = (dir.path().join("root"), dir.path().join("copy"));
        fs::create_dir(&root).unwrap();
        fs::create_dir(&copy).unwrap();
        build(&root, &things);
        let mut tar = Vec::new();
        let newest = 1_900_000_000;
        let summary = pack_tree(&root, &mut tar, &PackOptions::new(Timestamp::from_unix(newest))).unwrap();
        let unpacked = unpack(tar.as_slice(), &copy, &UnpackOptions::for_this_process().unwrap()).unwrap();
        prop_assert_eq!(unpacked.entries, summary.entries);
        assert_same(&look(&copy), &in_whole_seconds(look(&root), newest), "what came back");
    }
}
