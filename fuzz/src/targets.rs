//! What each fuzz target does with its bytes. libFuzzer calls these, and so does a test that every run has part of.

#![allow(clippy::expect_used, clippy::panic, reason = "a finding is a panic")]
#![allow(unreachable_pub, reason = "a library to the fuzzer, a module to the test")]

use std::io::Read as _;

use archive::members::{MemberLimits, read_members};
use archive::unpack::{DevicePolicy, UnpackLimits, UnpackOptions, unpack};
use archive::xz::{DecodeLimits, Decoder};
use formats::certificate::{Certificate, SigningKey};
use formats::checksum::{Algorithm, listed};
use formats::compat::{CompatLevel, Mode};
use formats::index::Index;
use formats::links;
use formats::lxc_config::LxcConfig;
use formats::metadata::{LxcMetadata, MemberKind};
use formats::record::BuildRecord;
use formats::streams::Products;
use formats::time::Timestamp;
use formats::verified::{Keyring, Memory, PastValidity, claimed_issuers, verify_index};

/// What a target does with any bytes.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Target); 10] = [
    ("build_record", build_record),
    ("certificate", certificate),
    ("checksums", checksums),
    ("index", index),
    ("lxc_config", lxc_config),
    ("lxc_metadata", lxc_metadata),
    ("products", products),
    ("signed_index", signed_index),
    ("tar_entries", tar_entries),
    ("xz_archive", xz_archive),
];

/// A record that is read is written back to a record that says the same.
pub fn build_record(bytes: &[u8]) {
    if let Ok(record) = BuildRecord::from_json(bytes) {
        assert_eq!(BuildRecord::from_json(&record.to_json()).expect("our own JSON"), record);
    }
}

/// Any bytes are a certificate or an error.
pub fn certificate(bytes: &[u8]) {
    if let Ok(certificate) = Certificate::from_bytes(bytes) {
        assert_eq!(certificate.fingerprint().as_str().len() % 8, 0);
    }
    let _ = SigningKey::from_bytes(bytes);
}

/// A list of checksums says of a file what stands in the list, and a page names nothing that leads elsewhere.
pub fn checksums(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        if let Ok(checksum) = listed(text, "rootfs.tar.xz", algorithm) {
            assert!(text.to_ascii_lowercase().contains(checksum.digits()));
        }
    }
    for name in links::names(text) {
        assert!(!name.is_empty() && !name.contains('/') && !name.starts_with('.'));
    }
}

/// What was read of a classic index is written in lines of six fields and read again as the same.
pub fn index(bytes: &[u8]) {
    let (index, _) = Index::parse(&String::from_utf8_lossy(bytes));
    assert!(index.to_string().lines().all(|line| line.split(';').count() == 6));
    assert_eq!(Index::parse(&index.to_string()), (index, 0));
}

/// Any text is a configuration; its items survive being written.
pub fn lxc_config(bytes: &[u8]) {
    let config = LxcConfig::parse(&String::from_utf8_lossy(bytes));
    let again = LxcConfig::parse(&config.to_string());
    assert_eq!(config.items().count(), again.items().count());
}

/// Any tar archive is LXC metadata or an error, and what is metadata names only members a template knows.
pub fn lxc_metadata(bytes: &[u8]) {
    let Ok(members) = read_members(bytes, &MemberLimits::default()) else { return };
    let Ok(metadata) = LxcMetadata::from_members(members) else { return };
    for mode in Mode::ALL {
        for level in CompatLevel::all() {
            for kind in MemberKind::ALL {
                let _ = metadata.lines(kind, mode, level);
            }
        }
    }
}

/// Any bytes are a products file or an error; what it lists has safe names.
pub fn products(bytes: &[u8]) {
    let Ok(products) = serde_json::from_slice::<Products>(bytes) else { return };
    for (image, product) in products.images() {
        assert!(!image.to_string().contains(".."));
        for (serial, _) in product.builds() {
            assert_eq!(serial.as_str().len(), 13);
        }
    }
}

/// No bytes are a verified index to a keyring that pinned nothing.
pub fn signed_index(bytes: &[u8]) {
    let channel = "stable".parse().expect("a name");
    let now = Timestamp::from_unix(1_795_411_320);
    let index = verify_index(bytes, &Keyring::default(), &channel, &Memory::nothing(), now, PastValidity::Accept);
    assert!(index.is_err());
    let _ = claimed_issuers(bytes);
}

/// No archive makes anything outside of the directory it is unpacked into.
pub fn tar_entries(bytes: &[u8]) {
    let outside = tempfile::tempdir().expect("a directory");
    let inside = outside.path().join("rootfs");
    std::fs::create_dir(&inside).expect("a directory");
    let mut options = UnpackOptions::for_this_process().expect("the ids of this process");
    options.devices = DevicePolicy::Skip;
    options.limits = UnpackLimits { unpacked_bytes: 1 << 20, entries: 1000, ..UnpackLimits::default() };
    let _ = unpack(bytes, &inside, &options);
    let beside = std::fs::read_dir(outside.path()).expect("it is still there").count();
    assert_eq!(beside, 1);
}

/// Any bytes are an xz file that decodes within its limits, or an error.
pub fn xz_archive(bytes: &[u8]) {
    let limits = DecodeLimits { threads: 2, memory_bytes: 16 << 20, ..DecodeLimits::default() };
    let decoder = Decoder::new(bytes, &limits).expect("a decoder");
    let _ = std::io::copy(&mut decoder.take(4 << 20), &mut std::io::sink());
}
