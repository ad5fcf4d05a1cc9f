//! Simplestreams documents, as Incus and LXD read them, with the fields our own client needs added.
//!
//! Other readers ignore fields they do not know (incus `shared/simplestreams/{index,products}.go`), so one document
//! serves all of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::delta::DeltaKind;
use crate::digest::{FileDigest, Sha256};
use crate::image::ImageId;
use crate::name::Name;
use crate::record::BuildFile;
use crate::serial::Serial;
use crate::time::Timestamp;

/// `index.json` and, inline-signed, `index.sjson`: what one generation consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamsIndex {
    /// Always `index:1.0`.
    pub format: String,
    /// RFC 2822, for other readers.
    pub updated: String,
    /// The repository serial: it grows with every generation, so an older index is recognised.
    pub serial: u64,
    /// The channel the generation belongs to.
    pub channel: Name,
    /// When the generation was made.
    pub published: Timestamp,
    /// Until when it may be used.
    pub expires: Timestamp,
    /// The products files, by distribution.
    pub index: BTreeMap<String, ProductsEntry>,
}

impl StreamsIndex {
    /// The value of `format`.
    pub const FORMAT: &str = "index:1.0";
}

/// One products file in a [`StreamsIndex`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductsEntry {
    /// Always `image-downloads`; Incus skips entries of another type.
    pub datatype: String,
    /// Always `products:1.0`.
    pub format: String,
    /// Relative to the repository's root.
    pub path: String,
    /// RFC 2822, for other readers.
    pub updated: String,
    /// The product names in the file; Incus skips an entry without any.
    pub products: Vec<String>,
    /// Size and digest of the file.
    #[serde(flatten)]
    pub digest: FileDigest,
}

/// A products file: the images of one distribution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Products {
    /// Always `images`.
    pub content_id: String,
    /// Always `image-downloads`.
    pub datatype: String,
    /// Always `products:1.0`.
    pub format: String,
    /// RFC 2822, for other readers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated: Option<String>,
    /// The images, by product name (`debian:trixie:amd64:default`).
    pub products: BTreeMap<String, Product>,
}

impl Products {
    /// The value of `format`.
    pub const FORMAT: &str = "products:1.0";
    /// The value of `datatype`.
    pub const DATATYPE: &str = "image-downloads";

    /// The images whose product name is an image id, in order.
    pub fn images(&self) -> impl Iterator<Item = (ImageId, &Product)> {
        self.products.iter().filter_map(|(name, product)| Some((ImageId::from_product_name(name).ok()?, product)))
    }
}

/// One image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// Comma-separated, without blanks: `debian/trixie/default,debian/trixie,debian/13`.
    pub aliases: String,
    /// Debian's name of the architecture.
    pub arch: String,
    /// For people: `Debian`.
    pub os: String,
    /// `trixie`.
    pub release: String,
    /// For people.
    pub release_title: String,
    /// `default`.
    pub variant: String,
    /// The day support ends, `2030-06-30`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub support_eol: Option<String>,
    /// What a host must offer.
    #[serde(default)]
    pub requirements: BTreeMap<String, String>,
    /// The builds, by serial: they sort as text.
    pub versions: BTreeMap<String, Version>,
}

impl Product {
    /// The aliases, one by one.
    pub fn aliases(&self) -> impl Iterator<Item = &str> {
        self.aliases.split(',').filter(|alias| !alias.is_empty())
    }

    /// The builds whose name is a serial, newest first.
    pub fn builds(&self) -> impl Iterator<Item = (Serial, &Version)> {
        self.versions.iter().rev().filter_map(|(name, version)| Some((name.parse().ok()?, version)))
    }
}

/// One build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// When a cached copy should be refreshed; other servers do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_expiry: Option<Timestamp>,
    /// The files, by name.
    pub items: BTreeMap<String, Item>,
}

impl Version {
    /// The item of a file.
    pub fn item(&self, file: BuildFile) -> Option<&Item> {
        self.items.get(file.name())
    }

    /// The deltas of a kind, each with the serial of the build it starts from. Items whose base is no serial of ours
    /// are passed over.
    pub fn deltas(&self, kind: DeltaKind) -> impl Iterator<Item = (Serial, &Item)> {
        let deltas = self.items.values().filter(move |item| item.ftype == kind.ftype());
        deltas.filter_map(|item| Some((item.delta_base.as_ref()?.parse().ok()?, item)))
    }
}

/// One file of a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// What the file is, in simplestreams' words: see [`ftype`], and [`DeltaKind::ftype`] for deltas.
    pub ftype: String,
    /// Relative to the repository's root.
    pub path: String,
    /// Size and digest of the file.
    #[serde(flatten)]
    pub digest: FileDigest,
    /// For `rootfs.tar.xz`: size and digest of the archive before compression, which deltas are made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tar: Option<FileDigest>,
    /// For deltas: the version of the same product that they start from. [`crate::delta`] describes the formats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delta_base: Option<String>,
    /// For Incus and LXD metadata: the image fingerprint together with `rootfs.squashfs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub combined_squashfs_sha256: Option<Sha256>,
    /// For Incus and LXD metadata: the image fingerprint together with `rootfs.tar.xz`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub combined_rootxz_sha256: Option<Sha256>,
}

/// What simplestreams calls a file in `ftype`.
///
/// `meta.tar.xz` and the documents are names of ours; Incus and LXD pass over types they do not know.
pub fn ftype(file: BuildFile) -> &'static str {
    match file {
        BuildFile::RootfsTarXz => "root.tar.xz",
        BuildFile::RootfsSquashfs => "squashfs",
        BuildFile::MetaTarXz
        | BuildFile::IncusTarXz
        | BuildFile::LxdTarXz
        | BuildFile::UnifiedTarXz
        | BuildFile::ImageYaml
        | BuildFile::PackagesJson
        | BuildFile::SbomSpdxJson => file.name(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRODUCTS: &str = r#"{
        "content_id": "images", "datatype": "image-downloads", "format": "products:1.0",
        "products": {"alpine:3.20:amd64:default": {
            "aliases": "alpine/3.20/default,alpine/3.20", "arch": "amd64", "os": "Alpine", "release": "3.20",
            "release_title": "3.20", "variant": "default", "supported": true, "requirements": {},
            "versions": {
                "20261121_0100": {"label": "", "items": {"rootfs.tar.xz": {
                    "ftype": "root.tar.xz", "path": "images/x/rootfs.tar.xz", "size": 3,
                    "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}}},
                "20261120_0100": {"items": {}}, "nightly": {"items": {}}}}}}"#;

    #[test]
    fn a_products_file_with_fields_of_other_servers_is_read() {
        let products: Products = serde_json::from_str(PRODUCTS).unwrap();
        let (image, product) = products.images().next().unwrap();
        assert_eq!(image.to_string(), "alpine/3.20/amd64/default");
        assert_eq!(product.aliases().collect::<Vec<_>>(), ["alpine/3.20/default", "alpine/3.20"]);
        let (serial, version) = product.builds().next().unwrap();
        assert_eq!(serial.as_str(), "20261121_0100");
        assert_eq!(version.item(BuildFile::RootfsTarXz).unwrap().digest, FileDigest::of(b"abc"));
        assert_eq!(product.builds().count(), 2);
    }

    #[test]
    fn a_delta_is_found_by_its_type_and_names_the_build_it_starts_from() {
        let version: Version = serde_json::from_str(
            r#"{"items": {
                "rootfs.tar.20261120_0100.zst": {"ftype": "root.tar.zst-patch", "delta_base": "20261120_0100",
                    "path": "images/x/rootfs.tar.20261120_0100.zst", "size": 3,
                    "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
                "root.vcdiff": {"ftype": "squashfs.vcdiff", "delta_base": "20261120_01:00",
                    "path": "images/x/root.vcdiff", "size": 3,
                    "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}}}"#,
        )
        .unwrap();
        let (base, item) = version.deltas(DeltaKind::Tar).next().unwrap();
        assert_eq!((base.as_str(), item.digest), ("20261120_0100", FileDigest::of(b"abc")));
        assert_eq!(version.deltas(DeltaKind::Squashfs).count(), 0);
    }

    #[test]
    fn an_index_survives_its_own_json() {
        let index = StreamsIndex {
            format: StreamsIndex::FORMAT.into(),
            updated: "Mon, 23 Nov 2026 05:22:00 +0000".into(),
            serial: 7,
            channel: "stable".parse().unwrap(),
            published: Timestamp::from_unix(1_795_411_320),
            expires: Timestamp::from_unix(1_795_584_120),
            index: BTreeMap::from([(
                "debian".into(),
                ProductsEntry {
                    datatype: Products::DATATYPE.into(),
                    format: Products::FORMAT.into(),
                    path: "streams/v1/debian.0123456789abcdef.json".into(),
                    updated: String::new(),
                    products: vec!["debian:trixie:amd64:default".into()],
                    digest: FileDigest::of(b"abc"),
                },
            )]),
        };
        let json = serde_json::to_string(&index).unwrap();
        assert!(json.contains("\"size\":3"), "{json}");
        assert_eq!(serde_json::from_str::<StreamsIndex>(&json).unwrap(), index);
    }

    #[test]
    fn an_index_without_a_validity_is_refused() {
        let json = r#"{"format":"index:1.0","updated":"","serial":1,"channel":"stable",
            "published":"2026-11-23T05:22:00Z","index":{}}"#;
        assert!(serde_json::from_str::<StreamsIndex>(json).is_err());
    }
}
