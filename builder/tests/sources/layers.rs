//! Fedora publishes OCI archives: the layers of the right architecture, one over the other, are the root file system.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::site::{Place, Site, file_in, gzip, sha256, spec, tar, xz, zstd};
use crate::common::{is_root, output_of};

/// An OCI archive in the making.
#[derive(Default)]
struct Layout {
    blobs: Vec<(String, Vec<u8>)>,
}

impl Layout {
    /// Takes in a blob and describes it.
    fn blob(&mut self, content: Vec<u8>) -> Value {
        let digits = sha256(&content, "")[..64].to_owned();
        let descriptor = json!({"digest": format!("sha256:{digits}"), "size": content.len()});
        self.blobs.push((digits, content));
        descriptor
    }

    fn manifest(&mut self, layers: Vec<Vec<u8>>) -> Value {
        let layers: Vec<Value> = layers.into_iter().map(|layer| self.blob(layer)).collect();
        self.blob(json!({"schemaVersion": 2, "layers": layers}).to_string().into_bytes())
    }

    fn archive(&self, index: &Value) -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let blobs = directory.path().join("blobs/sha256");
        std::fs::create_dir_all(&blobs).unwrap();
        for (digits, content) in &self.blobs {
            std::fs::write(blobs.join(digits), content).unwrap();
        }
        std::fs::write(directory.path().join("index.json"), index.to_string()).unwrap();
        std::fs::write(directory.path().join("oci-layout"), "{\"imageLayoutVersion\": \"1.0.0\"}").unwrap();
        let made = std::process::Command::new("tar").arg("-C").arg(directory.path()).args(["-cf", "-", "."]).output();
        xz(&made.unwrap().stdout)
    }
}

fn layers() -> Vec<Vec<u8>> {
    let lower = tar(&[
        ("etc/marker", "lower"),
        ("etc/removed", "lower"),
        ("etc/opaque/hidden", "lower"),
        ("etc/kept", "lower"),
        ("etc/becomes-a-file/x", "lower"),
    ]);
    let upper = tar(&[
        ("etc/marker", "upper"),
        ("etc/.wh.removed", ""),
        ("etc/opaque/.wh..wh..opq", ""),
        ("etc/opaque/seen", "upper"),
        ("etc/becomes-a-file", "upper"),
    ]);
    vec![gzip(&lower), zstd(&upper)]
}

fn place_of(build: &str) -> (String, String) {
    let site = "packages/Fedora-Container-Base-Generic/43";
    (format!("{site}/{build}/images/Fedora-Container-Base-Generic-43-{build}.x86_64.oci.tar.xz"), site.to_owned())
}

fn fedora(site: &Site, more: &str) -> String {
    spec("release: 43, architecture: x86_64", &format!("downloader: fedora-http, url: '{}'{more}", site.url), &[])
}

fn for_linux(mut descriptor: Value, architecture: &str) -> Value {
    descriptor["platform"] = json!({"os": "linux", "architecture": architecture});
    descriptor
}

#[test]
fn the_newest_builds_layers_are_put_one_over_the_other() {
    if !is_root() {
        return;
    }
    let (site, place) = (Site::new(), Place::new());
    let mut layout = Layout::default();
    let other = layout.manifest(vec![tar(&[("etc/marker", "of another architecture")])]);
    let wanted = layout.manifest(layers());
    let inner = layout
        .blob(json!({"manifests": [for_linux(other, "arm64"), for_linux(wanted, "amd64")]}).to_string().into_bytes());
    let archive = layout.archive(&json!({"schemaVersion": 2, "manifests": [inner]}));
    site.put(&place_of("20261109.0").0, "an older build");
    site.put(&place_of("20261110.n.2").0, archive.clone());
    let checksum = format!(", checksum: sha256:{}", &sha256(&archive, "")[..64]);
    let done = place.build(&fedora(&site, &checksum)).assert().success();
    let build = output_of(&done).0.trim_end().to_owned();
    for (path, expected) in
        [("etc/marker", "upper"), ("etc/kept", "lower"), ("etc/opaque/seen", "upper"), ("etc/becomes-a-file", "upper")]
    {
        assert_eq!(file_in(&build, path), expected, "{path}");
    }
    let names = std::process::Command::new("tar").args(["-tJf", "rootfs.tar.xz"]).current_dir(&build).output().unwrap();
    let names = String::from_utf8(names.stdout).unwrap();
    assert!(!names.contains(".wh.") && !names.contains("removed") && !names.contains("hidden"), "{names}");
}

#[test]
fn nothing_but_what_is_said_vouches_for_a_build_of_fedora() {
    if !is_root() {
        return;
    }
    let (site, place) = (Site::new(), Place::new());
    let mut layout = Layout::default();
    let manifest = layout.manifest(layers());
    let archive = layout.archive(&json!({"manifests": [manifest]}));
    site.put(&place_of("20261110.0").0, archive);
    let said = output_of(&place.build(&fedora(&site, "")).assert().code(1)).1;
    assert!(said.contains("nothing vouches for"), "{said}");
    let wrong = format!(", checksum: sha256:{}", "0".repeat(64));
    let said = output_of(&place.build(&fedora(&site, &wrong)).assert().code(1)).1;
    assert!(said.contains("does not match its digest"), "{said}");
    place.build(&fedora(&site, ", skip_verification: true")).assert().success();
    site.remove(&place_of("20261110.0").0);
    let said = output_of(&place.build(&fedora(&site, ", skip_verification: true")).assert().code(1)).1;
    assert!(said.contains("does not exist on the server"), "{said}");
}

#[test]
fn an_oci_archive_that_lies_is_refused() {
    if !is_root() {
        return;
    }
    let (site, place) = (Site::new(), Place::new());
    let refused = |archive: Vec<u8>, expected: &str| {
        site.put(&place_of("20261110.0").0, archive);
        let said = output_of(&place.build(&fedora(&site, ", skip_verification: true")).assert().code(1)).1;
        assert!(said.contains("is no OCI archive") && said.contains(expected), "expected `{expected}` in: {said}");
    };
    let mut altered = Layout::default();
    let manifest = altered.manifest(layers());
    *altered.blobs[0].1.last_mut().unwrap() ^= 1;
    refused(altered.archive(&json!({"manifests": [manifest.clone()]})), "has another digest");
    let mut shorter = Layout::default();
    shorter.manifest(layers());
    shorter.blobs[1].1.pop();
    refused(shorter.archive(&json!({"manifests": [manifest.clone()]})), "is not of");
    refused(Layout::default().archive(&json!({"manifests": [manifest.clone()]})), "blob `sha256:");
    refused(
        Layout::default().archive(&json!({"manifests": [for_linux(manifest, "s390x")]})),
        "nothing in it is for amd64",
    );
    refused(
        Layout::default().archive(&json!({"manifests": [{"digest": "sha256:../../../etc/passwd", "size": 1}]})),
        "no sha256 digest",
    );
    refused(xz(&tar(&[("etc/marker", "no layout")])), "`index.json`");
    let mut deep = String::new();
    let _ = write!(deep, "{{\"manifests\": {}", "[".repeat(500));
    refused(xz(&tar(&[("index.json", &deep)])), "`index.json`");
}
