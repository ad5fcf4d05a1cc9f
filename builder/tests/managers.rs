//! dnf, zypper and pacman really install what a spec asks for, from signed repositories.
//!
//! They run in a Debian tree that has all three, made once and kept in the target directory, with repositories of tiny
//! packages in it (`managers/prepare.sh`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Program;

use crate::common::chroot::Chroot;
use crate::common::{builder, is_root, output_of};

const PACKAGES: &str =
    "dnf,rpm,createrepo-c,zypper,pacman-package-manager,makepkg,libarchive-tools,fakeroot,gpg,gpg-agent,gpgconf,gpgv";

/// The tree as an archive; `None`, said on stderr, where it cannot be had.
fn archive() -> Option<PathBuf> {
    if std::env::var_os("ROOTCELLAR_TEST_NETWORK").is_none() {
        testkit::skip("installs package managers in a tree only with ROOTCELLAR_TEST_NETWORK=1");
        return None;
    }
    if !is_root() {
        return None;
    }
    let chroot = Chroot::cached("managers-bookworm", "bookworm", PACKAGES, include_str!("managers/prepare.sh"))?;
    let archive = chroot.root.with_extension("tar");
    let lock = fs::File::create(chroot.root.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    if !archive.exists() {
        let partial = archive.with_extension("partial");
        let made = Program::new("tar").arg("-C").arg(&chroot.root).arg("-cf").arg(&partial).arg(".").status();
        assert!(made.unwrap().success());
        fs::rename(partial, &archive).unwrap();
    }
    Some(archive)
}

/// A spec that installs `tiny`, which needs `tinier`, and `unwanted`, and removes that again.
fn spec(archive: &Path, manager: &str, repository: &str) -> String {
    format!(
        "image: {{distribution: managers, release: 1.0, architecture: x86_64, variant: {manager}}}\n\
         source: {{downloader: rootfs-http, url: 'file://{}'}}\n\
         targets: {{lxc: {{config: [{{type: all, content: lxc.include = x}}]}}}}\n\
         packages:\n\
         \x20 manager: {manager}\n\
         \x20 update: true\n\
         \x20 cleanup: true\n\
         \x20 sets:\n\
         \x20 - {{action: install, packages: [tiny, unwanted]}}\n\
         \x20 - {{action: remove, packages: [unwanted]}}\n\
         {repository}",
        archive.display()
    )
}

/// Builds, and says what is in the tree afterwards.
fn installs(manager: &str, repository: &str) -> Option<String> {
    let archive = archive()?;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("spec.yaml");
    fs::write(&path, spec(&archive, manager, repository)).unwrap();
    let mut command = builder();
    command.arg("build").arg(&path).args(["--formats", "lxc", "--xz-level", "0", "--no-cache", "--output"]);
    // The keyring that pacman trusts here was made with the repositories, once for all, and mmdebstrap gave the tree the
    // names of this machine.
    command.arg(directory.path().join("out"));
    command.args(["private-keys", "host-name", "name-servers"].iter().flat_map(|lint| ["--allow-lint", lint]));
    let done = command.assert().success();
    let rootfs = PathBuf::from(output_of(&done).0.trim_end()).join("rootfs.tar.xz");
    let mut words = Program::new("tar");
    words.arg("-xJOf").arg(&rootfs).args(["./usr/share/tiny/word", "./usr/share/tinier/word"]);
    let words = words.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&words.stdout), "tinier\ntiny\n");
    let names = Program::new("tar").arg("-tJf").arg(&rootfs).output().unwrap();
    let names = String::from_utf8(names.stdout).unwrap();
    assert!(!names.contains("share/unwanted/word"), "what was to be removed is there");
    Some(names)
}

#[test]
fn dnf_installs_from_a_repository_that_the_spec_describes() {
    let repository = "  repositories:\n  - name: tiny\n    url: |-\n      [tiny]\n      name=tiny\n      \
                      baseurl=file:///srv/rpm\n      gpgcheck=1\n      repo_gpgcheck=1\n      gpgkey=file:///srv/key.asc\n";
    let Some(names) = installs("dnf", repository) else { return };
    assert!(names.contains("./etc/yum.repos.d/tiny.repo\n"));
}

#[test]
fn zypper_installs_from_a_repository_that_the_spec_names() {
    let repository = "  repositories:\n  - {name: tiny, url: 'file:///srv/rpm'}\n";
    let Some(names) = installs("zypper", repository) else { return };
    assert!(names.contains("./etc/zypp/repos.d/tiny.repo\n"));
}

#[test]
fn pacman_installs_what_a_key_of_the_images_keyring_signed() {
    let Some(names) = installs("pacman", "") else { return };
    assert!(names.contains("./var/lib/pacman/local/tiny-1-1/desc\n"));
    assert!(!names.contains("./var/cache/pacman/pkg/tiny"), "packages stay in the cache of the image");
}
