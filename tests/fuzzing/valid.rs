//! Valid inputs of every fuzz target, several of each: what fuzzing begins with.

use std::io::{Read as _, Write as _};

use archive::xz::{DecodeLimits, Decoder};
use formats::certificate::SigningKey;
use formats::digest::FileDigest;
use formats::record::BuildFile;
use formats::signature::{RepositoryKey, SignInline as _};
use formats::streams::{Products, ProductsEntry, StreamsIndex};
use formats::time::{Span, Timestamp};
use testkit::{EntryType, FakeImage};

use super::targets::delta_base;

/// Valid inputs of a target, and some that are almost valid.
pub(super) fn inputs(target: &str) -> Vec<Vec<u8>> {
    let texts = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    match target {
        "build_record" => images().iter().map(|image| image.record().to_json()).collect(),
        "certificate" => certificates(),
        "checksums" => {
            let mut lists: Vec<_> = images().iter().map(|image| image.record().sha256sums().into_bytes()).collect();
            lists.push(b"<a href=\"rootfs.tar.xz\">x</a> <a href='../'>up</a>".to_vec());
            lists.push(format!("SHA256 (rootfs.tar.xz) = {}\n", "0".repeat(64)).into_bytes());
            lists
        }
        "container_config" => texts(CONFIGS),
        "delta" => deltas(),
        "fstab" => texts(FSTABS),
        "index" => texts(INDEXES),
        "lxc_config" => texts(&[CONFIGS, &["lxc.net.0.type=veth\n\nlxc.idmap = u 0 1 2\n#\nlxc.x = \"a\"\n"]].concat()),
        "lxc_metadata" => images().iter().map(|image| decoded(&image.files()[&BuildFile::MetaTarXz])).collect(),
        "products" => products_files(),
        "signed_index" => vec![
            signed(br#"{"format": "index:1.0"}"#),
            signed(&index()),
            signed(b"- a line that is escaped\n-----BEGIN\n"),
        ],
        "signed_streams" => products_files().into_iter().chain([index()]).collect(),
        "tar_entries" => images().iter().map(|image| decoded(&image.files()[&BuildFile::RootfsTarXz])).collect(),
        "xz_archive" => {
            let files = images().iter().flat_map(|image| image.files().into_iter()).collect::<Vec<_>>();
            let files = files.into_iter().filter(|(file, _)| file.name().ends_with("tar.xz"));
            files.map(|(_, content)| content).collect()
        }
        other => panic!("no valid input of {other}"),
    }
}

/// A plain one, one with everything an archive can hold, and one whose metadata has every member.
fn images() -> [FakeImage; 3] {
    let plain = FakeImage::new("debian/bookworm/amd64/default").alias("debian/12");
    let full = plain.clone().device("dev/null", 1, 3).end_of_life("2030-06-30").requirement("cgroup", "v2");
    let full = full.rootfs(|tree| {
        tree.symlink("srv", "usr").lie(EntryType::Link, "./etc/again", "./etc/hosts", b"").file("usr/su", 0o4755, "#!");
        let record = "30 mtime=1795411320.123456789\n24 SCHILY.xattr.user.a=b\n";
        tree.lie(EntryType::XHeader, "pax", "", record.as_bytes()).file("usr/timed", 0o644, "x");
        let sparse =
            "22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n26 GNU.sparse.name=holes\n29 GNU.sparse.realsize=4096\n";
        tree.lie(EntryType::XHeader, "pax", "", sparse.as_bytes());
        tree.lie(
            EntryType::Regular,
            "GNUSparseFile.0/holes",
            "",
            &[b"1\n0\n4\n".to_vec(), vec![0; 506], b"data".to_vec()].concat(),
        );
        tree.lie(EntryType::GNULongName, "././@LongLink", "", "n/".repeat(90).as_bytes()).file("usr/long", 0o644, "x");
        tree.lie(EntryType::Fifo, "./run/fifo", "", b"").lie_bytes(b"./caf\xe9", b"latin");
    });
    let described = plain.clone().member("fstab", FSTABS[0]).member("templates", "/etc/hostname\n/etc/hosts\n");
    let described = described.member("excludes-user", "./dev\n").member("config-user", CONFIGS[0]);
    [plain, full, described.member("create-message.6", "hello\n").member("expiry", "1795411320\n")]
}

fn key() -> SigningKey {
    SigningKey::generate_repository("fuzz", now(), Span::from_days(9)).unwrap()
}

/// A plain one in both forms, one with two subkeys, and a revoked one.
fn certificates() -> Vec<Vec<u8>> {
    let (key, later) = (key(), now() + Span::from_days(1));
    let rotated = key.rotate(later, Span::from_days(9), Span::from_days(2)).unwrap();
    let revoked = key.revoke_subkeys(later).unwrap().revoke(later).unwrap();
    let forms = [key.certificate().to_armored(), rotated.certificate().to_binary(), revoked.certificate().to_binary()];
    forms.into_iter().chain([key.to_armored_secret(), key.certificate().to_binary()]).map(Result::unwrap).collect()
}

fn signed(document: &[u8]) -> Vec<u8> {
    RepositoryKey(key()).sign_inline(document, now(), now() + Span::from_days(1)).unwrap()
}

/// An index as the server writes it.
fn index() -> Vec<u8> {
    let entry = ProductsEntry {
        datatype: Products::DATATYPE.to_owned(),
        format: Products::FORMAT.to_owned(),
        path: "streams/v1/debian.json".to_owned(),
        updated: String::new(),
        products: vec!["debian:bookworm:amd64:default".to_owned()],
        digest: FileDigest::of(b"products"),
    };
    let index = StreamsIndex {
        format: StreamsIndex::FORMAT.to_owned(),
        updated: now().rfc2822(),
        serial: 7,
        channel: "stable".parse().unwrap(),
        published: now(),
        expires: now() + Span::from_days(2),
        index: [("debian".to_owned(), entry)].into(),
    };
    serde_json::to_vec_pretty(&index).unwrap()
}

fn products_files() -> Vec<Vec<u8>> {
    let largest =
        String::from_utf8(products(PRODUCT)).unwrap().replace(r#""size": 3"#, &format!(r#""size": {}"#, u64::MAX));
    vec![products(PRODUCT), products(DELTAS), largest.into_bytes()]
}

/// A products file with these items in its one build.
fn products(items: &[(&str, &str)]) -> Vec<u8> {
    let item = |(name, more): &(&str, &str)| {
        let digest = FileDigest::of(name.as_bytes()).sha256;
        format!(r#""{name}": {{"ftype": "x", "path": "images/{name}", "size": 3, "sha256": "{digest}"{more}}}"#)
    };
    let items = items.iter().map(item).collect::<Vec<_>>().join(", ");
    format!(
        r#"{{"content_id": "images", "datatype": "image-downloads", "format": "products:1.0", "products":
        {{"debian:bookworm:amd64:default": {{"aliases": "debian/12,debian", "arch": "amd64", "os": "Debian", "release":
        "bookworm", "release_title": "x", "variant": "default", "support_eol": "2030-06-30", "requirements": {{"a": "b"}},
        "versions": {{"20261123_0522": {{"items": {{{items}}}}}, "20261124_0522": {{"items": {{}}}}}}}}}}}}"#
    )
    .into_bytes()
}

const PRODUCT: &[(&str, &str)] = &[("rootfs.tar.xz", ""), ("meta.tar.xz", "")];
const DELTAS: &[(&str, &str)] = &[
    (
        "rootfs.tar.xz",
        r#", "tar": {"size": 9, "sha256": "0000000000000000000000000000000000000000000000000000000000000000"}"#,
    ),
    ("meta.tar.xz", ""),
    ("rootfs.tar.20261120_0100.zst", r#", "delta_base": "20261120_0100""#),
];

/// Deltas of the target's base: to something else, to itself, and from nothing.
fn deltas() -> Vec<Vec<u8>> {
    let base = delta_base();
    let changed = [&base[..9000], b"something else", &base[20_000..]].concat();
    let delta = |base: &[u8], made: &[u8]| {
        let mut encoder = zstd::stream::write::Encoder::with_ref_prefix(Vec::new(), 3, base).unwrap();
        encoder.write_all(made).unwrap();
        encoder.finish().unwrap()
    };
    vec![delta(&base, &changed), delta(&base, &base), delta(b"", &changed), delta(&base, &vec![0; 1 << 20])]
}

#[test]
fn what_fuzzing_begins_with_is_not_refused_at_the_door() {
    use rootcellar::container::policy::{check_config, check_fstab};

    assert!(CONFIGS.iter().all(|text| check_config(text, &[]).is_ok()), "{CONFIGS:?}");
    assert!(FSTABS.iter().all(|text| check_fstab(text, &[]).is_ok()), "{FSTABS:?}");
    assert!(serde_json::from_slice::<StreamsIndex>(&index()).is_ok());
    for file in products_files() {
        let products: Products = serde_json::from_slice(&file).unwrap();
        assert_eq!(products.images().count(), 1);
    }
    let mut made = Vec::new();
    rootcellar::acquire::patched(&deltas()[0][..], &delta_base(), 1 << 20).unwrap().read_to_end(&mut made).unwrap();
    assert!(made.starts_with(&delta_base()[..9000]) && made[9000..].starts_with(b"something else"));
}

fn decoded(xz: &[u8]) -> Vec<u8> {
    let mut tar = Vec::new();
    Decoder::new(xz, &DecodeLimits::default()).unwrap().read_to_end(&mut tar).unwrap();
    tar
}

fn now() -> Timestamp {
    Timestamp::from_unix(1_795_411_320)
}

const INDEXES: &[&str] = &[
    "debian;bookworm;amd64;default;20261120_07:42;/images/debian/bookworm/amd64/default/20261120_07:42/\n",
    "\n;;;;;\r\na;b;c;d;e;f;g\n",
    "alpine;3.20;arm64;cloud;20261120_07:42;/a/\nalpine;3.20;amd64;default;20261120_07:42;/b/",
];
const CONFIGS: &[&str] = &[
    "# Distribution configuration\nlxc.include = /usr/share/lxc/config/debian.common.conf\nlxc.arch = linux64\n",
    "lxc.mount.auto = cgroup:mixed proc:mixed sys:mixed\nlxc.cap.drop = sys_time\nlxc.signal.halt = SIGPWR\n",
    "lxc.mount.entry = shm dev/shm tmpfs rw,nodev,mode=1777,size=50%,create=dir 0 0\nlxc.tty.dir = lxc\n",
    "  lxc.mount.entry=mqueue dev/mqueue mqueue rw,relatime,create=dir,optional 0 0\n#x\nlxc.environment = a=\"b\"\n",
];
const FSTABS: &[&str] = &[
    "tmpfs run tmpfs rw 0 0\n",
    "# none\n\nnone dev/shm tmpfs rw,nosuid,nodev,create=dir\n devpts dev/pts devpts gid=5,mode=620,newinstance 0 0",
    "mqueue\tdev/mqueue  mqueue rw,relatime,create=dir,optional 0 0\n",
];
