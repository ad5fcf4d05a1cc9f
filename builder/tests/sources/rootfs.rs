//! `rootfs-http`: any archive, from anywhere, with a checksum or a signature.

use std::fs;
use std::process::Command as Program;
use std::sync::Arc;

use assert_cmd::assert::Assert;
use formats::checksum::Algorithm;
use formats::record::BuildRecord;

use super::site::{Place, Publisher, Site, bzip2, file_in, gzip, line, rootfs, sha256, spec, xz, zstd};
use crate::common::{is_root, output_of};

const IMAGE: &str = "release: 1.0, architecture: amd64";

fn source(url: &str, more: &str) -> String {
    format!("downloader: rootfs-http, url: '{url}'{more}")
}

fn checksum(content: &[u8]) -> String {
    format!(", checksum: sha256:{}", &sha256(content, "x")[..64])
}

fn built(assert: Assert) -> String {
    output_of(&assert.success()).0.trim_end().to_owned()
}

/// What a build that is refused says.
fn refused(place: &Place, spec: &str) -> String {
    let (stdout, stderr) = output_of(&place.build(spec).assert().code(1));
    assert_eq!(stdout, "");
    stderr
}

/// Cuts and lies need neither a working program nor root up to the moment they are noticed, but building does.
macro_rules! needs_root {
    () => {
        if !is_root() {
            return;
        }
    };
}

#[test]
fn every_wrapping_gives_the_same_root_file_system() {
    needs_root!();
    let (site, place) = (Site::new(), Place::new());
    let tar = rootfs(".", "here");
    let mut wrapped = vec![
        ("a.tar", tar.clone()),
        ("b.tar.gz", gzip(&tar)),
        ("c.tar.bz2", bzip2(&tar)),
        ("d.tar.xz", xz(&tar)),
        ("e.tar.zst", zstd(&tar)),
    ];
    if let Some(squashfs) = squashfs(&place, &tar) {
        wrapped.push(("f.squashfs", squashfs));
    }
    let mut digests = Vec::new();
    for (name, content) in wrapped {
        site.put(name, content.clone());
        let spec = spec(IMAGE, &source(&format!("{}/{name}", site.url), &checksum(&content)), &[]);
        let build = built(place.build(&spec).assert());
        assert_eq!(file_in(&build, "etc/marker"), "here");
        let record = BuildRecord::from_json(&fs::read(format!("{build}/build.json")).unwrap()).unwrap();
        assert!(record.provenance.source.starts_with(&format!("{name} sha256:")), "{}", record.provenance.source);
        digests.push((name, record.rootfs_tar));
    }
    assert!(digests.iter().all(|(_, digest)| *digest == digests[0].1), "{digests:?}");
}

/// The same tree as a squashfs; `None`, said on stderr, where it cannot be made or read.
fn squashfs(place: &Place, tar: &[u8]) -> Option<Vec<u8>> {
    for (program, package) in [("mksquashfs", "squashfs-tools"), ("sqfs2tar", "squashfs-tools-ng")] {
        if Program::new(program).arg("--version").output().is_err() {
            testkit::skip(format_args!("no {program}: install the package `{package}`"));
            return None;
        }
    }
    let directory = place.directory.path();
    fs::create_dir(directory.join("tree")).unwrap();
    fs::write(directory.join("tree.tar"), tar).unwrap();
    let unpacked = Program::new("tar").args(["-C", "tree", "-xf", "tree.tar"]).current_dir(directory).status();
    assert!(unpacked.unwrap().success());
    let options = ["tree", "tree.squashfs", "-noappend", "-no-progress", "-quiet"];
    let made = Program::new("mksquashfs").args(options).current_dir(directory).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    Some(fs::read(directory.join("tree.squashfs")).unwrap())
}

#[test]
fn a_file_of_this_machine_needs_nothing_but_is_held_to_what_is_given() {
    needs_root!();
    let (place, publisher) = (Place::new(), Publisher::new());
    let tar = gzip(&rootfs(".", "local"));
    let path = place.directory.path().join("root.tar.gz");
    fs::write(&path, &tar).unwrap();
    let url = format!("file://{}", path.display());
    assert_eq!(file_in(&built(place.build(&spec(IMAGE, &source(&url, ""), &[])).assert()), "etc/marker"), "local");
    let other = spec(IMAGE, &source(&url, &checksum(b"other")), &[]);
    assert!(refused(&place, &other).contains("is not the file it should be: expected sha256:"));
    let signed = spec(IMAGE, &source(&url, ""), &[&publisher.certificate()]);
    assert!(refused(&place, &signed).contains("has no OpenPGP signature"));
    fs::write(path.with_extension("gz.sig"), publisher.detached(&tar)).unwrap();
    built(place.build(&signed).assert());
}

#[test]
fn an_altered_archive_is_refused_by_its_checksum_and_nothing_is_kept() {
    needs_root!();
    let (site, place) = (Site::new(), Place::new());
    let tar = gzip(&rootfs(".", "x"));
    let sha512 = line(Algorithm::Sha512, &tar, "");
    for given in [checksum(&tar), format!(", checksum: {}", sha512.trim())] {
        site.put("root.tar.gz", tar.clone());
        site.tamper("root.tar.gz");
        let spec = spec(IMAGE, &source(&format!("{}/root.tar.gz", site.url), &given), &[]);
        let said = refused(&place, &spec);
        assert!(
            said.contains("root.tar.gz") && (said.contains("does not match") || said.contains("not the file")),
            "{said}"
        );
        site.put("root.tar.gz", tar.clone());
        built(place.build(&spec).assert());
    }
}

#[test]
fn only_the_publishers_signature_over_these_bytes_counts() {
    needs_root!();
    let (site, place) = (Site::new(), Place::new());
    let (publisher, stranger) = (Publisher::new(), Publisher::new());
    let tar = xz(&rootfs(".", "signed"));
    site.put("root.tar.xz", tar.clone());
    let spec = spec(IMAGE, &source(&format!("{}/root.tar.xz", site.url), ""), &[&publisher.certificate()]);
    assert!(refused(&place, &spec).contains("has no OpenPGP signature"));
    site.put("root.tar.xz.asc", stranger.detached(&tar));
    assert!(refused(&place, &spec).contains("signed by a key that is not among the given ones"));
    site.put("root.tar.xz.asc", "<html>not here</html>");
    assert!(refused(&place, &spec).contains("no OpenPGP signature that can be read"));
    site.put("root.tar.xz.asc", publisher.detached(&tar));
    site.tamper("root.tar.xz");
    assert!(refused(&place, &spec).contains("altered after it was signed"));
    site.put("root.tar.xz", tar);
    assert_eq!(file_in(&built(place.build(&spec).assert()), "etc/marker"), "signed");
}

#[test]
fn what_nobody_vouches_for_is_taken_only_when_that_is_said() {
    needs_root!();
    let (site, place) = (Site::new(), Place::new());
    site.put("root.tar", rootfs(".", "unverified"));
    let url = format!("{}/root.tar", site.url);
    let said = refused(&place, &spec(IMAGE, &source(&url, ""), &[]));
    assert!(
        said.contains("nothing vouches for") && said.contains("hint: ") && said.contains("`source.checksum`"),
        "{said}"
    );
    let done = place.build(&spec(IMAGE, &source(&url, ", skip_verification: true"), &[])).assert().success();
    assert!(output_of(&done).1.contains("because of `source.skip_verification`: nothing vouches for it"));
}

#[test]
fn a_download_that_is_cut_goes_on_where_it_was_and_one_that_stays_short_is_refused() {
    needs_root!();
    let (site, place) = (Site::new(), Place::new());
    let tar = rootfs(".", "whole");
    site.put("root.tar", tar.clone());
    let spec = spec(IMAGE, &source(&format!("{}/root.tar", site.url), &checksum(&tar)), &[]);
    site.cut(1);
    assert_eq!(file_in(&built(place.build(&spec).assert()), "etc/marker"), "whole");
    let half = format!("GET root.tar {}", tar.len() / 2);
    assert!(site.requests().contains(&half), "nothing was resumed");
    let short = super::site::spec(IMAGE, &source(&format!("{}/short.tar", site.url), &checksum(&tar)), &[]);
    site.put("short.tar", tar[..tar.len() / 2].to_vec());
    fs::remove_dir_all(place.directory.path().join("cache")).unwrap();
    assert!(refused(&place, &short).contains("does not match its digest"));
}

#[test]
fn an_archive_is_kept_and_checked_again() {
    needs_root!();
    let (site, place) = (Site::new(), Place::new());
    let tar = gzip(&rootfs(".", "kept"));
    site.put("root.tar.gz", tar.clone());
    let spec = spec(IMAGE, &source(&format!("{}/root.tar.gz", site.url), &checksum(&tar)), &[]);
    built(place.build(&spec).assert());
    assert!(!site.requests().is_empty());
    built(place.build(&spec).assert());
    assert_eq!(site.requests(), Vec::<String>::new());
    let downloads = place.directory.path().join("cache/downloads/v1");
    let kept: Vec<_> = fs::read_dir(downloads).unwrap().map(|entry| entry.unwrap().path()).collect();
    let kept: Vec<_> = kept.into_iter().filter(|path| path.extension().is_none()).collect();
    assert_eq!(kept.len(), 1);
    fs::write(&kept[0], "altered").unwrap();
    let done = place.build(&spec).assert().success();
    assert!(output_of(&done).1.contains("is fetched again"));
    assert_eq!(fs::read(&kept[0]).unwrap(), tar);
}

#[test]
fn what_is_no_archive_is_refused_by_its_name() {
    needs_root!();
    let (site, place) = (Site::new(), Place::new());
    let page = b"<html>this is not the file you are looking for</html>".to_vec();
    site.put("root.tar.gz", page.clone());
    let said = refused(&place, &spec(IMAGE, &source(&format!("{}/root.tar.gz", site.url), &checksum(&page)), &[]));
    assert!(said.contains("`root.tar.gz` is no archive that can be unpacked"), "{said}");
    for (name, content) in [("cut.tar.zst", zstd(&rootfs(".", "x"))), ("cut.tar", rootfs(".", "x"))] {
        let cut = content[..content.len() - content.len() / 3].to_vec();
        site.put(name, cut.clone());
        let said = refused(&place, &spec(IMAGE, &source(&format!("{}/{name}", site.url), &checksum(&cut)), &[]));
        assert!(said.contains(&format!("`{name}` cannot be unpacked")), "{said}");
    }
}

#[test]
fn over_tls_the_publishers_own_list_is_enough_and_that_is_said() {
    needs_root!();
    let place = Place::new();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    let authority = place.directory.path().join("ca.pem");
    fs::write(&authority, certificate.pem()).unwrap();
    let tls = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.serialize_der().try_into().unwrap())
        .unwrap();
    let site = Site::with_tls(tls);
    let tar = gzip(&rootfs(".", "tls"));
    let base = "ubuntu/releases/22.04/release";
    site.put(&format!("{base}/ubuntu-base-22.04-base-amd64.tar.gz"), tar.clone());
    site.put(&format!("{base}/SHA256SUMS"), sha256(&tar, "ubuntu-base-22.04-base-amd64.tar.gz"));
    let source = format!("downloader: ubuntu-http, url: '{}/ubuntu'", site.url);
    let spec = spec("release: 22.04, architecture: amd64", &source, &[]);
    let unknown = place.build(&spec).assert().code(1);
    assert!(output_of(&unknown).1.contains("cannot make a trusted connection"));
    let done = place.build(&spec).env("SSL_CERT_FILE", &authority).assert().success();
    assert!(output_of(&done).1.contains("only the connection to its server vouches for its checksum"));
    site.put(&format!("{base}/SHA256SUMS"), sha256(b"other", "ubuntu-base-22.04-base-amd64.tar.gz"));
    let refused = place.build(&spec).env("SSL_CERT_FILE", &authority).assert().code(1);
    assert!(output_of(&refused).1.contains("does not match its digest"));
}
