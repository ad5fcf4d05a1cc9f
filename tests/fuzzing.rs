//! Every parser of foreign bytes survives what was kept, what is valid, and what becomes of both by chance.
//!
//! The targets are those of `fuzz/`, which cargo-fuzz runs for as long as one likes. Here each gets a bounded number of
//! inputs that are the same in every run; `ROOTCELLAR_FUZZ_ROUNDS` gives it more of them.

use std::fs;
use std::io::Read as _;

use archive::xz::{DecodeLimits, Decoder};
use formats::certificate::SigningKey;
use formats::digest::FileDigest;
use formats::record::BuildFile;
use formats::signature::{RepositoryKey, SignInline as _};
use formats::time::{Span, Timestamp};
use testkit::{EntryType, FakeImage};

use crate::support::program::source;

#[path = "../fuzz/src/targets.rs"]
mod targets;

/// How many changed inputs each valid one becomes.
const ROUNDS: u64 = 150;

#[test]
fn every_target_survives_its_seeds_and_thousands_of_changed_ones() {
    let rounds = std::env::var("ROOTCELLAR_FUZZ_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    for (name, target) in targets::TARGETS {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "{name} begins with nothing");
        let mut chance = Chance(0x9e37_79b9_7f4a_7c15 ^ name.len() as u64);
        for seed in &seeds {
            survive(name, target, seed);
            for _ in 0..rounds {
                survive(name, target, &chance.changed(seed, &seeds));
            }
        }
    }
}

/// Runs a target, and shows the input that it did not survive.
fn survive(name: &str, target: targets::Target, input: &[u8]) {
    let outcome = std::panic::catch_unwind(|| target(input));
    if outcome.is_err() {
        let path = std::env::temp_dir().join(format!("rootcellar-{name}-{}", FileDigest::of(input).sha256.short()));
        fs::write(&path, input).unwrap();
        panic!("{name} does not survive {}: it belongs in fuzz/seeds/{name}/", path.display());
    }
}

/// What was kept for a target, and a valid input of it.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let kept = fs::read_dir(source().join("fuzz/seeds").join(target)).into_iter().flatten();
    let mut kept: Vec<_> = kept.map(|entry| entry.unwrap().path()).collect();
    kept.sort();
    kept.into_iter().map(|path| fs::read(path).unwrap()).chain(valid(target)).collect()
}

fn valid(target: &str) -> Vec<Vec<u8>> {
    let image = FakeImage::new("debian/bookworm/amd64/default").alias("debian/12").device("dev/null", 1, 3);
    let image = image.rootfs(|tree| {
        tree.symlink("srv", "usr").lie(EntryType::Link, "./etc/again", "./etc/hosts", b"").file("usr/su", 0o4755, "#!");
        let record = "30 mtime=1795411320.123456789\n24 SCHILY.xattr.user.a=b\n";
        tree.lie(EntryType::XHeader, "pax", "", record.as_bytes()).file("usr/timed", 0o644, "x");
    });
    let files = image.files();
    let (rootfs, metadata) = (&files[&BuildFile::RootfsTarXz], &files[&BuildFile::MetaTarXz]);
    let now = Timestamp::from_unix(1_795_411_320);
    let key = || RepositoryKey(SigningKey::generate_repository("fuzz", now, Span::from_days(9)).unwrap());
    let item = |name: &str| {
        let digest = FileDigest::of(name.as_bytes());
        format!(r#""{name}": {{"ftype": "x", "path": "images/{name}", "size": 3, "sha256": "{}"}}"#, digest.sha256)
    };
    match target {
        "build_record" => vec![image.record().to_json()],
        "certificate" => vec![key().certificate().to_binary().unwrap(), key().certificate().to_armored().unwrap()],
        "checksums" => vec![image.record().sha256sums().into_bytes(), b"<a href=\"rootfs.tar.xz\">x</a>".to_vec()],
        "index" => vec![
            b"debian;bookworm;amd64;default;20261120_07:42;/images/debian/bookworm/amd64/default/20261120_07:42/\n".to_vec(),
            b"\n;;;;;\r\na;b;c;d;e;f;g\n".to_vec(),
        ],
        "lxc_config" => vec![b"# a comment\nlxc.include = /x\nlxc.net.0.type=veth\n\nlxc.idmap = u 0 1 2\n".to_vec()],
        "lxc_metadata" => vec![decoded(metadata)],
        "products" => vec![
            format!(
                r#"{{"content_id": "images", "datatype": "image-downloads", "format": "products:1.0", "products":
                {{"debian:bookworm:amd64:default": {{"aliases": "debian/12", "arch": "amd64", "os": "Debian", "release":
                "bookworm", "release_title": "x", "variant": "default", "versions": {{"20261123_0522": {{"items": {{{}, {}}}
                }}}}}}}}}}"#,
                item("rootfs.tar.xz"),
                item("meta.tar.xz")
            )
            .into_bytes(),
        ],
        "signed_index" => vec![key().sign_inline(b"{\"format\": \"index:1.0\"}", now, now + Span::from_days(1)).unwrap()],
        "tar_entries" => vec![decoded(rootfs)],
        "xz_archive" => vec![rootfs.clone(), metadata.clone()],
        other => panic!("no valid input of {other}"),
    }
}

fn decoded(xz: &[u8]) -> Vec<u8> {
    let mut tar = Vec::new();
    Decoder::new(xz, &DecodeLimits::default()).unwrap().read_to_end(&mut tar).unwrap();
    tar
}

/// Numbers that look like chance and are the same in every run (splitmix64).
struct Chance(u64);

impl Chance {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.number() % (limit.max(1) as u64)).unwrap()
    }

    /// An input with a handful of changes of the kinds that break parsers.
    fn changed(&mut self, seed: &[u8], others: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            let count = (1 + self.below(16)).min(bytes.len().saturating_sub(at));
            match self.below(7) {
                0 => bytes.truncate(at),
                1 => drop(bytes.drain(at..at + count)),
                2 => {
                    let piece = bytes[at..at + count].to_vec();
                    bytes.splice(at..at, piece);
                }
                3 => {
                    let other = &others[self.below(others.len())];
                    let from = self.below(other.len());
                    let until = (from + 1 + self.below(600)).min(other.len());
                    bytes.splice(at..at, other.get(from..until).unwrap_or_default().to_vec());
                }
                4 => {
                    let words: [&[u8]; 8] =
                        [b"../", b"/", b"\0", b"\xff\xff\xff\xff", b"99999999999999999999", b"\n", b"-1", b";;"];
                    bytes.splice(at..at, words[self.below(words.len())].to_vec());
                }
                5 => bytes.iter_mut().skip(at).take(count).for_each(|byte| *byte = byte.wrapping_add(128)),
                _ => {
                    let bit = self.below(8);
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << bit;
                    }
                }
            }
        }
        bytes
    }
}
