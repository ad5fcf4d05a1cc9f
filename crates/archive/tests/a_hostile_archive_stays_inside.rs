//! Whatever an archive holds, nothing outside of the destination is made, changed or removed.

#![allow(clippy::unwrap_used, reason = "these are tests")]

#[path = "common/forge.rs"]
mod forge;
#[path = "common/tree.rs"]
mod tree;

use std::fs;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::PathBuf;

use forge::Forge;
use rootcellar_archive::unpack::{Excludes, UnpackError, UnpackLimits, UnpackOptions, UnpackSummary, list, unpack};
use tar::EntryType;
use tree::{Tree, assert_same, look_beside};

/// A host with a `secret` and a directory, and the destination beside them.
struct Host {
    dir: tempfile::TempDir,
    before: Tree,
}

impl Host {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("host/etc")).unwrap();
        fs::create_dir(dir.path().join("host/dest")).unwrap();
        fs::write(dir.path().join("host/secret"), "of the host").unwrap();
        fs::write(dir.path().join("host/etc/passwd"), "root").unwrap();
        symlink("../secret", dir.path().join("host/etc/link")).unwrap();
        let before = Self::outside(dir.path());
        Self { dir, before }
    }

    fn outside(dir: &std::path::Path) -> Tree {
        look_beside(&dir.join("host"), "dest")
    }

    fn dest(&self, path: &str) -> PathBuf {
        self.dir.path().join("host/dest").join(path)
    }

    /// An absolute path of the host.
    fn absolute(&self, path: &str) -> String {
        self.dir.path().join("host").join(path).to_str().unwrap().to_owned()
    }

    fn unpack(&self, tar: &[u8]) -> Result<UnpackSummary, UnpackError> {
        self.unpack_within(tar, UnpackLimits::default())
    }

    fn unpack_within(&self, tar: &[u8], limits: UnpackLimits) -> Result<UnpackSummary, UnpackError> {
        let options = UnpackOptions { limits, ..UnpackOptions::for_this_process().unwrap() };
        let result = unpack(tar, &self.dest(""), &options);
        assert_same(&Self::outside(self.dir.path()), &self.before, "the host");
        result
    }
}

#[test]
fn names_with_two_dots_or_a_root_are_refused() {
    for name in ["../secret", "./../secret", "a/../../secret", "..", "/only-in-the-image/secret", "a/.."] {
        let host = Host::new();
        for kind in [EntryType::Regular, EntryType::Directory, EntryType::Symlink, EntryType::Fifo] {
            let tar = Forge::default().member(name, kind, "x", b"").end();
            assert!(matches!(host.unpack(&tar), Err(UnpackError::BadName { .. })), "{name} {kind:?}");
        }
    }
}

#[test]
fn a_bad_name_in_an_extended_header_is_refused_like_one_in_a_header() {
    let host = Host::new();
    for record in ["path=../secret", "path=/only-in-the-image/secret", "GNU.sparse.name=../secret", "path=a\0b"] {
        let tar = Forge::default().pax(&[record]).file("innocent", "x").end();
        assert!(matches!(host.unpack(&tar), Err(UnpackError::BadName { .. })), "{record}");
    }
    let long_name = Forge::default().member("././@LongLink", EntryType::GNULongName, "", b"../secret\0");
    assert!(matches!(host.unpack(&long_name.file("innocent", "x").end()), Err(UnpackError::BadName { .. })));
}

#[test]
fn a_file_replaces_a_link_of_its_name_and_is_not_written_through_it() {
    let host = Host::new();
    for target in ["../secret".to_owned(), host.absolute("secret"), "../etc/link".to_owned()] {
        let tar = Forge::default().symlink("x", &target).file("x", "new").end();
        host.unpack(&tar).unwrap();
        assert_eq!(fs::read(host.dest("x")).unwrap(), b"new");
        assert!(fs::symlink_metadata(host.dest("x")).unwrap().is_file());
    }
}

#[test]
fn directories_behind_links_end_inside() {
    let host = Host::new();
    for target in ["..", "../..", "../etc", &host.absolute(""), &host.absolute("etc"), "/proc/self/cwd", "."] {
        let tar = Forge::default().symlink("way", target).file("way/secret", "x").file("way/etc/passwd", "x");
        let _ = host.unpack(&tar.dir("way/etc").symlink("way/etc/link", "x").hard_link("way/hard", "way/secret").end());
        let _ = fs::remove_file(host.dest("way"));
    }
    // From the root of the machine, down to the host of this test alone: a failure must not reach the machine.
    let from_root = format!("way{}", host.absolute("secret"));
    let _ = host.unpack(&Forge::default().symlink("way", "/").file(&from_root, "x").end());
}

#[test]
fn a_library_directory_that_is_a_link_is_followed_as_the_container_would() {
    // No machine has this directory, so that a failure finds nothing to write to.
    for target in ["only-in-the-image/lib", "/only-in-the-image/lib", "../../only-in-the-image/lib"] {
        let host = Host::new();
        let tar = Forge::default().dir("only-in-the-image/").dir("only-in-the-image/lib/");
        host.unpack(&tar.symlink("lib", target).file("lib/x", "here").end()).unwrap();
        assert_eq!(fs::read(host.dest("only-in-the-image/lib/x")).unwrap(), b"here", "{target}");
    }
}

#[test]
fn links_that_were_in_the_destination_before_lead_nowhere_either() {
    let host = Host::new();
    symlink(host.absolute("etc"), host.dest("etc")).unwrap();
    symlink(host.absolute("secret"), host.dest("secret")).unwrap();
    let _ = host.unpack(&Forge::default().file("secret", "x").file("etc/passwd", "x").end());
    let host = Host::new();
    symlink(host.absolute("etc"), host.dest("etc")).unwrap();
    host.unpack(&Forge::default().dir("etc/").file("etc/passwd", "x").end()).unwrap();
    assert!(fs::symlink_metadata(host.dest("etc")).unwrap().is_dir());
}

#[test]
fn hard_links_to_the_outside_are_refused() {
    let host = Host::new();
    for target in ["../secret", "/only-in-the-image/secret", "a/../../secret"] {
        let tar = Forge::default().hard_link("stolen", target).file("stolen", "x").end();
        assert!(matches!(host.unpack(&tar), Err(UnpackError::BadName { .. })), "{target}");
    }
}

#[test]
fn hard_links_do_not_go_through_links() {
    let host = Host::new();
    for way in ["..", "../etc", &host.absolute("")] {
        let tar = Forge::default().symlink("way", way).hard_link("stolen", "way/passwd").end();
        assert!(matches!(host.unpack(&tar), Err(UnpackError::BadHardLink { .. })), "{way}");
    }
    // A hard link to a link is a second name of the link, not of what it points to.
    let tar = Forge::default().symlink("link", "../secret").hard_link("stolen", "link").file("stolen", "x").end();
    host.unpack(&tar).unwrap();
}

#[test]
fn hard_links_to_nothing_to_directories_and_to_themselves_are_refused() {
    let host = Host::new();
    for (name, target) in [("x", "missing"), ("x", "dir"), ("x", "dir/none"), ("x", "./"), ("x", "x"), ("x", "file/x")]
    {
        let tar = Forge::default().dir("dir/").file("file", "").hard_link(name, target).end();
        assert!(matches!(host.unpack(&tar), Err(UnpackError::BadHardLink { .. })), "{target}");
    }
}

#[test]
fn a_hard_link_to_what_was_left_out_is_refused_and_not_lost() {
    let host = Host::new();
    let tar = Forge::default().file("a", "content").hard_link("b", "a").end();
    let excludes = Excludes::from_lines(b"./a");
    let options = UnpackOptions { excludes, ..UnpackOptions::for_this_process().unwrap() };
    let refused = unpack(tar.as_slice(), &host.dest(""), &options);
    assert_eq!(refused.unwrap_err().to_string(), "`b` is a hard link to `a`, which was left out");
}

#[test]
fn a_device_swapped_for_a_file_is_not_written_to() {
    if !tree::is_root() {
        testkit::skip("only root can make devices");
        return;
    }
    let host = Host::new();
    let device = |header: &mut tar::Header| {
        header.set_device_major(1).unwrap();
        header.set_device_minor(3).unwrap();
    };
    let tar = Forge::default().header("null", EntryType::Char, "", 0, device).file("null", "a file").end();
    host.unpack(&tar).unwrap();
    assert_eq!(fs::read(host.dest("null")).unwrap(), b"a file");
    let tar = Forge::default().file("null", "a file").header("null", EntryType::Char, "", 0, device).end();
    host.unpack(&tar).unwrap();
    assert!(fs::symlink_metadata(host.dest("null")).unwrap().file_type().is_char_device());
}

#[test]
fn a_fifo_swapped_for_a_file_does_not_block() {
    let host = Host::new();
    let tar = Forge::default().member("pipe", EntryType::Fifo, "", b"").file("pipe", "a file").end();
    host.unpack(&tar).unwrap();
    assert_eq!(fs::read(host.dest("pipe")).unwrap(), b"a file");
}

#[test]
fn the_last_member_of_a_name_counts() {
    let host = Host::new();
    let tar = Forge::default().file("x", "first").hard_link("y", "x").file("x", "second").end();
    host.unpack(&tar).unwrap();
    assert_eq!(fs::read(host.dest("x")).unwrap(), b"second");
    assert_eq!(fs::read(host.dest("y")).unwrap(), b"first");
}

#[test]
fn a_file_replaces_an_empty_directory_and_no_other() {
    let host = Host::new();
    host.unpack(&Forge::default().dir("d/").file("d", "x").end()).unwrap();
    assert_eq!(fs::read(host.dest("d")).unwrap(), b"x");
    let tar = Forge::default().dir("e/").file("e/f", "x").file("e", "x").end();
    assert!(matches!(host.unpack(&tar), Err(UnpackError::Occupied { .. })));
    assert_eq!(fs::read(host.dest("e/f")).unwrap(), b"x");
}

#[test]
fn a_directory_swapped_for_a_link_does_not_give_its_mode_to_what_the_link_shows() {
    let host = Host::new();
    let tar = Forge::default()
        .dir("inside/")
        .header("d", EntryType::Directory, "", 0, |header| header.set_mode(0o7777))
        .symlink("d", "inside")
        .end();
    host.unpack(&tar).unwrap();
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(host.dest("inside")).unwrap());
    assert_eq!(mode & 0o7777, 0o755);
}

#[test]
fn sizes_that_lie_end_in_an_error() {
    let host = Host::new();
    let huge = i64::MAX.to_string();
    let size = |value: &str| Forge::default().pax(&[&format!("size={value}")]).file("x", "12345").end();
    assert!(matches!(host.unpack(&size(&huge)), Err(UnpackError::TooMuch { .. })));
    assert!(matches!(host.unpack(&size("99999")), Err(UnpackError::Truncated { .. })));
    assert!(matches!(host.unpack(&size("-5")), Err(UnpackError::BadExtension { .. })));
    assert!(matches!(host.unpack(&size("2000")), Err(UnpackError::Truncated { .. } | UnpackError::BadHeader { .. })));
    let header = Forge::default().header("x", EntryType::Regular, "", u64::MAX, |_| {}).end();
    assert!(matches!(host.unpack(&header), Err(UnpackError::TooMuch { .. })));
}

#[test]
fn sparse_maps_that_lie_end_in_an_error() {
    let host = Host::new();
    for (size, map) in
        [("10", "0,5,3,5"), ("10", "0,20"), ("18446744073709551615", "0,10"), ("10", "9,10"), ("10", "0,9")]
    {
        let records = [format!("GNU.sparse.size={size}"), format!("GNU.sparse.map={map}")];
        let tar = Forge::default().pax(&[&records[0], &records[1]]).file("x", "0123456789").end();
        let result = host.unpack(&tar);
        assert!(
            matches!(result, Err(UnpackError::BadExtension { .. } | UnpackError::TooMuch { .. })),
            "{map}: {result:?}"
        );
    }
    let version_1 = ["GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.realsize=100"];
    for map in ["5\n0\n", "99999999999999999999999\n", "18446744073709551615\n0\n", "x\n", ""] {
        let tar = Forge::default().pax(&version_1).file("x", map).end();
        assert!(matches!(host.unpack(&tar), Err(UnpackError::BadExtension { .. })), "{map}");
    }
}

#[test]
fn an_archive_cut_anywhere_is_refused() {
    let whole = Forge::default().dir("d/").pax(&["path=d/x"]).file("x", "content").symlink("l", "x").end();
    for cut in (0..whole.len() - 1023).step_by(256) {
        let host = Host::new();
        let result = host.unpack(&whole[..cut]);
        assert!(matches!(result, Err(UnpackError::Truncated { .. })), "cut at {cut}: {result:?}");
    }
}

#[test]
fn a_header_with_one_flipped_bit_is_refused() {
    let host = Host::new();
    let mut tar = Forge::default().file("x", "content").end();
    tar[3] ^= 1;
    assert!(matches!(host.unpack(&tar), Err(UnpackError::BadHeader { offset: 0, .. })));
}

#[test]
fn bombs_stop_at_their_limit() {
    let host = Host::new();
    let limits = UnpackLimits {
        entries: 10,
        unpacked_bytes: 10_000,
        path_bytes: 50,
        xattr_bytes: 100,
        pax_bytes: 2000,
        pax_total_bytes: 20_000,
    };
    let many = |count: usize, add: &dyn Fn(Forge, usize) -> Forge| (0..count).fold(Forge::default(), add).end();
    let long = "n/".repeat(26);
    let large = "v".repeat(3000);
    for (bomb, what, tar) in [
        ("members", "members", many(11, &|forge, index| forge.file(&index.to_string(), ""))),
        ("bytes", "unpacked bytes", many(9, &|forge, index| forge.file(&index.to_string(), &"x".repeat(1200)))),
        ("bytes after the end", "unpacked bytes", [Forge::default().end(), vec![0; 10_000]].concat()),
        (
            "holes",
            "unpacked bytes",
            many(1, &|forge, _| forge.pax(&["GNU.sparse.size=10001", "GNU.sparse.map=0,1"]).file("x", "1")),
        ),
        ("paths", "bytes in a path", many(1, &|forge, _| forge.file(&long, ""))),
        ("targets", "bytes in a path", many(1, &|forge, _| forge.symlink("x", &long))),
        (
            "attributes",
            "bytes of extended attributes",
            many(1, &|forge, _| forge.pax(&[&format!("SCHILY.xattr.user.a={}", "v".repeat(100))]).file("x", "")),
        ),
        (
            "a header",
            "bytes of extended headers in one member",
            many(1, &|forge, _| forge.pax(&[&format!("comment={large}")]).file("x", "")),
        ),
        ("headers", "bytes of extended headers in one member", many(50, &|forge, _| forge.pax(&["comment=x"]))),
    ] {
        match host.unpack_within(&tar, limits.clone()) {
            Err(UnpackError::TooMuch { what: found, .. }) => assert_eq!(found, what, "{bomb}"),
            other => panic!("{bomb}: {other:?}"),
        }
    }
}

#[test]
fn ten_million_members_are_read_no_further_than_the_limit() {
    /// Empty files in an endless row, each with a name of its own.
    struct Row {
        member: u64,
        rest: Vec<u8>,
    }
    impl std::io::Read for Row {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            if self.rest.is_empty() && self.member < 10_000_000 {
                self.member += 1;
                self.rest = Forge::default().file(&format!("f{}", self.member), "").end();
                self.rest.truncate(512);
            }
            let length = self.rest.len().min(buffer.len());
            buffer[..length].copy_from_slice(&self.rest[..length]);
            self.rest.drain(..length);
            Ok(length)
        }
    }
    let host = Host::new();
    let limits = UnpackLimits { entries: 5000, ..UnpackLimits::default() };
    let options = UnpackOptions { limits, ..UnpackOptions::for_this_process().unwrap() };
    let mut row = Row { member: 0, rest: Vec::new() };
    let refused = unpack(&mut row, &host.dest(""), &options);
    assert!(matches!(refused, Err(UnpackError::TooMuch { what: "members", limit: 5000, .. })), "{refused:?}");
    assert!(row.member < 20_000, "{} were read", row.member);
    assert!(fs::read_dir(host.dest("")).unwrap().count() <= 5000);
    assert!(UnpackLimits::default().entries < 10_000_000);
}

#[test]
fn ten_million_members_are_more_than_the_default_limit_allows() {
    let mut member = Forge::default().file("f", "").end();
    member.truncate(512);
    let mut row = Repeated { block: member, blocks: 0 };
    let refused = list(&mut row, &UnpackLimits::default());
    assert!(matches!(refused, Err(UnpackError::TooMuch { what: "members", limit: 2_000_000, .. })));
    assert!(row.blocks < 2_010_000, "{} were read", row.blocks);
}

/// The same block ten million times.
struct Repeated {
    block: Vec<u8>,
    blocks: u64,
}

impl std::io::Read for Repeated {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let mut length = 0;
        for piece in buffer.chunks_exact_mut(self.block.len()) {
            if self.blocks == 10_000_000 {
                break;
            }
            piece.copy_from_slice(&self.block);
            self.blocks += 1;
            length += piece.len();
        }
        Ok(length)
    }
}

#[test]
fn an_unknown_kind_of_member_is_refused_by_name() {
    let host = Host::new();
    let tar = Forge::default().member("odd", EntryType::new(b'Q'), "", b"").end();
    let message = host.unpack(&tar).unwrap_err().to_string();
    assert_eq!(message, "`odd` is of the unknown kind `Q`");
}
