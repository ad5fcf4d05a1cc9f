//! Trees with everything in them that archivers get wrong, and a way to compare them.

#![allow(dead_code, reason = "each test uses a part")]

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use formats::digest::Sha256;
use rustix::fs::{AtFlags, FileType, Mode, Timespec, Timestamps, XattrFlags};

/// What can be seen of one file, apart from its inode number and its access and change times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) size: u64,
    pub(crate) mtime: (i64, i64),
    pub(crate) device: u64,
    /// The first path of the same inode.
    pub(crate) linked_to: PathBuf,
    pub(crate) content: Vec<u8>,
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

pub(crate) type Tree = BTreeMap<PathBuf, Seen>;

/// Everything beneath `root`, and `root` itself as `.`.
pub(crate) fn look(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut first_paths = HashMap::new();
    look_into(root, Path::new("."), &mut tree, &mut first_paths);
    tree
}

fn look_into(root: &Path, path: &Path, tree: &mut Tree, first_paths: &mut HashMap<u64, PathBuf>) {
    let full = root.join(path);
    let stat = fs::symlink_metadata(&full).unwrap();
    let kind = stat.file_type();
    let content = if kind.is_file() {
        Sha256::of(&fs::read(&full).unwrap()).to_string().into_bytes()
    } else if kind.is_symlink() {
        fs::read_link(&full).unwrap().as_os_str().as_bytes().to_vec()
    } else {
        Vec::new()
    };
    let is_device = kind.is_char_device() || kind.is_block_device();
    let linked_to = if kind.is_dir() {
        path.to_owned()
    } else {
        first_paths.entry(stat.ino()).or_insert_with(|| path.to_owned()).clone()
    };
    let seen = Seen {
        mode: stat.mode(),
        owner: (stat.uid(), stat.gid()),
        size: if kind.is_dir() { 0 } else { stat.len() },
        mtime: (stat.mtime(), stat.mtime_nsec()),
        device: if is_device { stat.rdev() } else { 0 },
        linked_to,
        content,
        xattrs: xattrs(&full),
    };
    tree.insert(path.to_owned(), seen);
    if kind.is_dir() {
        let mut names: Vec<_> = fs::read_dir(&full).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        for name in names {
            look_into(root, &path.join(name), tree, first_paths);
        }
    }
}

/// What is in `root` without what is beneath its `except`.
pub(crate) fn look_beside(root: &Path, except: &str) -> Tree {
    let mut tree = Tree::new();
    for entry in fs::read_dir(root).unwrap().map(Result::unwrap).filter(|entry| entry.file_name() != except) {
        look_into(root, &Path::new(".").join(entry.file_name()), &mut tree, &mut HashMap::new());
    }
    tree
}

/// Lets directories without permissions be removed by the one who owns them.
pub(crate) fn open_up(dir: &Path) {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            open_up(&entry.path());
        }
    }
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 65536];
    let listed = rustix::fs::llistxattr(path, names.as_mut_slice()).unwrap_or(0);
    let value = |name: &[u8]| {
        let mut value = vec![0; 65536];
        let bytes = rustix::fs::lgetxattr(path, name, value.as_mut_slice()).unwrap();
        value.truncate(bytes);
        value
    };
    let names = names[..listed].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names.filter(|name| !name.starts_with(b"security.selinux")).map(|name| (name.to_vec(), value(name))).collect()
}

/// The tree with times in whole seconds, none after `newest`, as our archives hold it.
pub(crate) fn in_whole_seconds(mut tree: Tree, newest: i64) -> Tree {
    for seen in tree.values_mut() {
        seen.mtime = (seen.mtime.0.min(newest), 0);
    }
    tree
}

/// The tree as GNU tar packs it: it stores a second name of a fifo or device as another fifo or device.
pub(crate) fn without_links_to_nodes(mut tree: Tree) -> Tree {
    for (path, seen) in &mut tree {
        if matches!(FileType::from_raw_mode(seen.mode), FileType::Fifo | FileType::CharacterDevice) {
            seen.linked_to.clone_from(path);
        }
    }
    tree
}

/// Fails with the paths and fields that differ.
#[track_caller]
pub(crate) fn assert_same(found: &Tree, expected: &Tree, what: &str) {
    let mut report = String::new();
    for path in found.keys().chain(expected.keys().filter(|path| !found.contains_key(*path))) {
        let (found, expected) = (found.get(path), expected.get(path));
        if found != expected {
            let _ = writeln!(report, "{}\n  found    {found:?}\n  expected {expected:?}", path.display());
        }
    }
    assert!(report.is_empty(), "{what}:\n{report}");
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Builds the tree. What only root can make is left out for others, visibly.
pub(crate) fn build(root: &Path) {
    plain(root);
    named_oddly(root);
    linked(root);
    attributed(root);
    if is_root() {
        privileged(root);
    } else {
        testkit::skip("devices, owners and capabilities, which only root can make");
    }
    timed(root);
}

fn plain(root: &Path) {
    fs::create_dir_all(root.join("etc/deep/er")).unwrap();
    fs::write(root.join("etc/empty"), "").unwrap();
    fs::write(root.join("etc/block"), [b'b'; 512]).unwrap();
    fs::write(root.join("etc/large"), (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>()).unwrap();
    fs::write(root.join("etc-before-etc"), "sorts before etc/").unwrap();
    fs::write(root.join("etc0"), "sorts after etc/").unwrap();
    let sparse = fs::File::create(root.join("etc/sparse")).unwrap();
    for (at, text) in [(0, "start"), (1 << 20, "middle"), (3 << 20, "later")] {
        sparse.write_all_at(text.as_bytes(), at).unwrap();
    }
    sparse.set_len(4 << 20).unwrap();
    fs::File::create(root.join("etc/hole")).unwrap().set_len(1 << 20).unwrap();
    let many_parts = fs::File::create(root.join("etc/many-parts")).unwrap();
    for part in 0..60 {
        many_parts.write_all_at(&[part + 1; 4096], u64::from(part) * (64 << 10)).unwrap();
    }
    for (name, mode) in [("setuid", 0o4755), ("setgid", 0o2755), ("no-mode", 0), ("all-bits", 0o7777)] {
        let path = root.join("etc").join(name);
        fs::write(&path, name).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    for (name, mode) in [("tmp", 0o1777), ("mail", 0o2775), ("etc/locked", 0o500)] {
        fs::create_dir(root.join(name)).unwrap();
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let dir = fs::File::open(root).unwrap();
    rustix::fs::mknodat(&dir, "fifo", FileType::Fifo, Mode::from_raw_mode(0o620), 0).unwrap();
}

fn named_oddly(root: &Path) {
    let long = "n".repeat(255);
    fs::create_dir_all(root.join(&long).join(&long).join("x")).unwrap();
    fs::write(root.join(&long).join(&long).join(&long), "far down").unwrap();
    for length in [97, 98, 99, 100, 101, 154, 155, 156] {
        fs::create_dir_all(root.join("d".repeat(length)).join("e".repeat(90))).unwrap();
        fs::write(root.join("f".repeat(length)), "f").unwrap();
    }
    for name in [&b"caf\xe9"[..], b"new\nline", b"tab\tquote\"back\\slash", "ünïcode".as_bytes(), b"-dash", b" ", b"*"]
    {
        fs::write(root.join(OsStr::from_bytes(name)), name).unwrap();
    }
    let long_and_foreign = [b'\xe9'; 200];
    fs::write(root.join(OsStr::from_bytes(&long_and_foreign)), "x").unwrap();
}

fn linked(root: &Path) {
    fs::hard_link(root.join("etc/block"), root.join("a-hard-link")).unwrap();
    fs::hard_link(root.join("etc/block"), root.join("z-hard-link")).unwrap();
    let long = root.join("n".repeat(255)).join("n".repeat(255));
    fs::hard_link(long.join("n".repeat(255)), root.join("zz-hard-link-to-far-down")).unwrap();
    let dir = fs::File::open(root).unwrap();
    rustix::fs::linkat(&dir, "fifo", &dir, "fifo-too", AtFlags::empty()).unwrap();
    for (name, target) in [
        ("bin", "usr/bin"),
        ("absolute", "/etc/passwd"),
        ("upwards", "../../../../etc/passwd"),
        ("dangling", "nowhere"),
        ("itself", "itself"),
        ("spaced", "a b\nc"),
    ] {
        symlink(target, root.join(name)).unwrap();
    }
    symlink("t".repeat(300), root.join("far-away")).unwrap();
    rustix::fs::linkat(&dir, "dangling", &dir, "dangling-too", AtFlags::empty()).unwrap();
}

fn attributed(root: &Path) {
    fs::create_dir(root.join("listed")).unwrap();
    fs::write(root.join("listed/file"), "x").unwrap();
    let set = |path: &str, name: &str, value: &[u8]| {
        rustix::fs::lsetxattr(root.join(path), name, value, XattrFlags::empty()).unwrap();
    };
    set("etc/block", "user.newline", b"a\nb\n");
    set("etc/block", "user.bytes", &[0, 1, 255, b'=', 0]);
    set("etc/block", "user.with=equals%25", b"1");
    set("etc/block", "user.empty", b"");
    set("etc/deep", "user.on-a-directory", b"yes");
    set(
        "listed/file",
        "system.posix_acl_access",
        &access_list(&[(1, None, 6), (2, Some(1), 4), (4, None, 4), (16, None, 4), (32, None, 0)]),
    );
    let default = access_list(&[(1, None, 7), (4, None, 5), (8, Some(42), 7), (16, None, 7), (32, None, 0)]);
    set("listed", "system.posix_acl_default", &default);
    fs::set_permissions(root.join("listed"), fs::Permissions::from_mode(0o750)).unwrap();
}

fn access_list(entries: &[(u16, Option<u32>, u16)]) -> Vec<u8> {
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, id, permissions) in entries {
        list.extend(tag.to_le_bytes());
        list.extend(permissions.to_le_bytes());
        list.extend(id.unwrap_or(u32::MAX).to_le_bytes());
    }
    list
}

fn privileged(root: &Path) {
    let dir = fs::File::open(root).unwrap();
    let device = |name: &str, kind, major, minor| {
        rustix::fs::mknodat(&dir, name, kind, Mode::from_raw_mode(0o640), rustix::fs::makedev(major, minor)).unwrap();
    };
    device("null", FileType::CharacterDevice, 1, 3);
    device("disk", FileType::BlockDevice, 4095, 1_048_575);
    rustix::fs::linkat(&dir, "null", &dir, "null-too", AtFlags::empty()).unwrap();
    for (path, user, group) in [
        ("etc/large", 1000, 1001),
        ("etc/setuid", 33, 33),
        ("tmp", 3_000_000, 2_097_152),
        ("bin", 7, 7),
        ("fifo", 9, 9),
    ] {
        std::os::unix::fs::lchown(root.join(path), Some(user), Some(group)).unwrap();
    }
    let mode = fs::Permissions::from_mode(0o4755);
    fs::set_permissions(root.join("etc/setuid"), mode).unwrap();
    let set = |path: &str, name: &str, value: &[u8]| {
        rustix::fs::lsetxattr(root.join(path), name, value, XattrFlags::empty()).unwrap();
    };
    // cap_net_raw=ep, revision 2.
    let capability = [&[1, 0, 0, 2][..], &(1_u32 << 13).to_le_bytes(), &[0; 12]].concat();
    set("etc/large", "security.capability", &capability);
    set("etc/block", "trusted.label", b"t");
    set("dangling", "trusted.on-a-link", b"t");
}

fn timed(root: &Path) {
    let mut paths: Vec<_> = look(root).into_keys().collect();
    paths.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
    for (index, path) in paths.iter().enumerate() {
        let index = i64::try_from(index).unwrap();
        let seconds = if path.ends_with("etc/empty") { -86_400 } else { 1_000_000_000 + index * 1000 };
        let modified = Timespec { tv_sec: seconds, tv_nsec: index * 1_000_003 };
        let times = Timestamps { last_access: modified, last_modification: modified };
        rustix::fs::utimensat(rustix::fs::CWD, root.join(path), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}
