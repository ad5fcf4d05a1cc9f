//! An archive depends on the tree alone: not on where it is, on the order it was made in, or on the machine.

#![allow(clippy::unwrap_used, reason = "these are tests")]

#[path = "common/tree.rs"]
mod tree;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use formats::digest::FileDigest;
use formats::time::Timestamp;
use rootcellar_archive::ids::{IdMap, IdMaps, IdRange};
use rootcellar_archive::pack::{PackError, PackOptions, pack_tree};
use rootcellar_archive::pack_tree_xz;
use rootcellar_archive::placeholder::Device;
use rootcellar_archive::unpack::{DevicePolicy, UnpackOptions, unpack};
use rootcellar_archive::xz::{DecodeLimits, Decoder, XzOptions};

fn options() -> PackOptions {
    PackOptions::new(Timestamp::from_unix(1_000_000_000))
}

fn packed(root: &Path, options: &PackOptions) -> Vec<u8> {
    let mut out = Vec::new();
    let summary = pack_tree(root, &mut out, options).unwrap();
    assert_eq!(summary.tar, FileDigest::of(&out));
    out
}

/// The names of the members of an archive, as they are spelled.
fn names(tar: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(tar);
    let name = |entry: tar::Entry<'_, _>| String::from_utf8_lossy(&entry.path_bytes()).into_owned();
    archive.entries().unwrap().map(|entry| name(entry.unwrap())).collect()
}

#[test]
fn a_copy_made_in_another_order_packs_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let files: Vec<String> = (0..300).map(|number| format!("d{}/f{number}", number % 7)).collect();
    let make = |root: PathBuf, files: &mut dyn Iterator<Item = &String>| {
        for file in files {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, file).unwrap();
        }
        for seen in tree::look(&root).keys() {
            fs::set_permissions(root.join(seen), fs::Permissions::from_mode(0o755)).unwrap();
        }
        packed(&root, &options())
    };
    let one = make(dir.path().join("one"), &mut files.iter());
    let other = make(dir.path().join("other"), &mut files.iter().rev());
    assert!(one == other, "the archives differ");
}

/// The kind and the device numbers of a member.
fn shape(tar: &[u8], name: &str) -> (tar::EntryType, Option<u32>, Option<u32>) {
    let mut archive = tar::Archive::new(tar);
    let mut entries = archive.entries().unwrap().map(|entry| entry.unwrap());
    let entry = entries.find(|entry| entry.path_bytes() == name.as_bytes()).unwrap();
    let header = entry.header();
    (header.entry_type(), header.device_major().unwrap(), header.device_minor().unwrap())
}

#[test]
fn a_file_that_stands_for_a_device_is_packed_as_the_device_and_no_archive_can_bring_one() {
    let dir = tempfile::tempdir().unwrap();
    let (made, unpacked) = (dir.path().join("made"), dir.path().join("unpacked"));
    fs::create_dir(&made).unwrap();
    drop(Device { is_block: false, major: 1, minor: 3 }.create(&made.join("null")).unwrap());
    drop(Device { is_block: true, major: 259, minor: 70_000 }.create(&made.join("disk")).unwrap());
    fs::hard_link(made.join("null"), made.join("zero")).unwrap();
    // Whatever a script writes into it.
    fs::write(made.join("null"), "lost").unwrap();
    let tar = packed(&made, &options());
    assert_eq!(shape(&tar, "./null"), (tar::EntryType::Char, Some(1), Some(3)));
    assert_eq!(shape(&tar, "./disk"), (tar::EntryType::Block, Some(259), Some(70_000)));
    assert_eq!(shape(&tar, "./zero").0, tar::EntryType::Link);
    fs::create_dir(&unpacked).unwrap();
    let stand_in = UnpackOptions { devices: DevicePolicy::Placeholder, ..UnpackOptions::for_this_process().unwrap() };
    unpack(tar.as_slice(), &unpacked, &stand_in).unwrap();
    assert!(fs::symlink_metadata(unpacked.join("null")).unwrap().is_file());
    assert_eq!(Device::at(&unpacked.join("zero")).unwrap(), Some(Device { is_block: false, major: 1, minor: 3 }));
    assert!(packed(&unpacked, &options()) == tar, "the archives differ");

    let mut forged = tar::Builder::new(Vec::new());
    forged.append_pax_extensions([("SCHILY.xattr.user.rootcellar.device", &b"c 1 1"[..])]).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_size(0);
    header.set_mode(0o666);
    header.set_uid(rustix::process::getuid().as_raw().into());
    header.set_gid(rustix::process::getgid().as_raw().into());
    forged.append_data(&mut header, "mem", std::io::empty()).unwrap();
    let forged = forged.into_inner().unwrap();
    let again = dir.path().join("again");
    fs::create_dir(&again).unwrap();
    let summary = unpack(forged.as_slice(), &again, &stand_in).unwrap();
    assert_eq!((summary.attributes_skipped, Device::at(&again.join("mem")).unwrap()), (1, None));
    assert_eq!(shape(&packed(&again, &options()), "./mem").0, tar::EntryType::Regular);
}

#[test]
fn an_unpacked_archive_packs_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (root, copy) = (dir.path().join("root"), dir.path().join("copy"));
    fs::create_dir(&root).unwrap();
    fs::create_dir(&copy).unwrap();
    if tree::is_root() {
        tree::build(&root);
    } else {
        testkit::skip("the full tree, which only root can make and read");
        fs::write(root.join("file"), "x").unwrap();
        symlink("file", root.join("link")).unwrap();
        fs::hard_link(root.join("file"), root.join("hard")).unwrap();
    }
    let tar = packed(&root, &options());
    unpack(tar.as_slice(), &copy, &UnpackOptions::for_this_process().unwrap()).unwrap();
    assert!(packed(&copy, &options()) == tar, "the archives differ");
}

#[test]
fn members_are_in_the_order_of_their_bytes() {
    let dir = tempfile::tempdir().unwrap();
    for path in ["a/b", "a-b", "a0", "a/a/c", "B"] {
        fs::create_dir_all(dir.path().join(path).parent().unwrap()).unwrap();
        fs::write(dir.path().join(path), "").unwrap();
    }
    let names = names(&packed(dir.path(), &options()));
    assert_eq!(names, ["./", "./B", "./a-b", "./a/", "./a/a/", "./a/a/c", "./a/b", "./a0"]);
    assert!(names.is_sorted());
}

#[test]
fn skipped_paths_and_sockets_are_not_there() {
    let dir = tempfile::tempdir().unwrap();
    for path in ["proc/self/x", "process", "keep/proc"] {
        fs::create_dir_all(dir.path().join(path).parent().unwrap()).unwrap();
        fs::write(dir.path().join(path), "").unwrap();
    }
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
    let options = PackOptions { skip: vec!["/proc".into(), "keep/proc/".into()], ..options() };
    assert_eq!(names(&packed(dir.path(), &options)), ["./", "./keep/", "./process"]);
}

#[test]
fn a_tree_packed_from_outside_of_its_user_namespace_is_the_tree_packed_from_inside() {
    if !tree::is_root() {
        testkit::skip("only root can give files away");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let make = |name: &str, base: u32| {
        let root = dir.path().join(name);
        fs::create_dir_all(root.join("home")).unwrap();
        fs::write(root.join("home/file"), "x").unwrap();
        for (path, id) in [("", 0), ("home", 1000), ("home/file", 1001)] {
            std::os::unix::fs::chown(root.join(path), Some(base + id), Some(base + id)).unwrap();
        }
        root
    };
    let map = IdMap::new(vec![IdRange { inside: 0, outside: 100_000, count: 65536 }]);
    let shifted = PackOptions { ids: IdMaps { users: map.clone(), groups: map }, ..options() };
    let (inside, outside) = (make("inside", 0), make("outside", 100_000));
    assert!(packed(&inside, &options()) == packed(&outside, &shifted), "the archives differ");
    let refused = pack_tree(&inside, std::io::sink(), &shifted);
    assert!(matches!(refused, Err(PackError::IdOutsideMap { id: 0, .. })), "{refused:?}");
}

#[test]
fn the_compressed_file_does_not_depend_on_the_number_of_threads() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("file"), (0..400_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>()).unwrap();
    let packed_with = |threads: u32| {
        let out = dir.path().join(format!("{threads}.tar.xz"));
        let xz = XzOptions { level: 0, threads, block_size: 128 << 10, ..XzOptions::default() };
        (pack_tree_xz(&root, &out, &options(), &xz).unwrap(), fs::read(out).unwrap())
    };
    let (one, file) = packed_with(1);
    let (four, file_of_four) = packed_with(4);
    assert_eq!(one, four);
    assert!(file == file_of_four, "the files differ");
    assert_eq!(one.xz, FileDigest::of(&file));
    let mut tar = Vec::new();
    std::io::copy(&mut Decoder::new(file.as_slice(), &DecodeLimits::default()).unwrap(), &mut tar).unwrap();
    assert_eq!(one.tar, FileDigest::of(&tar));
    assert!(tar == packed(&root, &options()), "the archives differ");
}
