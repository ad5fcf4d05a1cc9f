//! On a file system that can share data, copies take no room.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Host, skip};

/// A file system of btrfs, mounted in a container's stead.
struct Btrfs {
    target: PathBuf,
    _image: tempfile::NamedTempFile,
}

impl Btrfs {
    fn or_skip(target: &Path) -> Option<Self> {
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(200 << 20).unwrap();
        match Command::new("mkfs.btrfs").arg("-q").arg(image.path()).output() {
            Ok(made) if made.status.success() => {}
            _ => return skip("there is no mkfs.btrfs: apt install btrfs-progs"),
        }
        fs::create_dir_all(target).unwrap();
        let mounted = Command::new("mount").args(["-o", "loop"]).arg(image.path()).arg(target).output().unwrap();
        if !mounted.status.success() {
            return skip("the kernel mounts no btrfs here");
        }
        Some(Self { target: target.to_owned(), _image: image })
    }

    fn used(&self) -> u64 {
        Command::new("sync").arg("-f").arg(&self.target).status().unwrap();
        let stat = rustix::fs::statvfs(&self.target).unwrap();
        (stat.f_blocks - stat.f_bfree) * stat.f_frsize
    }
}

impl Drop for Btrfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.target).status();
    }
}

const BIG: u64 = 40 << 20;

fn fill(rootfs: &Path) {
    let noise: Vec<u8> = (0..BIG).map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()[2]).collect();
    fs::write(rootfs.join("big"), noise).unwrap();
}

#[test]
fn whole_copies_share_the_data_of_their_files() {
    let Some(host) = Host::or_skip() else { return };
    let Some(disk) = Btrfs::or_skip(&host.containers()) else { return };
    fill(&host.create("base", "").join("rootfs"));
    let before = disk.used();
    host.run("copy base web").succeeds();
    let grown = disk.used() - before;
    assert!(grown < BIG / 4, "the copy took {grown} bytes");
    assert_eq!(host.containers().join("web/rootfs/big").metadata().unwrap().len(), BIG);
    host.clear();
}

#[test]
fn clones_of_a_subvolume_are_snapshots_that_need_nobody() {
    let Some(host) = Host::or_skip() else { return };
    let Some(disk) = Btrfs::or_skip(&host.containers()) else { return };
    let rootfs = host.containers().join("base/rootfs");
    fs::create_dir_all(rootfs.parent().unwrap()).unwrap();
    Command::new("btrfs").args(["-q", "subvolume", "create"]).arg(&rootfs).status().unwrap();
    fill(&host.create("base", "").join("rootfs"));
    fs::write(rootfs.join("etc/hostname"), "base\n").unwrap();
    let before = disk.used();
    host.run("copy --snapshot base web").succeeds();
    assert!(disk.used() - before < BIG / 4);
    let web = host.containers().join("web");
    let shown = Command::new("btrfs").args(["subvolume", "show"]).arg(web.join("rootfs")).output().unwrap();
    assert!(shown.status.success(), "the copy is no subvolume");
    assert_eq!(fs::read_to_string(web.join("rootfs/etc/hostname")).unwrap(), "web\n");
    host.run("destroy base").succeeds();
    host.run("start web -- sleep 1000").succeeds();
    host.run("stop -k web").succeeds();
    host.run("destroy web").succeeds();
    host.clear();
}
