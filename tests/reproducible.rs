//! The same inputs give the same bytes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use formats::digest::Sha256;

use crate::support::{Program, need};

#[test]
fn two_builds_of_the_same_inputs_are_identical() {
    need!(root, "mmdebstrap");
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let second = second.path().join("another/path");
    build(first.path(), "022", "UTC");
    build(&second, "077", "Asia/Tokyo");
    let (first, second) = (files(first.path()), files(&second));
    assert!(first.keys().any(|name| name.ends_with("rootfs.tar.xz")), "{first:?}");
    assert_eq!(first, second);
}

/// Builds a small Debian image into `output`, under a umask and in a time zone.
fn build(output: &Path, umask: &str, time_zone: &str) {
    fs::create_dir_all(output).unwrap();
    let spec = output.join("minimal.yaml");
    fs::write(&spec, SPEC).unwrap();
    let script = format!("umask {umask}; exec \"$@\"");
    Program::new("sh")
        .args(["-c", &script, "sh"])
        .arg(crate::support::program::ours("rootcellar-builder"))
        .env("SOURCE_DATE_EPOCH", "1795411320")
        .env("TZ", time_zone)
        .args(["build", "--formats", "lxc", "--xz-level", "1", "--output"])
        .arg(output)
        .arg("--cache")
        .arg(output.join("cache"))
        .arg(&spec)
        .run()
        .succeeds();
}

/// Every file of the build but its log, by its path from the image's directory on.
fn files(output: &Path) -> BTreeMap<String, Sha256> {
    let listing =
        Program::new("find").arg(output.join("debian")).args(["-type", "f", "-printf", "%P\\n"]).run().succeeds();
    listing
        .lines()
        .filter(|name| !name.ends_with("build.log"))
        .map(|name| (name.to_owned(), Sha256::of(&fs::read(output.join("debian").join(name)).unwrap())))
        .collect()
}

const SPEC: &str = "\
image:
  distribution: debian
  release: bookworm
  architecture: amd64
source:
  downloader: debootstrap
  same_as: sid
targets:
  lxc:
    create_message: You just created a Debian container.
    config:
      - type: all
        content: lxc.include = LXC_TEMPLATE_CONFIG/common.conf
files:
  - path: /etc/hostname
    generator: hostname
  - path: /etc/hosts
    generator: hosts
  - path: /etc/motd
    generator: dump
    content: built twice
packages:
  manager: apt
  update: true
  cleanup: true
  sets:
    - packages: [less]
      action: install
actions:
  - trigger: post-packages
    action: |-
      #!/bin/sh
      date > /etc/cron.daily.example
      rm /etc/cron.daily.example
mappings:
  architecture_map: debian
";
