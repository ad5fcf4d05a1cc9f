//! The real Incus uses our server like any image server, and follows an image through one delta.

use std::fs;
use std::path::{Path, PathBuf};

use formats::digest::Sha256;
use formats::record::{BuildFile, BuildRecord};
use tempfile::TempDir;

use crate::support::incus::IncusHost;
use crate::support::{Program, need};

const IMAGE: &str = "busybox/1.35/amd64/default";

#[test]
fn incus_lists_copies_launches_and_updates_an_image_through_exactly_one_delta() {
    need!(root, "busybox", "ip", "mksquashfs", "mmdebstrap", "nsenter", "setpriv", "unshare", "xdelta3");
    if std::env::var_os("ROOTCELLAR_TEST_NETWORK").is_none() {
        testkit::skip("downloads Incus only with ROOTCELLAR_TEST_NETWORK=1");
        return;
    }
    let image = Image::new();
    let Some(host) = IncusHost::new() else { return };
    let server = host.server(&[&image.build("20261122_0522", "first")]);
    let host = host.trusting(&server);

    host.run(&format!("incus remote add cellar {} --protocol simplestreams", server.url)).succeeds();
    host.run(&format!("incus remote add channel {}/c/stable --protocol simplestreams", server.url)).succeeds();
    let first = fingerprint(&image.record("20261122_0522"));
    for remote in ["cellar", "channel"] {
        let list = host.run(&format!("incus image list {remote}: --format csv --columns F")).succeeds();
        // One with a squashfs and one with a tarball, both of the one build.
        assert!(list.lines().count() == 2 && list.contains(&first), "expected {first} in {list}");
    }
    let info = host.run("incus image info cellar:busybox/1.35").succeeds();
    for line in [
        format!("Fingerprint: {first}").as_str(),
        "Architecture: x86_64",
        "Type: container",
        "Expires: 2030/06/30",
        "os: Busybox",
        "release: 1.35",
        "variant: default",
        "serial: 20261122_0522",
        "- busybox/1.35/amd64",
        "- busybox/1.35/default",
    ] {
        assert!(info.contains(line), "expected `{line}` in {info}");
    }

    host.run("incus image copy cellar:busybox/1.35 local: --alias box --auto-update").succeeds();
    host.run("incus launch box first").succeeds();
    assert_eq!(host.run("incus exec first -- cat /etc/issue").succeeds(), "first\n");
    assert_eq!(host.run("incus exec first -- hostname").succeeds(), "first\n");
    assert!(!server.log().contains(".vcdiff"), "{}", server.log());

    server.publish(&image.build("20261123_0522", "second"));
    let before = server.log().len();
    // The daemon would take the index that it has for an hour.
    host.run("find /var/cache/incus -name *.json -delete").succeeds();
    host.run("incus image refresh box").succeeds();
    let log = server.log()[before..].to_owned();
    let gets: Vec<_> = log.lines().filter_map(|line| line.split_once("GET ")?.1.split(' ').next()).collect();
    let build = format!("/images/{IMAGE}/20261123_0522");
    let fetched: Vec<_> = gets.iter().filter(|path| path.starts_with("/images/")).copied().collect();
    let expected = [format!("{build}/incus.tar.xz"), format!("{build}/rootfs.squashfs.20261122_0522.vcdiff")];
    assert_eq!(fetched, expected, "{log}");

    let local = host.run("incus image list local: --format csv --columns lF").succeeds();
    assert_eq!(local.trim(), format!("box,{}", fingerprint(&image.record("20261123_0522"))));
    let info = host.run("incus image info box").succeeds();
    assert!(info.contains("Auto update: enabled"), "{info}");
    host.run("incus launch box second").succeeds();
    assert_eq!(host.run("incus exec second -- cat /etc/issue").succeeds(), "second\n");
}

/// An image that runs, made by our builder of one tree. Its files are large enough for a delta to matter.
struct Image {
    directory: TempDir,
}

impl Image {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let tree = directory.path().join("tree");
        for name in ["bin", "dev", "etc", "proc", "root", "run", "sbin", "sys", "tmp", "usr/share", "var"] {
            fs::create_dir_all(tree.join(name)).unwrap();
        }
        fs::copy("/bin/busybox", tree.join("bin/busybox")).unwrap();
        for applet in ["cat", "hostname", "sh", "sleep"] {
            std::os::unix::fs::symlink("busybox", tree.join("bin").join(applet)).unwrap();
        }
        let noise = |n: u32| Sha256::of(&n.to_le_bytes()).to_string().into_bytes();
        let noise: Vec<u8> = (0..40_000).flat_map(noise).collect();
        fs::write(tree.join("usr/share/noise"), noise).unwrap();
        fs::write(tree.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
        fs::write(tree.join("etc/os-release"), "ID=busybox\nVERSION_ID=1.35\nSUPPORT_END=2030-06-30\n").unwrap();
        let init = tree.join("sbin/init");
        fs::write(&init, INIT).unwrap();
        fs::set_permissions(&init, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        fs::write(directory.path().join("spec.yaml"), SPEC).unwrap();
        Self { directory }
    }

    /// A build of the image that says `issue`.
    fn build(&self, serial: &str, issue: &str) -> PathBuf {
        fs::write(self.path("tree/etc/issue"), format!("{issue}\n")).unwrap();
        Program::ours("rootcellar-builder")
            .arg("pack")
            .arg(self.path("spec.yaml"))
            .arg(self.path("tree"))
            .args(["--serial", serial, "--formats", "lxc,incus", "--xz-level", "0", "--no-cache", "--output"])
            .arg(self.path("out"))
            .run()
            .succeeds();
        self.path(&format!("out/{IMAGE}/{serial}"))
    }

    fn record(&self, serial: &str) -> BuildRecord {
        let json = fs::read(self.path(&format!("out/{IMAGE}/{serial}/build.json"))).unwrap();
        BuildRecord::from_json(&json).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new(self.directory.path()).join(name)
    }
}

/// The name that Incus has for an image: the digest of its metadata and its squashfs, one after the other.
fn fingerprint(record: &BuildRecord) -> String {
    record.fingerprint(BuildFile::IncusTarXz, BuildFile::RootfsSquashfs).unwrap().to_string()
}

const INIT: &str = "#!/bin/sh\ntrap 'exit 0' PWR TERM\nwhile :; do sleep 1 & wait $!; done\n";

const SPEC: &str = r#"
image: {distribution: busybox, release: "1.35", architecture: amd64}
source: {downloader: debootstrap, suite: bookworm}
targets:
  lxc: {config: [{type: all, content: lxc.include = LXC_TEMPLATE_CONFIG/common.conf}]}
packages:
  custom_manager:
    clean: {cmd: "true"}
    install: {cmd: "true"}
    refresh: {cmd: "true"}
    remove: {cmd: "true"}
    update: {cmd: "true"}
files:
- {generator: hostname, path: /etc/hostname}
"#;
