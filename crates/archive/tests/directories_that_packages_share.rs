//! Archives that are unpacked one over the other as packages are: what is there stays, links to directories too.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the right answer")]

#[path = "common/forge.rs"]
mod forge;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use forge::Forge;
use rootcellar_archive::unpack::{
    ExistingDirectories, Listed, UnpackError, UnpackLimits, UnpackOptions, list, unpack_listed,
};

fn unpack(tar: impl AsRef<[u8]>, dest: &Path) -> Result<Vec<Listed>, UnpackError> {
    let options =
        UnpackOptions { existing_directories: ExistingDirectories::Keep, ..UnpackOptions::for_this_process().unwrap() };
    unpack_listed(tar.as_ref(), dest, &options).map(|(_, list)| list)
}

/// A tree whose `bin` is merged into `usr/bin`.
fn merged() -> tempfile::TempDir {
    let tree = tempfile::tempdir().unwrap();
    fs::create_dir_all(tree.path().join("usr/bin")).unwrap();
    symlink("usr/bin", tree.path().join("bin")).unwrap();
    tree
}

#[test]
fn a_directory_over_a_link_to_a_directory_leaves_the_link() {
    let tree = merged();
    unpack(Forge::default().dir("bin/").file("bin/sh", "shell").end(), tree.path()).unwrap();
    assert!(tree.path().join("bin").is_symlink());
    assert_eq!(fs::read(tree.path().join("usr/bin/sh")).unwrap(), b"shell");
}

#[test]
fn a_hard_link_may_name_its_target_through_a_link_inside() {
    let tree = merged();
    let tar = Forge::default().dir("bin/").file("bin/a", "x").hard_link("bin/b", "bin/a").end();
    unpack(tar, tree.path()).unwrap();
    assert_eq!(fs::metadata(tree.path().join("usr/bin/b")).unwrap().nlink(), 2);
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "host").unwrap();
    symlink(outside.path(), tree.path().join("out")).unwrap();
    assert!(unpack(Forge::default().hard_link("c", "out/secret").end(), tree.path()).is_err());
}

#[test]
fn an_existing_directory_keeps_its_mode_and_a_new_one_gets_the_archives() {
    let tree = tempfile::tempdir().unwrap();
    fs::create_dir(tree.path().join("old")).unwrap();
    fs::set_permissions(tree.path().join("old"), fs::Permissions::from_mode(0o700)).unwrap();
    unpack(Forge::default().dir("old/").dir("new/").end(), tree.path()).unwrap();
    assert_eq!(fs::metadata(tree.path().join("old")).unwrap().mode() & 0o777, 0o700);
    let new = fs::metadata(tree.path().join("new")).unwrap();
    assert_eq!((new.mode() & 0o777, new.mtime()), (0o755, 1_000_000_000));
}

#[test]
fn members_are_listed_in_their_order() {
    let tree = tempfile::tempdir().unwrap();
    let list = unpack(Forge::default().dir("./").dir("./b/").file("./b/x", "").symlink("./a", "b").end(), tree.path());
    let expected = [("", true), ("b", true), ("b/x", false), ("a", false)];
    let expected = expected.map(|(path, is_directory)| Listed { path: path.into(), is_directory });
    assert_eq!(list.unwrap(), expected);
}

#[test]
fn members_are_listed_as_they_are_unpacked() {
    let tar = Forge::default().dir("bin/").file("bin/sh", "shell").hard_link("bin/ash", "bin/sh").end();
    let listed = list(tar.as_slice(), &UnpackLimits::default()).unwrap();
    let tree = tempfile::tempdir().unwrap();
    assert_eq!(listed, unpack(&tar, tree.path()).unwrap());
    assert_eq!(listed.iter().filter(|member| member.is_directory).count(), 1);
    assert!(list(&tar[..tar.len() - 1024], &UnpackLimits::default()).is_err());
}
