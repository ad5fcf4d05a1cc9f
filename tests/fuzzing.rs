//! Every parser of foreign bytes survives what was kept, what is valid, and what becomes of both by chance.
//!
//! The targets are those of `fuzz/`, which cargo-fuzz runs for as long as one likes. Here each gets a bounded number of
//! inputs that are the same in every run; `ROOTCELLAR_FUZZ_ROUNDS` gives it more of them.

#[path = "../fuzz/src/targets.rs"]
mod targets;
mod valid;

use std::fs;

use formats::digest::FileDigest;

use crate::support::program::source;

/// How many changed inputs each valid one becomes.
const ROUNDS: u64 = 150;

#[test]
fn every_target_survives_its_seeds_and_thousands_of_changed_ones() {
    let rounds = std::env::var("ROOTCELLAR_FUZZ_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    for (name, target) in targets::TARGETS {
        let seeds = seeds(name);
        assert!(seeds.len() > 1, "{name} begins with almost nothing");
        let mut chance = Chance(0x9e37_79b9_7f4a_7c15 ^ name.len() as u64);
        for seed in &seeds {
            survive(name, target, seed);
            for _ in 0..rounds {
                survive(name, target, &chance.changed(seed, &seeds));
            }
        }
    }
}

/// `fuzz/run.sh` names a directory, from which the fuzzer begins.
#[test]
fn what_is_valid_is_written_where_the_fuzzer_begins() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = std::env::var_os("ROOTCELLAR_FUZZ_INPUTS").map_or_else(|| scratch.path().to_owned(), Into::into);
    for (name, _) in targets::TARGETS {
        fs::create_dir_all(directory.join(name)).unwrap();
        for input in valid::inputs(name) {
            fs::write(directory.join(name).join(FileDigest::of(&input).sha256.to_string()), &input).unwrap();
        }
        assert!(fs::read_dir(directory.join(name)).unwrap().count() > 1, "{name} begins with almost nothing");
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

/// What was kept for a target, and valid inputs of it.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let kept = fs::read_dir(source().join("fuzz/seeds").join(target)).into_iter().flatten();
    let mut kept: Vec<_> = kept.map(|entry| entry.unwrap().path()).collect();
    kept.sort();
    kept.into_iter().map(|path| fs::read(path).unwrap()).chain(valid::inputs(target)).collect()
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
