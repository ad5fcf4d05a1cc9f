//! A build directory is whole, describes itself truly, and is the same for the same inputs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command as Program;

use crate::common::{World, output_of};
use formats::digest::FileDigest;
use formats::record::{BuildFile, BuildRecord};

const FILES: &str = "files:\n- {generator: hostname, path: /etc/hostname}\n- {generator: hosts, path: /etc/hosts}\n\
                     - {generator: dump, path: /etc/motd, content: '{{ image.release }}', mode: 0600, pongo: on}\n\
                     - {generator: dump, path: /etc/issue, content: LXC_NAME, templated: yes, uid: 5, gid: 6}\n\
                     - {generator: remove, path: /mnt}\n\
                     - {generator: template, path: /etc/t, name: t, content: '{{ container.name }}'}\n\
                     - {generator: fstab, path: /etc/fstab, types: [vm]}\n";

fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

fn members(archive: &Path) -> BTreeMap<String, String> {
    let directory = tempfile::tempdir().unwrap();
    let done = Program::new("tar").arg("-xJf").arg(archive).arg("-C").arg(directory.path()).status();
    assert!(done.unwrap().success());
    contents(directory.path()).into_iter().map(|(name, text)| (name, String::from_utf8(text).unwrap())).collect()
}

#[test]
fn the_record_names_every_file_with_its_digest() {
    let Some(world) = World::new() else { return };
    let done = world.build(&world.spec(FILES)).assert().success();
    let (stdout, stderr) = output_of(&done);
    assert_eq!(stdout.trim_end(), world.built().display().to_string());
    assert!(stderr.contains("Built test/1.0/amd64/default 20261123_0522    rootfs "), "{stderr}");
    let files = contents(&world.built());
    let names: Vec<_> = files.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "SHA256SUMS",
            "build.json",
            "build.log",
            "image.yaml",
            "meta.tar.xz",
            "packages.json",
            "rootfs.tar.xz",
            "sbom.spdx.json"
        ]
    );
    let record = BuildRecord::from_json(&files["build.json"]).unwrap();
    assert_eq!(record.files.len(), 5);
    for (file, digest) in &record.files {
        assert_eq!(*digest, FileDigest::of(&files[file.name()]), "{file}");
    }
    let tar = Program::new("xz").arg("-dc").arg(world.built().join("rootfs.tar.xz")).output().unwrap().stdout;
    assert_eq!(record.rootfs_tar, FileDigest::of(&tar));
    let sums = Program::new("sha256sum").args(["-c", "SHA256SUMS"]).current_dir(world.built()).output().unwrap();
    assert!(sums.status.success(), "{sums:?}");
    assert_eq!(record.image.to_string(), "test/1.0/amd64/default");
    assert!(world.kept().is_empty());
}

#[test]
fn the_tree_and_the_lxc_metadata_are_what_the_spec_says() {
    let Some(world) = World::new() else { return };
    world.build(&world.spec(FILES)).env("SOURCE_DATE_EPOCH", "1795411320").assert().success();
    let tree = world.unpacked();
    let text = |path: &str| fs::read_to_string(tree.join(path)).unwrap();
    assert_eq!(text("etc/hostname"), "LXC_NAME\n");
    assert_eq!(text("etc/hosts"), "127.0.1.1\tLXC_NAME\n127.0.0.1 localhost\n");
    assert_eq!(text("etc/motd"), "1.0\n");
    assert!(!tree.join("mnt").exists() && !tree.join("etc/t").exists() && !tree.join("etc/fstab").exists());
    let owner = |path: &str| {
        use std::os::unix::fs::MetadataExt;
        let metadata = fs::metadata(tree.join(path)).unwrap();
        (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777)
    };
    assert_eq!([owner("etc/motd"), owner("etc/issue")], [(0, 0, 0o600), (5, 6, 0o644)]);
    let meta = members(&world.built().join("meta.tar.xz"));
    assert_eq!(meta["templates"], "/etc/hostname\n/etc/hosts\n/etc/issue\n");
    assert_eq!(meta["create-message"], "made\n");
    assert_eq!(meta["expiry"], (1_795_411_320 + 30 * 86_400).to_string() + "\n");
    assert_eq!(meta["excludes-user"], "\n");
    let configs: Vec<_> = meta.iter().filter(|(name, _)| name.starts_with("config")).collect();
    assert_eq!(configs.len(), 10);
    assert!(configs.iter().all(|(_, text)| *text == "lxc.include = x\n"));
}

#[test]
fn the_same_inputs_give_the_same_bytes_wherever_and_whenever_they_are_built() {
    let Some(world) = World::new() else { return };
    let spec = world.spec(&format!(
        "{FILES}actions:\n- {{trigger: post-files, action: \"#!/bin/sh\\necho x > /etc/made; ls / > /etc/names\"}}\n"
    ));
    let mut builds = Vec::new();
    for (output, zone, umask) in [("here", "UTC", "022"), ("somewhere/else", "Asia/Tokyo", "077")] {
        let program = env!("CARGO_BIN_EXE_rootcellar-builder");
        let script = format!("umask {umask}; exec \"$@\"");
        let done = Program::new("sh")
            .args(["-c", &script, "sh", program, "build"])
            .arg(&spec)
            .arg("--output")
            .arg(world.path(output))
            .args(["--no-cache", "--formats", "lxc", "--xz-level", "0"])
            .envs([("SOURCE_DATE_EPOCH", "1700000000"), ("TZ", zone)])
            .status();
        assert!(done.unwrap().success());
        let serial = world.path(output).join("test/1.0/amd64/default/20231114_2213");
        let mut files = contents(&serial);
        files.remove("build.log");
        builds.push(files);
        std::thread::sleep(std::time::Duration::from_millis(1100));
    }
    for (name, content) in &builds[0] {
        assert!(builds[1][name] == *content, "{name} differs");
    }
    assert_eq!(builds[0].len(), builds[1].len());
}

#[test]
fn incus_and_lxd_get_a_squashfs_and_metadata_of_their_own() {
    let Some(world) = World::new() else { return };
    if Program::new("unsquashfs").arg("-v").output().is_err() {
        testkit::skip("no unsquashfs: install the package `squashfs-tools`");
        return;
    }
    world.build_as(&world.spec(FILES), "lxc,incus").assert().success();
    let built = world.built();
    let record = BuildRecord::from_json(&fs::read(built.join("build.json")).unwrap()).unwrap();
    let (incus, lxd) = (BuildFile::IncusTarXz, BuildFile::LxdTarXz);
    let squashfs = BuildFile::RootfsSquashfs;
    assert_ne!(record.fingerprint(incus, squashfs), record.fingerprint(lxd, squashfs));
    let joined = [incus, squashfs].map(|file| fs::read(built.join(file.name())).unwrap()).concat();
    assert_eq!(record.fingerprint(incus, squashfs).unwrap(), FileDigest::of(&joined).sha256);
    let cat = Program::new("unsquashfs").args(["-cat", "rootfs.squashfs", "etc/hostname"]).current_dir(&built).output();
    assert_eq!(cat.unwrap().stdout, b"buildhost\n", "the placeholder of LXC is in Incus's rootfs");
    let listed = Program::new("tar").args(["-tJf", "incus.tar.xz"]).current_dir(&built).output().unwrap().stdout;
    let listed = String::from_utf8(listed).unwrap();
    for name in ["metadata.yaml", "templates/hostname.tpl", "templates/hosts.tpl", "templates/t.tpl"] {
        assert!(listed.contains(name), "{name} is not in {listed}");
    }
}

#[test]
fn the_unified_tarball_holds_the_metadata_and_the_tree_that_incus_gets() {
    let Some(world) = World::new() else { return };
    world.build_as(&world.spec(FILES), "lxc,unified").assert().success();
    let built = world.built();
    let record = BuildRecord::from_json(&fs::read(built.join("build.json")).unwrap()).unwrap();
    let unified = fs::read(built.join("unified.tar.xz")).unwrap();
    assert_eq!(record.files[&BuildFile::UnifiedTarXz], FileDigest::of(&unified));
    assert!(!record.files.contains_key(&BuildFile::RootfsSquashfs));
    let read = |archive: &str, member: &str| {
        let read = Program::new("tar").args(["-xJOf", archive, member]).current_dir(&built).output().unwrap();
        String::from_utf8(read.stdout).unwrap()
    };
    assert_eq!(read("unified.tar.xz", "rootfs/etc/hostname"), "buildhost\n", "LXC's placeholder is in it");
    assert_eq!(read("unified.tar.xz", "templates/t.tpl"), "{{ container.name }}\n");
    assert!(read("unified.tar.xz", "metadata.yaml").starts_with("architecture: amd64\ncreation_date: "));
    let names = |archive: &str| {
        let listed = Program::new("tar").args(["-tJf", archive]).current_dir(&built).output().unwrap();
        String::from_utf8(listed.stdout).unwrap()
    };
    let (rootfs, unified) = (names("rootfs.tar.xz"), names("unified.tar.xz"));
    let below: Vec<&str> = unified.lines().filter_map(|name| name.strip_prefix("rootfs/")).collect();
    let expected: Vec<&str> = rootfs.lines().filter_map(|name| name.strip_prefix("./")).collect();
    assert_eq!(below, expected);
    assert!(unified.starts_with("metadata.yaml\n"));
}

#[test]
fn a_build_is_never_replaced() {
    let Some(world) = World::new() else { return };
    let spec = world.spec("");
    world.build(&spec).assert().success();
    let before = contents(&world.built());
    let refused = world.build(&spec).assert().code(1);
    assert!(output_of(&refused).1.contains("already exists"));
    assert_eq!(contents(&world.built()), before);
}

#[test]
fn an_archive_that_would_leave_the_tree_fails_the_build() {
    let Some(world) = World::new() else { return };
    let spec = world.spec("");
    fs::write(world.path("outside"), "host").unwrap();
    let mut tar = Program::new("tar");
    tar.args(["-C", "source", "-P", "-cf", "root.tar", "../outside"]).current_dir(&world.directory);
    assert!(tar.status().unwrap().success());
    world.build(&spec).assert().code(1);
    assert!(!world.built().exists());
}

/// What a build says is installed, and its package URLs.
fn packages(world: &World) -> (serde_json::Value, String) {
    let read = |name: &str| fs::read_to_string(world.built().join(name)).unwrap();
    let sbom: serde_json::Value = serde_json::from_str(&read("sbom.spdx.json")).unwrap();
    let url = sbom["packages"][0]["externalRefs"][0]["referenceLocator"].as_str().unwrap().to_owned();
    (serde_json::from_str(&read("packages.json")).unwrap(), url)
}

#[test]
fn an_image_without_dpkg_lists_the_packages_of_its_own_manager() {
    let Some(world) = World::new() else { return };
    let world = world.with_files([("lib/apk/db/installed", "P:musl\nV:1.2.5-r0\nA:x86_64\n\n")]);
    world.build(&world.spec("")).assert().success();
    let expected = serde_json::json!([{"name": "musl", "version": "1.2.5-r0", "arch": "x86_64"}]);
    assert_eq!(packages(&world), (expected, "pkg:apk/test/musl@1.2.5-r0?arch=x86_64".to_owned()));
}

#[test]
fn rpm_is_asked_for_the_packages_and_what_it_writes_is_not_in_the_image() {
    let Some(world) = World::new() else { return };
    let rpm = "#!/bin/sh\ntest \"$1\" = -qa && printf 'tiny\\t1:1-1\\tnoarch\\n'\necho > /etc/written-by-rpm\n";
    let world = world.with_files([("usr/bin/rpm", rpm), ("usr/bin/dnf", "#!/bin/sh\n")]);
    let spec = world.spec("");
    let text = fs::read_to_string(&spec).unwrap();
    let (head, rest) = text.split_once("custom_manager: {").unwrap();
    let (_, tail) = rest.split_once("update: {cmd: true}}").unwrap();
    fs::write(&spec, format!("{head}manager: dnf{tail}")).unwrap();
    world.build(&spec).assert().success();
    let expected = serde_json::json!([{"name": "tiny", "version": "1:1-1", "arch": "noarch"}]);
    assert_eq!(packages(&world), (expected, "pkg:rpm/test/tiny@1%3A1-1?arch=noarch".to_owned()));
    assert!(!world.unpacked().join("etc/written-by-rpm").exists());
}
