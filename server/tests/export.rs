//! An export is a tree in which every index leads to what it names, at every moment, and only what is new is written.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use formats::digest::FileDigest;
use formats::streams::{Products, StreamsIndex};
use testkit::FakeImage;

use crate::support::{World, files_below, run};

const IMAGE: &str = "debian/trixie/amd64/default";

fn image(serial: &str) -> FakeImage {
    FakeImage::new(IMAGE).serial(serial).incus()
}

fn export(world: &World, args: &[&str]) -> PathBuf {
    let site = world.path("site");
    run(world.command().arg("export").arg(&site).args(args)).succeeds();
    site
}

/// Follows the signed index of a channel to every file, and returns its serial with the number of files.
fn follow(site: &Path, channel: &str) -> (u64, usize) {
    let top = site.join(channel);
    let signed = fs::read_to_string(top.join("streams/v1/index.sjson")).unwrap();
    let [start, end] = [signed.find('{').unwrap(), signed.rfind('}').unwrap()];
    let index: StreamsIndex = serde_json::from_str(&signed[start..=end]).unwrap();
    let mut count = 0;
    for entry in index.index.values() {
        let json = fs::read(top.join(&entry.path)).unwrap();
        assert_eq!(FileDigest::of(&json), entry.digest);
        let products: Products = serde_json::from_slice(&json).unwrap();
        for item in products
            .products
            .values()
            .flat_map(|product| product.versions.values())
            .flat_map(|version| version.items.values())
        {
            assert_eq!(FileDigest::of(&fs::read(top.join(&item.path)).unwrap()), item.digest, "{}", item.path);
            count += 1;
        }
    }
    let classic = fs::read_to_string(top.join("meta/1.0/index-system.7")).unwrap();
    for line in classic.lines() {
        let directory = line.rsplit(';').next().unwrap();
        for file in ["rootfs.tar.xz", "rootfs.tar.xz.asc", "meta.tar.xz", "SHA256SUMS.gpg", "build.json"] {
            assert!(top.join(directory.trim_start_matches('/')).join(file).is_file(), "{directory}{file}");
        }
    }
    (index.serial, count)
}

#[test]
fn the_certificate_is_found_by_what_the_signed_index_names() {
    let world = World::publishing(&[image("20261122_0522")]);
    let site = export(&world, &[]);
    let signed = fs::read(site.join("streams/v1/index.sjson")).unwrap();
    let issuers = formats::verified::claimed_issuers(&signed).unwrap();
    let fingerprint = world.fingerprint("repository");
    assert!(!issuers.is_empty() && !issuers.contains(&fingerprint), "{issuers:?}");
    for issuer in issuers {
        let bytes = fs::read(site.join(format!("keys/{issuer}.pgp"))).unwrap();
        let certificate = formats::certificate::Certificate::from_bytes(&bytes).unwrap();
        assert_eq!(certificate.fingerprint().as_str(), fingerprint);
    }
}

#[test]
fn every_channel_is_whole_and_a_second_export_writes_nothing() {
    let world = World::publishing(&[image("20261122_0522")]);
    run(world.command().args(["import", "--channel", "staging"]).arg(world.build(&image("20261123_0522")))).succeeds();
    world.run(&["publish"]).succeeds();
    let site = export(&world, &[]);
    let documents = files_below(&world.current());
    for path in &documents {
        assert_eq!(fs::read(site.join(path)).unwrap(), fs::read(world.current().join(path)).unwrap(), "{path}");
    }
    let [stable, staging] = ["", "c/staging"].map(|channel| follow(&site, channel));
    assert_eq!(stable.0, staging.0);
    assert!(stable.1 >= 5 && staging.1 >= 5);
    assert_eq!(follow(&site, "c/stable"), stable);
    let again = run(world.command().arg("export").arg(&site)).succeeds();
    assert!(again.stderr.contains("files written: 0,"), "{again}");
}

#[test]
fn files_of_builds_are_links_or_copies() {
    let world = World::publishing(&[image("20261123_0522")]);
    let links = |site: &Path| {
        let path = format!("images/{IMAGE}/20261123_0522/rootfs.tar.xz");
        [site, &world.data()].map(|top| fs::metadata(top.join(&path)).unwrap().ino())
    };
    let [exported, stored] = links(&export(&world, &[]));
    assert_eq!(exported, stored);
    fs::remove_dir_all(world.path("site")).unwrap();
    let [exported, stored] = links(&export(&world, &["--copy"]));
    assert_ne!(exported, stored);
    let again = run(world.command().args(["export", "--copy"]).arg(world.path("site"))).succeeds();
    assert!(again.stderr.contains("files written: 0,"), "{again}");
}

#[test]
fn what_no_index_names_any_more_stays_for_the_grace_and_then_goes_and_what_is_not_ours_stays() {
    let world = World::publishing(&[image("20261121_0522"), image("20261123_0522")]);
    let site = export(&world, &[]);
    fs::write(site.join("robots.txt"), "").unwrap();
    let old = site.join(format!("images/{IMAGE}/20261121_0522/rootfs.tar.xz"));
    world.run(&["prune", "--keep", "1"]).succeeds();
    export(&world, &[]);
    assert!(old.is_file(), "an index of today may still be in use");
    world.run(&["prune", "--keep", "1", "--grace", "0s"]).succeeds();
    // The products file of the last day still names it, which a prune without a grace does not look at.
    for _ in 0..2 {
        for kept in files_below(&world.current().join("streams/v1")) {
            let path = world.current().join("streams/v1").join(kept);
            if fs::read_to_string(&path).unwrap().contains("20261121_0522") {
                fs::remove_file(path).unwrap();
            }
        }
        export(&world, &[]);
        assert!(old.is_file(), "an index of today may still be in use");
    }
    export(&world, &["--grace", "0s"]);
    assert!(!old.exists() && !old.parent().unwrap().exists());
    assert!(site.join("robots.txt").is_file());
    follow(&site, "");
}

#[test]
fn an_export_killed_anywhere_leaves_a_tree_that_is_whole_and_the_next_one_completes_it() {
    let world = World::publishing(&[image("20261121_0522")]);
    let site = export(&world, &[]);
    let (old, _) = follow(&site, "");
    run(world.command().arg("import").arg(world.build(&image("20261123_0522")))).succeeds();
    std::thread::sleep(std::time::Duration::from_secs(1));
    world.run(&["publish"]).succeeds();
    let checkpoints = ["files", "before-1", "before-2", "before-3"].map(|name| (name, false));
    for (checkpoint, is_new) in checkpoints.into_iter().chain([("documents", true)]) {
        let mut command = world.command();
        command.arg("export").arg(&site).env("ROOTCELLAR_CHECKPOINT", format!("export:{checkpoint}"));
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert_eq!(status.signal(), Some(9), "{checkpoint}");
        assert_eq!(follow(&site, "").0 != old, is_new, "{checkpoint}");
    }
    let before = follow(&site, "");
    assert!(before.1 > 5);
    export(&world, &[]);
    assert_eq!(follow(&site, ""), before);
    assert_eq!(files_below(&site.join(".rootcellar/v1/staging")), [] as [&str; 0]);
}

#[test]
fn nothing_published_is_nothing_to_export() {
    let world = World::new();
    run(world.command().arg("export").arg(world.path("site"))).fails_with(1, "nothing was published yet");
}
