//! The builds that tests publish.

use std::fs;
use std::path::{Path, PathBuf};

use formats::digest::Sha256;
use tempfile::TempDir;

use super::program::{Program, source};

/// A real Debian bookworm build that boots systemd, made by our builder from `image-specs/debian.yaml`. It is made
/// once and kept in the target directory, under the digest of the spec.
pub(crate) fn debian_build() -> PathBuf {
    let spec = source().join("image-specs/debian.yaml");
    let digest = Sha256::of(&fs::read(&spec).unwrap()).short();
    let kept = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("images").join(digest);
    fs::create_dir_all(&kept).unwrap();
    let lock = fs::File::create(kept.join(".lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    find_build(&kept).unwrap_or_else(|| {
        Program::ours("rootcellar-builder")
            .arg("build")
            .arg(&spec)
            .args(["-o", "image.release=bookworm", "-o", "image.architecture=amd64"])
            .args(["--formats", "lxc", "--xz-level", "1", "--output"])
            .arg(&kept)
            .arg("--cache")
            .arg(kept.join("cache"))
            .run()
            .succeeds();
        find_build(&kept).expect("the builder made a build")
    })
}

/// A valid build of a few files, made in milliseconds.
pub(crate) fn fake_build(image: &str, serial: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let build = testkit::FakeImage::new(image).serial(serial).write(directory.path());
    (directory, build)
}

/// A build that runs: busybox, and an init that asks for an address and ends when it is told to.
pub(crate) fn busybox_build() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let busybox = fs::read("/bin/busybox").unwrap();
    let image = testkit::FakeImage::new("busybox/1.35/amd64/default")
        .serial("20261123_0522")
        .executable("bin/busybox", busybox)
        .executable("sbin/init", INIT)
        .executable("etc/udhcpc.sh", UDHCPC)
        .rootfs(|rootfs| {
            for applet in APPLETS {
                rootfs.symlink(&format!("bin/{applet}"), "busybox");
            }
        });
    let build = image.write(directory.path());
    (directory, build)
}

const APPLETS: [&str; 9] = ["cat", "hostname", "id", "ip", "ping", "sh", "sleep", "touch", "udhcpc"];

/// LXC asks for the end with SIGPWR unless the image says otherwise.
const INIT: &str = "#!/bin/sh
trap 'exit 0' PWR
ip link set lo up
udhcpc -i eth0 -q -n -t 20 -T 1 -s /etc/udhcpc.sh &
while :; do sleep 1 & wait $!; done
";

const UDHCPC: &str = "#!/bin/sh
case $1 in
deconfig) ip link set \"$interface\" up ;;
bound) ip addr add \"$ip/24\" dev \"$interface\" ;;
esac
";

fn find_build(directory: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(directory).ok()?.map(|entry| entry.unwrap().path());
    let mut entries: Vec<_> = entries.filter(|path| path.is_dir() && !path.ends_with("cache")).collect();
    entries.sort();
    if directory.join("build.json").is_file() {
        return Some(directory.to_path_buf());
    }
    entries.iter().rev().find_map(|entry| find_build(entry))
}
