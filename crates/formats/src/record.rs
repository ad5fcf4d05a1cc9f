//! The build record, `build.json`: what one build is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::{FileDigest, Sha256};
use crate::image::ImageId;
use crate::serial::Serial;
use crate::time::Timestamp;

/// What one build is: the builder writes it, the server checks every file against it at import and lists images
/// from it.
///
/// ```text
/// <build directory>/
/// ├── build.json          this record
/// ├── SHA256SUMS          the same digests, for people and systemd-pull
/// ├── rootfs.tar.xz       the root file system             ├── meta.tar.xz      LXC metadata
/// ├── rootfs.squashfs     the same for Incus and LXD       ├── incus.tar.xz     Incus metadata, and
/// │                                                        ├── lxd.tar.xz       LXD's, other bytes
/// ├── unified.tar.xz      Incus metadata and the root file system in one
/// ├── image.yaml          the resolved spec                ├── packages.json    what is installed
/// ├── sbom.spdx.json      the same as SPDX                 └── build.log        not part of the record
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildRecord {
    /// The version of this format.
    pub format: RecordFormat,
    /// The image.
    pub image: ImageId,
    /// The build.
    pub serial: Serial,
    /// When it was made.
    pub created: Timestamp,
    /// When a cached copy should be refreshed (the `expiry` member of the LXC metadata).
    pub cache_expiry: Timestamp,
    /// The distribution's name for people, `Debian`.
    pub os: String,
    /// Other names of the image without architecture, such as `debian/12`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// The day the distribution ends its support, `2028-06-30`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_of_life: Option<String>,
    /// What a host must offer, in simplestreams' words (`secureboot: false`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub requirements: BTreeMap<String, String>,
    /// Every file of the build directory but this record, the sums and the log.
    pub files: BTreeMap<BuildFile, FileDigest>,
    /// Size and digest of the uncompressed `rootfs.tar`, which deltas are made of.
    pub rootfs_tar: FileDigest,
    /// Incus's and LXD's names of the image, by metadata and rootfs file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fingerprints: Vec<Fingerprint>,
    /// What the build was made from. Two builds with the same digest have the same content.
    pub inputs: Sha256,
    /// How it was made.
    pub provenance: Provenance,
}

impl BuildRecord {
    /// The record of `build.json`.
    pub fn from_json(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// The content of `build.json`, ending in a newline.
    pub fn to_json(&self) -> Vec<u8> {
        // A value of this type has text keys and no floats: it always serialises.
        let mut json = serde_json::to_vec_pretty(self).unwrap_or_default();
        json.push(b'\n');
        json
    }

    /// The content of `SHA256SUMS`, in the format of `sha256sum`.
    pub fn sha256sums(&self) -> String {
        let lines = self.files.iter().map(|(file, digest)| format!("{}  {file}\n", digest.sha256));
        lines.collect::<Vec<_>>().concat()
    }

    /// The image fingerprint of a metadata and a rootfs file.
    pub fn fingerprint(&self, metadata: BuildFile, rootfs: BuildFile) -> Option<Sha256> {
        self.fingerprints.iter().find(|one| one.metadata == metadata && one.rootfs == rootfs).map(|one| one.sha256)
    }
}

/// The version of the record's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordFormat {
    /// The first.
    #[serde(rename = "rootcellar-build:1")]
    V1,
}

/// A file of a build. There are no others, so a record can name no path outside its directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum BuildFile {
    /// The root file system as a tar archive with numeric owners, xz in several blocks.
    #[serde(rename = "rootfs.tar.xz")]
    RootfsTarXz,
    /// The root file system for Incus and LXD.
    #[serde(rename = "rootfs.squashfs")]
    RootfsSquashfs,
    /// LXC metadata.
    #[serde(rename = "meta.tar.xz")]
    MetaTarXz,
    /// Incus metadata.
    #[serde(rename = "incus.tar.xz")]
    IncusTarXz,
    /// LXD metadata.
    #[serde(rename = "lxd.tar.xz")]
    LxdTarXz,
    /// Metadata and root file system in one archive, for `incus image import` and `lxc image import` of LXD.
    #[serde(rename = "unified.tar.xz")]
    UnifiedTarXz,
    /// The resolved spec.
    #[serde(rename = "image.yaml")]
    ImageYaml,
    /// The installed packages.
    #[serde(rename = "packages.json")]
    PackagesJson,
    /// The software bill of materials.
    #[serde(rename = "sbom.spdx.json")]
    SbomSpdxJson,
}

impl BuildFile {
    /// Every file there can be.
    pub const ALL: [Self; 9] = [
        Self::RootfsTarXz,
        Self::RootfsSquashfs,
        Self::MetaTarXz,
        Self::IncusTarXz,
        Self::LxdTarXz,
        Self::UnifiedTarXz,
        Self::ImageYaml,
        Self::PackagesJson,
        Self::SbomSpdxJson,
    ];

    /// The file's name in the build directory and on the server.
    pub fn name(self) -> &'static str {
        match self {
            Self::RootfsTarXz => "rootfs.tar.xz",
            Self::RootfsSquashfs => "rootfs.squashfs",
            Self::MetaTarXz => "meta.tar.xz",
            Self::IncusTarXz => "incus.tar.xz",
            Self::LxdTarXz => "lxd.tar.xz",
            Self::UnifiedTarXz => "unified.tar.xz",
            Self::ImageYaml => "image.yaml",
            Self::PackagesJson => "packages.json",
            Self::SbomSpdxJson => "sbom.spdx.json",
        }
    }
}

impl std::fmt::Display for BuildFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The image fingerprint of one pair of files: the sha256 of the metadata file followed by the rootfs file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fingerprint {
    /// `incus.tar.xz` or `lxd.tar.xz`.
    pub metadata: BuildFile,
    /// `rootfs.squashfs` or `rootfs.tar.xz`.
    pub rootfs: BuildFile,
    /// The fingerprint.
    pub sha256: Sha256,
}

/// How a build was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Program and version, `rootcellar-builder 0.1.0`.
    pub builder: String,
    /// sha256 of the spec as it was read.
    pub spec: Sha256,
    /// The overrides given beside the spec, `image.release=trixie`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<String>,
    /// What the root file system started from, `bootstrap bookworm`.
    pub source: String,
    /// The repositories' signed documents the build saw, by their name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub repositories: BTreeMap<String, Sha256>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> BuildRecord {
        let digest = FileDigest::of(b"rootfs");
        BuildRecord {
            format: RecordFormat::V1,
            image: "debian/bookworm/amd64/default".parse().unwrap(),
            serial: "20261123_0522".parse().unwrap(),
            created: Timestamp::from_unix(1_795_411_320),
            cache_expiry: Timestamp::from_unix(1_798_003_320),
            os: "Debian".into(),
            aliases: vec!["debian/12".into()],
            end_of_life: None,
            requirements: BTreeMap::new(),
            files: BuildFile::ALL.into_iter().map(|file| (file, digest)).collect(),
            rootfs_tar: digest,
            fingerprints: vec![],
            inputs: digest.sha256,
            provenance: Provenance {
                builder: "rootcellar-builder 0.1.0".into(),
                spec: digest.sha256,
                overrides: vec![],
                source: "mmdebstrap bookworm".into(),
                repositories: BTreeMap::new(),
            },
        }
    }

    #[test]
    fn a_record_survives_its_own_json() {
        assert_eq!(BuildRecord::from_json(&record().to_json()).unwrap(), record());
    }

    #[test]
    fn a_record_that_names_a_file_outside_its_directory_is_refused() {
        let json = String::from_utf8(record().to_json()).unwrap().replace("rootfs.squashfs", "../../etc/passwd");
        assert!(BuildRecord::from_json(json.as_bytes()).is_err());
    }

    #[test]
    fn a_record_with_a_field_nobody_knows_is_refused() {
        let json = String::from_utf8(record().to_json()).unwrap().replacen('{', "{\"trust_me\": true,", 1);
        assert!(BuildRecord::from_json(json.as_bytes()).is_err());
    }

    #[test]
    fn every_file_is_written_under_its_own_name() {
        for file in BuildFile::ALL {
            assert_eq!(serde_json::to_string(&file).unwrap(), format!("\"{}\"", file.name()));
        }
        assert_eq!(record().sha256sums().lines().count(), BuildFile::ALL.len());
    }
}
