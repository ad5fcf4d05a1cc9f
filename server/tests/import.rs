//! A build enters the store whole and as its record says, or not at all.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use testkit::FakeImage;

use crate::support::{Outcome, World, files_below, run};

const SERIAL: &str = "20261123_0522";
const STORED: &str = "images/debian/trixie/amd64/default/20261123_0522";

fn image() -> FakeImage {
    FakeImage::new("debian/trixie/amd64/default").serial(SERIAL).incus()
}

fn import(world: &World, directory: &Path) -> Outcome {
    run(world.command().arg("import").arg(directory))
}

/// Imports a build after `lie` changed its directory, and checks that nothing of it is left.
fn refused(lie: impl FnOnce(&Path), words: &str) {
    let world = World::new();
    let build = world.build(&image());
    lie(&build);
    import(&world, &build).fails_with(1, words);
    assert_eq!(files_below(&world.data().join("images")), [] as [&str; 0]);
    assert_eq!(files_below(&world.data().join("staging")), [] as [&str; 0]);
    assert_eq!(files_below(&world.data().join("channels")), [] as [&str; 0]);
}

fn edit(path: PathBuf, from: &str, to: &str) {
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn a_build_is_copied_with_its_signatures_and_without_other_files() {
    let world = World::new();
    let build = world.build(&image());
    fs::write(build.join("build.log"), "secrets of the builder").unwrap();
    fs::write(build.join("extra.tar.xz"), "?").unwrap();
    let outcome = import(&world, &build).succeeds();
    assert_eq!(outcome.stdout, "debian/trixie/amd64/default@20261123_0522\n");
    let expected = [
        "SHA256SUMS",
        "SHA256SUMS.gpg",
        "build.json",
        "image.yaml",
        "incus.tar.xz",
        "lxd.tar.xz",
        "meta.tar.xz",
        "meta.tar.xz.asc",
        "rootfs.squashfs",
        "rootfs.tar.xz",
        "rootfs.tar.xz.asc",
    ];
    assert_eq!(files_below(&world.data().join(STORED)), expected);
    let list = world.run(&["list", "--format", "json"]).succeeds().stdout;
    assert!(list.contains("\"stable\"") && list.contains(SERIAL), "{list}");
}

#[test]
fn one_flipped_byte_in_any_file_is_refused() {
    for file in image().files().into_keys() {
        let flip = |build: &Path| {
            let path = build.join(file.name());
            let mut bytes = fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(path, bytes).unwrap();
        };
        refused(flip, &format!("`{file}` is not the file its record names: expected sha256 "));
    }
}

#[test]
fn files_that_are_too_long_missing_or_links_are_refused() {
    let append = |build: &Path| {
        let longer = [fs::read(build.join("rootfs.tar.xz")).unwrap(), vec![0]].concat();
        fs::write(build.join("rootfs.tar.xz"), longer).unwrap();
    };
    refused(append, "found a longer file");
    refused(|build| fs::remove_file(build.join("meta.tar.xz")).unwrap(), "meta.tar.xz` is not a file of a build");
    let link = |name: &'static str| {
        move |build: &Path| {
            let elsewhere = build.parent().unwrap().join("elsewhere");
            fs::rename(build.join(name), &elsewhere).unwrap();
            symlink(elsewhere, build.join(name)).unwrap();
        }
    };
    refused(link("rootfs.tar.xz"), "rootfs.tar.xz` is not a regular file");
    refused(link("build.json"), "build.json` is not a regular file");
}

#[test]
fn a_record_that_lies_is_refused() {
    let record = |from: &'static str, to: &'static str| move |build: &Path| edit(build.join("build.json"), from, to);
    refused(record("rootcellar-build:1", "rootcellar-build:9"), "`build.json` is not a build record");
    refused(record("debian/trixie", "../../etc"), "`build.json` is not a build record");
    refused(record("\"rootfs.tar.xz\": {", "\"../passwd\": {"), "`build.json` is not a build record");
    refused(|build| fs::write(build.join("build.json"), vec![b' '; 2 << 20]).unwrap(), "too large for a build record");
    let fingerprint = image().record().fingerprints[0].sha256.to_string();
    let lie = |build: &Path| edit(build.join("build.json"), &fingerprint, &"0".repeat(64));
    refused(lie, "the image fingerprint for `incus.tar.xz` and `rootfs.squashfs` is wrong");
}

#[test]
fn metadata_that_no_template_can_use_is_refused() {
    let no_config = ["config", "config.1", "config-user", "config-user.1"];
    let no_config = no_config.into_iter().fold(image(), FakeImage::without_member);
    let forbidden = image().member("build_id", "x");
    for (image, words) in [(no_config, "has no member `config`"), (forbidden, "only the client may write")] {
        let world = World::new();
        import(&world, &world.build(&image)).fails_with(1, words);
    }
}

#[test]
fn the_same_build_again_is_no_error_and_another_of_its_name_is() {
    let world = World::new();
    let build = world.build(&image());
    import(&world, &build).succeeds();
    let again = import(&world, &build).succeeds();
    assert!(again.stderr.contains("Already there"), "{again}");

    let before = fs::read(world.data().join(STORED).join("rootfs.tar.xz")).unwrap();
    let other = world.build(&image().file("etc/motd", "another"));
    let outcome =
        import(&world, &other).fails_with(1, "the store has another debian/trixie/amd64/default@20261123_0522");
    assert_eq!(outcome.stderr.matches("sha256 ").count(), 2, "{outcome}");
    assert!(outcome.stderr.contains("hint: a build in the store is never replaced"), "{outcome}");
    assert_eq!(fs::read(world.data().join(STORED).join("rootfs.tar.xz")).unwrap(), before);
}

#[test]
fn one_bad_build_does_not_keep_the_others_out() {
    let world = World::new();
    let good = world.build(&image());
    let bad = world.build(&FakeImage::new("alpine/3.20/amd64/default").serial(SERIAL));
    fs::remove_file(bad.join("rootfs.tar.xz")).unwrap();
    let outcome = run(world.command().arg("import").arg(&bad).arg(&good)).fails_with(1, "alpine");
    assert_eq!(outcome.stdout, "debian/trixie/amd64/default@20261123_0522\n");
}

#[test]
fn verify_names_a_file_that_was_damaged_in_the_store() {
    let world = World::publishing(&[image()]);
    world.run(&["verify"]).succeeds();
    fs::write(world.data().join(STORED).join("image.yaml"), "?").unwrap();
    let outcome = world.run(&["verify"]).fails_with(1, "damaged files: 1");
    assert!(outcome.stdout.contains("default@20261123_0522 image.yaml: expected sha256"), "{outcome}");
}
