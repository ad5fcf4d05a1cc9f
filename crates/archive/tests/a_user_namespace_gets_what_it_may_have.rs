//! In a user namespace everything is restored but what no namespace may have, and a missing id is one clear error.
//!
//! The namespace is a real one: this test runs itself again, inside of it.

#![allow(clippy::unwrap_used, reason = "these are tests")]

#[path = "common/forge.rs"]
mod forge;
#[path = "common/tree.rs"]
mod tree;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Output};

use forge::Forge;
use formats::time::Timestamp;
use rootcellar_archive::ids::{IdMap, IdMaps, IdRange};
use rootcellar_archive::pack::{PackOptions, pack_tree};
use rootcellar_archive::unpack::{DevicePolicy, Ownership, UnpackError, UnpackOptions, unpack};
use tree::{assert_same, build, in_whole_seconds, look};

const BASE: u32 = 300_000;
const INSIDE: &str = "ARCHIVE_TEST_INSIDE";

/// What runs inside: unpacks `root.tar` into `dest` and packs that again.
#[test]
fn inside_of_the_namespace() {
    let Some(dir) = std::env::var_os(INSIDE) else { return };
    let dir = Path::new(&dir);
    let options = UnpackOptions::for_this_process().unwrap();
    assert_eq!((options.ownership, options.devices), (Ownership::Restore, DevicePolicy::Skip));
    match unpack(fs::File::open(dir.join("root.tar")).unwrap(), &dir.join("dest"), &options) {
        Ok(summary) => println!("devices {}, names {:?}", summary.devices_skipped, summary.attributes_skipped_names),
        Err(error) => println!("refused: {error}"),
    }
    let out = fs::File::create(dir.join("dest.tar")).unwrap();
    pack_tree(&dir.join("dest"), out, &PackOptions::new(Timestamp::from_unix(NEWEST))).unwrap();
}

/// A user namespace of so many ids, held by a process that sleeps in it.
struct Namespace {
    holder: Child,
}

impl Namespace {
    /// Nothing where none can be made, which is said.
    fn new(ids: u32) -> Option<Self> {
        if !tree::is_root() {
            testkit::skip("only root can make a user namespace of several ids");
            return None;
        }
        let ours = fs::read_link("/proc/self/ns/user").unwrap();
        let mut holder = Command::new("unshare").args(["--user", "sleep", "60"]).spawn().unwrap();
        let proc = Path::new("/proc").join(holder.id().to_string());
        while fs::read_link(proc.join("ns/user")).unwrap() == ours {
            if holder.try_wait().unwrap().is_some() {
                testkit::skip("no user namespace can be made here");
                return None;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        for map in ["uid_map", "gid_map"] {
            fs::write(proc.join(map), format!("0 {BASE} {ids}")).unwrap();
        }
        Some(Self { holder })
    }

    /// Runs [`inside_of_the_namespace`].
    fn run(&self, dir: &Path) -> Output {
        fs::create_dir(dir.join("dest")).unwrap();
        for path in [dir.join("dest"), dir.to_owned()] {
            std::os::unix::fs::chown(path, Some(BASE), Some(BASE)).unwrap();
        }
        // The program may be in a directory that is closed to the ids of the namespace.
        let program = dir.join("program");
        fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        Command::new("nsenter")
            .args(["--user", "--setuid=0", "--setgid=0", "--target", &self.holder.id().to_string(), "--"])
            .arg(program)
            .args(["--exact", "inside_of_the_namespace", "--nocapture"])
            .env(INSIDE, dir)
            .output()
            .unwrap()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

#[test]
fn everything_but_devices_and_trusted_attributes_is_restored() {
    let Some(namespace) = Namespace::new(4_000_000) else { return };
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    build(&root);
    let mut tar = Vec::new();
    pack_tree(&root, &mut tar, &PackOptions::new(Timestamp::from_unix(NEWEST))).unwrap();
    fs::write(dir.path().join("root.tar"), &tar).unwrap();
    let output = namespace.run(dir.path());
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains(r#"devices 3, names {"trusted.label", "trusted.on-a-link"}"#), "{said}");

    // Seen from outside, as root: the ids are those of the map, the capability is bound to the namespace's root.
    let large = fs::metadata(dir.path().join("dest/etc/large")).unwrap();
    assert_eq!((large.uid(), large.gid()), (BASE + 1000, BASE + 1001));

    // Seen from inside, and from outside through the map, it is the original without what was left out.
    for name in ["null", "null-too", "disk"] {
        fs::remove_file(root.join(name)).unwrap();
    }
    let mut expected = in_whole_seconds(look(&root), NEWEST);
    expected.get_mut(Path::new(".")).unwrap().mtime = look(&dir.path().join("dest"))[Path::new(".")].mtime;
    for seen in expected.values_mut() {
        seen.xattrs.retain(|name, _| !name.starts_with(b"trusted."));
    }
    let again = dir.path().join("again");
    let through_the_map = dir.path().join("through-the-map");
    for path in [&again, &through_the_map] {
        fs::create_dir(path).unwrap();
    }
    let inside = fs::read(dir.path().join("dest.tar")).unwrap();
    unpack(inside.as_slice(), &again, &UnpackOptions::for_this_process().unwrap()).unwrap();
    assert_same(&look(&again), &expected, "packed inside");
    let map = IdMap::new(vec![IdRange { inside: 0, outside: BASE, count: 4_000_000 }]);
    let ids = IdMaps { users: map.clone(), groups: map };
    let mut outside = Vec::new();
    let options = PackOptions { ids, ..PackOptions::new(Timestamp::from_unix(NEWEST)) };
    pack_tree(&dir.path().join("dest"), &mut outside, &options).unwrap();
    assert!(inside == outside, "packed inside and outside differ");
}

#[test]
fn an_owner_the_namespace_does_not_hold_is_one_clear_error() {
    let Some(namespace) = Namespace::new(9999) else { return };
    let dir = tempfile::tempdir().unwrap();
    let tar = Forge::default()
        .file("first", "")
        .header("nobody", tar::EntryType::Regular, "", 0, |header| header.set_uid(65534))
        .end();
    fs::write(dir.path().join("root.tar"), tar).unwrap();
    let output = namespace.run(dir.path());
    let said = String::from_utf8_lossy(&output.stdout);
    let expected = "refused: `nobody` belongs to id 65534, and this user namespace holds 0-9998 only";
    assert!(said.contains(expected), "{said}");
}

#[test]
fn ids_that_are_no_ids_are_refused_everywhere() {
    let dir = tempfile::tempdir().unwrap();
    for id in [u64::from(u32::MAX), 1 << 32, u64::MAX >> 8] {
        let tar = Forge::default().header("x", tar::EntryType::Regular, "", 0, |header| header.set_uid(id)).end();
        let options = UnpackOptions {
            ownership: Ownership::Restore,
            ids: IdMaps::identity(),
            ..UnpackOptions::for_this_process().unwrap()
        };
        let refused = unpack(tar.as_slice(), dir.path(), &options);
        assert!(matches!(refused, Err(UnpackError::IdOutsideMap { .. })), "{id}: {refused:?}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}

#[test]
fn files_that_stay_ours_do_not_speak_for_others() {
    let dir = tempfile::tempdir().unwrap();
    let tar = Forge::default()
        .pax(&["SCHILY.xattr.security.capability=x", "SCHILY.xattr.user.a=1", "uid=12345"])
        .header("x", tar::EntryType::Regular, "", 0, |header| header.set_mode(0o6755))
        .end();
    let options = UnpackOptions { ownership: Ownership::Keep, ..UnpackOptions::for_this_process().unwrap() };
    let summary = unpack(tar.as_slice(), dir.path(), &options).unwrap();
    let seen = &look(dir.path())[Path::new("./x")];
    assert_eq!((seen.mode & 0o7777, seen.owner.0), (0o755, rustix::process::geteuid().as_raw()));
    assert!(!seen.xattrs.contains_key(b"security.capability".as_slice()));
    assert_eq!(summary.attributes_skipped_names.into_iter().collect::<Vec<_>>(), ["security.capability"]);
}

const NEWEST: i64 = 1_000_050_000;
