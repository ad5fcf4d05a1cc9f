//! Specs mean what they mean to distrobuilder.
//!
//! What the real program says is recorded beside this file and compared in every run. With `ROOTCELLAR_TEST_NETWORK=1`
//! the record itself is compared with Debian's packages `distrobuilder` and `distrobuilder-images`, in a tree that is
//! made once and kept in the target directory; `ROOTCELLAR_TEST_ORACLE=record` writes it anew.

mod managers;
mod mutations;
mod probe;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use self::mutations::{MUTATIONS, SPEC};
use crate::common::chroot::Chroot;
use crate::common::{builder, is_root, output_of};

/// Where the verdict is not distrobuilder's, on purpose: the mutation and why. `image-specs/README.md` says so too.
const DIFFERENT: &[(&str, &str)] = &[
    ("boolean that is quoted", "its meaning is plain"),
    ("configuration of a wrong type", "the image would have no configuration"),
    ("configuration without a type", "the image would have no configuration"),
    ("distribution that leaves the directory", "it is part of a path"),
    ("expiry nobody can read", "it would mean now"),
    ("file generator with a blank", "the build would not know it"),
    ("file mode not octal", "the build would stop at it"),
    ("serial nobody can read", "servers order builds by it"),
    ("target of the old name", "specs written for LXD go on working"),
    ("target virtual machine with a boot size", "newer distrobuilders have it"),
];

/// Every mutated spec by the name of its mutation.
fn corpus() -> BTreeMap<String, String> {
    let mutated = MUTATIONS.iter().map(|(name, from, to)| {
        assert_eq!(SPEC.matches(from).count(), 1, "`{name}` does not fit the spec");
        ((*name).to_owned(), SPEC.replace(from, to))
    });
    let corpus: BTreeMap<_, _> = mutated.collect();
    assert_eq!(corpus.len(), MUTATIONS.len(), "two mutations have one name");
    corpus
}

fn verdict(accepted: bool) -> &'static str {
    if accepted { "accept" } else { "refuse" }
}

fn parse_verdicts(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.map(|(verdict, name)| (name.to_owned(), verdict.to_owned())).collect()
}

fn ours(path: &Path) -> &'static str {
    verdict(builder().arg("validate").arg(path).output().unwrap().status.success())
}

#[test]
fn mutated_specs_get_the_verdict_that_distrobuilder_gives_them() {
    let recorded = parse_verdicts(VERDICTS);
    let directory = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for (name, spec) in corpus() {
        let path = directory.path().join("spec.yaml");
        fs::write(&path, spec).unwrap();
        let found = ours(&path);
        let expected = recorded.get(&name).unwrap_or_else(|| panic!("no verdict is recorded for `{name}`"));
        let different = DIFFERENT.iter().any(|(mutation, _)| *mutation == name);
        if (found != expected) != different {
            wrong.push(format!("{name}: distrobuilder {expected}, here {found}, listed as different: {different}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(recorded.len() >= 40 && recorded.values().any(|verdict| verdict == "accept"));
}

#[test]
fn the_recorded_verdicts_are_those_of_the_real_distrobuilder() {
    let Some(oracle) = Oracle::open() else { return };
    let directory = tempfile::tempdir().unwrap();
    for (name, spec) in corpus() {
        fs::write(directory.path().join(format!("{name}.yaml")), spec).unwrap();
    }
    let found = oracle.run(directory.path(), VALIDATE);
    if oracle.records {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oracle/verdicts.txt");
        fs::write(path, &found).unwrap();
    } else {
        assert_eq!(parse_verdicts(&found), parse_verdicts(VERDICTS));
    }
}

#[test]
fn packaged_specs_get_the_verdict_that_distrobuilder_gives_them() {
    let Some(oracle) = Oracle::open() else { return };
    let directory = tempfile::tempdir().unwrap();
    let packaged = oracle.chroot.root.join("usr/share/distrobuilder-images");
    for entry in fs::read_dir(packaged).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, directory.path().join(path.file_name().unwrap())).unwrap();
    }
    let verdicts = parse_verdicts(&oracle.run(directory.path(), VALIDATE));
    assert!(verdicts.len() > 20, "{verdicts:?}");
    for (name, expected) in &verdicts {
        let path = directory.path().join(format!("{name}.yaml"));
        assert_eq!(ours(&path), expected, "{name}: {}", output_of(&builder().arg("validate").arg(path).assert()).1);
    }
}

/// The real distrobuilder.
struct Oracle {
    chroot: Chroot,
    /// Whether what it says becomes the record.
    records: bool,
}

impl Oracle {
    /// `None`, said on stderr, where it is not asked for or cannot be had.
    fn open() -> Option<Self> {
        let records = std::env::var_os("ROOTCELLAR_TEST_ORACLE").is_some_and(|wish| wish == "record");
        if !records && std::env::var_os("ROOTCELLAR_TEST_NETWORK").is_none() {
            testkit::skip("installs and asks the real distrobuilder only with ROOTCELLAR_TEST_NETWORK=1");
            return None;
        }
        if !is_root() {
            return None;
        }
        let chroot = Chroot::cached("distrobuilder-trixie", "trixie", PACKAGES, "")?;
        Some(Self { chroot, records })
    }

    fn run(&self, directory: &Path, script: &str) -> String {
        self.chroot.run(directory, script)
    }
}

const PACKAGES: &str = "distrobuilder,distrobuilder-images,squashfs-tools,rsync,xz-utils";

const VALIDATE: &str = "cd /mnt\n\
                        for spec in *.yaml; do\n\
                        \x20   if distrobuilder validate \"$spec\" >/dev/null 2>&1; then say=accept; else say=refuse; fi\n\
                        \x20   echo \"$say ${spec%.yaml}\"\n\
                        done\n";

const VERDICTS: &str = include_str!("oracle/verdicts.txt");
