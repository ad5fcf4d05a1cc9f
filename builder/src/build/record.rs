//! The build record of a finished build.

use std::collections::BTreeMap;

use formats::digest::{FileDigest, Hasher, Sha256};
use formats::record::{BuildFile, BuildRecord, Fingerprint, Provenance, RecordFormat};
use formats::time::Timestamp;

use super::inventory::{Inventory, Package};
use super::pack::Packed;
use super::tree::Tree;
use super::{BuildError, keys};
use crate::plan::Plan;
use crate::plan::source::Source;
use crate::spec::Spec;

/// What the record is made from.
pub(crate) struct Made<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) plan: &'a Plan,
    /// What the tree was made from.
    pub(crate) source: String,
    pub(crate) overrides: &'a [String],
    pub(crate) now: Timestamp,
    pub(crate) inventory: &'a Inventory,
    pub(crate) files: Packed,
    pub(crate) rootfs_tar: FileDigest,
    pub(crate) fingerprints: Vec<Fingerprint>,
    pub(crate) about: About,
}

/// What the image says about itself in `/etc/os-release`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct About {
    version: Option<String>,
    end_of_life: Option<String>,
}

impl About {
    /// Reads it from the tree.
    pub(crate) fn of(tree: &Tree) -> Result<Self, BuildError> {
        let content = tree.read("/etc/os-release")?.unwrap_or_default();
        let text = String::from_utf8_lossy(&content);
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.map(|value| value.trim_matches('"').to_owned()).filter(|value| !value.is_empty())
        };
        Ok(Self { version: value("VERSION_ID"), end_of_life: value("SUPPORT_END") })
    }
}

/// The record.
pub(crate) fn record(made: Made<'_>) -> Result<BuildRecord, BuildError> {
    let spec = made.spec;
    let is_archive = matches!(made.plan.source, Source::Download(_));
    let distribution = spec.image.distribution.as_str();
    let variant = spec.image.variant.as_str();
    let alias = made.about.version.filter(|version| version != spec.image.release.as_str());
    let suffix =
        if variant == formats::image::ImageId::DEFAULT_VARIANT { String::new() } else { format!("/{variant}") };
    Ok(BuildRecord {
        format: RecordFormat::V1,
        image: spec.image.clone(),
        serial: spec.serial.clone(),
        created: made.now,
        cache_expiry: made.now + spec.cache_span,
        os: capitalized(distribution),
        aliases: alias.map(|version| format!("{distribution}/{version}{suffix}")).into_iter().collect(),
        end_of_life: made.about.end_of_life,
        requirements: BTreeMap::new(),
        files: made.files,
        rootfs_tar: made.rootfs_tar,
        fingerprints: made.fingerprints,
        inputs: inputs((spec, made.plan), Some(made.source.as_str()).filter(|_| is_archive), &made.inventory.packages)?,
        provenance: Provenance {
            builder: format!("{} {}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")),
            spec: spec.digest,
            overrides: made.overrides.to_vec(),
            source: made.source,
            repositories: made.inventory.repositories.clone(),
        },
    })
}

/// Incus's and LXD's names of the image: metadata and rootfs, one after the other.
pub(crate) fn fingerprints(directory: &std::path::Path, files: &Packed) -> Result<Vec<Fingerprint>, BuildError> {
    let mut fingerprints = Vec::new();
    for metadata in [BuildFile::IncusTarXz, BuildFile::LxdTarXz] {
        for rootfs in [BuildFile::RootfsSquashfs, BuildFile::RootfsTarXz] {
            if !files.contains_key(&metadata) || !files.contains_key(&rootfs) {
                continue;
            }
            let mut hasher = Hasher::default();
            for file in [metadata, rootfs] {
                std::io::copy(&mut fs_err::File::open(directory.join(file.name()))?, &mut hasher)?;
            }
            fingerprints.push(Fingerprint { metadata, rootfs, sha256: hasher.finish().sha256 });
        }
    }
    Ok(fingerprints)
}

/// A digest of what determines the content: the builder, the spec as it holds for this build without its serial, what
/// is packed, what comes from this machine, the archives it started from, and the packages.
pub(crate) fn inputs(
    (spec, plan): (&Spec, &Plan),
    archives: Option<&str>,
    packages: &[Package],
) -> Result<Sha256, BuildError> {
    let mut definition = spec.definition.clone();
    definition.image.serial = "".into();
    let packed = plan.formats.files().iter().map(ToString::to_string).collect::<Vec<_>>();
    let parts = (env!("CARGO_PKG_VERSION"), &definition, packed, archives, keys::files(&plan.files)?, packages);
    let document = serde_json::to_vec(&parts).map_err(std::io::Error::from)?;
    Ok(Sha256::of(&document))
}

fn capitalized(name: &str) -> String {
    let mut characters = name.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}
