//! What each fuzz target does with its bytes. libFuzzer calls these, and so does a test that every run has part of.

#![allow(clippy::expect_used, clippy::panic, reason = "a finding is a panic")]
#![allow(unreachable_pub, reason = "a library to the fuzzer, a module to the test")]

mod mounts;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::LazyLock;

use archive::members::{MemberLimits, read_members};
use archive::unpack::{DevicePolicy, UnpackLimits, UnpackOptions, unpack};
use archive::xz::{DecodeLimits, Decoder};
use formats::certificate::{Certificate, SigningKey};
use formats::checksum::{Algorithm, listed};
use formats::compat::{CompatLevel, Mode};
use formats::digest::FileDigest;
use formats::index::Index;
use formats::links;
use formats::lxc_config::LxcConfig;
use formats::metadata::{LxcMetadata, MemberKind};
use formats::record::BuildRecord;
use formats::signature::{RepositoryKey, SignInline as _};
use formats::streams::{Products, ProductsEntry, StreamsIndex};
use formats::time::{Span, Timestamp};
use formats::verified::{
    Keyring, Memory, PastValidity, Refusal, Verified, claimed_issuers, verify_index, verify_products,
};
use rootcellar::acquire::patched;
use rootcellar::catalog::{Catalog, Listed, Viewer};
use rootcellar::container::policy::{check_config, check_fstab};

/// What a target does with any bytes.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Target); 14] = [
    ("build_record", build_record),
    ("certificate", certificate),
    ("checksums", checksums),
    ("container_config", container_config),
    ("delta", delta),
    ("fstab", fstab),
    ("index", index),
    ("lxc_config", lxc_config),
    ("lxc_metadata", lxc_metadata),
    ("products", products),
    ("signed_index", signed_index),
    ("signed_streams", signed_streams),
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

/// What liblxc reads in a configuration that was accepted reaches nothing of the host.
pub fn container_config(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if check_config(&text, &[]).is_err() {
        return;
    }
    for line in text.split('\n').map(|line| line.trim_start_matches([' ', '\t'])) {
        let Some((key, value)) = line.split_once('=').filter(|_| line.starts_with("lxc.")) else {
            assert!(!line.starts_with("lxc."), "{line:?}");
            continue;
        };
        let (key, value) = (key.trim_end_matches([' ', '\t']), value.trim_matches([' ', '\t']));
        let unquoted = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
        let value = unquoted.unwrap_or(value);
        match key {
            "lxc.mount.entry" if !value.is_empty() => mounts::assert_line(value),
            "lxc.include" => {
                let parts: Vec<&str> = value.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
                assert!(value.starts_with('/') && parts.starts_with(&["usr", "share", "lxc", "config"]), "{line:?}");
                assert!(!parts.contains(&".."), "{line:?}");
            }
            "lxc.mount.auto" => assert!(!value.contains("rw") && !value.contains("full"), "{line:?}"),
            key => assert!(KEYS_OF_IMAGES.contains(&key), "{line:?}"),
        }
    }
}

/// The keys that can only affect the container itself.
const KEYS_OF_IMAGES: &[&str] = &[
    "lxc.arch",
    "lxc.autodev",
    "lxc.cap.drop",
    "lxc.devttydir",
    "lxc.environment",
    "lxc.haltsignal",
    "lxc.init.cmd",
    "lxc.init.cwd",
    "lxc.init_cmd",
    "lxc.kmsg",
    "lxc.pivotdir",
    "lxc.pts",
    "lxc.pty.max",
    "lxc.rebootsignal",
    "lxc.signal.halt",
    "lxc.signal.reboot",
    "lxc.signal.stop",
    "lxc.stopsignal",
    "lxc.tty",
    "lxc.tty.dir",
    "lxc.tty.max",
    "lxc.uts.name",
    "lxc.utsname",
];

/// What getmntent(3) reads in an fstab that was accepted shows nothing of the host.
pub fn fstab(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if check_fstab(&text, &[]).is_ok() {
        mounts::assert_harmless(&text);
    }
}

/// Any delta makes no more than it may, or an error.
pub fn delta(bytes: &[u8]) {
    let base = delta_base();
    let Ok(made) = patched(bytes, &base, DELTA_BYTES) else { return };
    let mut archive = Vec::new();
    let _ = made.take(2 * DELTA_BYTES).read_to_end(&mut archive);
    assert!(archive.len() as u64 <= DELTA_BYTES + 1);
}

/// What the deltas of the target above start from.
pub fn delta_base() -> Vec<u8> {
    (0..DELTA_BYTES).map(|place| (place * place / 7).to_le_bytes()[0]).collect()
}

const DELTA_BYTES: u64 = 64 << 10;

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
    let index = verify_index(bytes, &Keyring::default(), &channel, &Memory::nothing(), now(), PastValidity::Accept);
    assert!(index.is_err());
    let _ = claimed_issuers(bytes);
}

/// Any bytes that the pinned key signed are an index or cannot be read as one; any bytes that an index names are a products
/// file whose images can be listed, or cannot be read as one. No signature hides what is behind it from this.
pub fn signed_streams(bytes: &[u8]) {
    let text: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != b'\r').collect();
    match signed(&text) {
        Ok(index) => assert!(index.channel.as_str() == "stable" && index.published <= now() + Span::from_days(1)),
        Err(Refusal::NotSigned { reason }) => panic!("{reason}"),
        Err(Refusal::UnpinnedKey { .. } | Refusal::KeyNotValid { .. } | Refusal::Forged { .. }) => panic!("it is ours"),
        Err(_) => {}
    }
    let path = "streams/v1/all.json";
    let entry = ProductsEntry {
        datatype: Products::DATATYPE.to_owned(),
        format: Products::FORMAT.to_owned(),
        path: path.to_owned(),
        updated: String::new(),
        products: Vec::new(),
        digest: FileDigest::of(bytes),
    };
    let index = StreamsIndex {
        format: StreamsIndex::FORMAT.to_owned(),
        updated: String::new(),
        serial: 1,
        channel: "stable".parse().expect("a name"),
        published: now(),
        expires: now() + Span::from_days(2),
        index: BTreeMap::from([("all".to_owned(), entry)]),
    };
    let index = signed(&serde_json::to_vec(&index).expect("our own JSON")).expect("a good index");
    let Ok(products) = verify_products(&index, path, bytes) else { return };
    let catalog = Catalog::of_products(&[products]);
    catalog.show(None, &mut Suspicious);
    for build in catalog.images.iter().flat_map(|image| &image.builds) {
        assert!(!build.name.as_str().contains('/'));
    }
}

/// Looks whether a listing could lead astray.
struct Suspicious;

impl Viewer for Suspicious {
    fn begin(&mut self) {}

    fn show(&mut self, listed: Listed<'_>) {
        assert!(listed.image.split('/').count() == 4 && !listed.image.contains(".."));
    }
}

/// The document `bytes`, signed now by a key that is pinned.
fn signed(bytes: &[u8]) -> Result<Verified<StreamsIndex>, Refusal> {
    static KEY: LazyLock<(RepositoryKey, Keyring)> = LazyLock::new(|| {
        let key = SigningKey::generate_repository("fuzz", now() - Span::from_days(1), Span::from_days(9));
        let key = key.expect("a key");
        let mut keyring = Keyring::default();
        keyring.pin(&key.fingerprint(), key.certificate()).expect("its own fingerprint");
        (RepositoryKey(key), keyring)
    });
    let (key, keyring) = &*KEY;
    let signed = key.sign_inline(bytes, now(), now() + Span::from_days(2)).expect("nobody wrote a carriage return");
    let channel = "stable".parse().expect("a name");
    verify_index(&signed, keyring, &channel, &Memory::nothing(), now(), PastValidity::Refuse)
}

fn now() -> Timestamp {
    Timestamp::from_unix(1_795_411_320)
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
