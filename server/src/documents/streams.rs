//! The simplestreams documents.

use std::collections::{BTreeMap, HashSet};

use formats::delta::DeltaKind;
use formats::digest::{FileDigest, Sha256};
use formats::layout;
use formats::name::Name;
use formats::record::{BuildFile, BuildRecord};
use formats::streams::{Item, Product, Products, ProductsEntry, Version, ftype};
use formats::time::Timestamp;

use super::aliases::CurrentReleases;
use crate::catalog::CatalogEntry;
use crate::delta::Deltas;
use crate::store::BuildId;

/// The images of builds as one products file. It holds no time: the same builds give the same bytes, and so the same
/// name.
pub fn products(builds: &[&CatalogEntry], deltas: &Deltas) -> Products {
    let mut newest_first: Vec<&BuildRecord> = builds.iter().map(|build| &build.record).collect();
    newest_first.sort_by(|a, b| b.serial.cmp(&a.serial).then(a.image.cmp(&b.image)));
    // One image fingerprint may occur once on a server: Incus cannot launch an image whose name is ambiguous. The
    // newest build keeps it; an older one with the same bytes is offered to other clients only.
    let mut named = HashSet::new();
    let listed: HashSet<BuildId> = newest_first.iter().map(|record| BuildId::of(record)).collect();
    let current = CurrentReleases::of(newest_first.iter().copied());
    let mut products = BTreeMap::new();
    for record in newest_first {
        let new = || product(record, &current);
        let product = products.entry(record.image.product_name()).or_insert_with(new);
        let mut version = version(record, &mut named);
        version.items.extend(DeltaKind::ALL.into_iter().filter_map(|kind| delta(record, kind, deltas, &listed)));
        product.versions.insert(record.serial.to_string(), version);
    }
    Products {
        content_id: "images".to_owned(),
        datatype: Products::DATATYPE.to_owned(),
        format: Products::FORMAT.to_owned(),
        updated: None,
        products,
    }
}

/// The same images, one products file for each distribution.
pub fn by_distribution(all: &Products) -> BTreeMap<Name, Products> {
    let mut split = BTreeMap::new();
    for (image, product) in all.images() {
        let name = image.product_name();
        let products =
            split.entry(image.distribution).or_insert_with(|| Products { products: BTreeMap::new(), ..empty(all) });
        products.products.insert(name, product.clone());
    }
    split
}

/// How the index lists a products file whose content is `json`.
pub fn entry(distribution: &Name, products: &Products, json: &[u8], published: Timestamp) -> ProductsEntry {
    let digest = FileDigest::of(json);
    ProductsEntry {
        datatype: Products::DATATYPE.to_owned(),
        format: Products::FORMAT.to_owned(),
        path: layout::products(distribution, &digest.sha256),
        updated: published.rfc2822(),
        products: products.products.keys().cloned().collect(),
        digest,
    }
}

fn empty(like: &Products) -> Products {
    Products {
        content_id: like.content_id.clone(),
        datatype: like.datatype.clone(),
        format: like.format.clone(),
        updated: like.updated.clone(),
        products: BTreeMap::new(),
    }
}

/// An image as its newest build describes it.
fn product(newest: &BuildRecord, current: &CurrentReleases) -> Product {
    let image = &newest.image;
    Product {
        aliases: current.aliases(image, &newest.aliases).join(","),
        arch: image.arch.to_string(),
        os: newest.os.clone(),
        release: image.release.to_string(),
        release_title: image.release.to_string(),
        variant: image.variant.to_string(),
        support_eol: newest.end_of_life.clone(),
        requirements: newest.requirements.clone(),
        versions: BTreeMap::new(),
    }
}

fn version(record: &BuildRecord, named: &mut HashSet<Sha256>) -> Version {
    let item = |(file, digest): (&BuildFile, &FileDigest)| {
        let combined = |rootfs| record.fingerprint(*file, rootfs);
        let item = Item {
            ftype: ftype(*file).to_owned(),
            path: layout::build_file(&record.image, &record.serial, file.name()),
            digest: *digest,
            tar: (*file == BuildFile::RootfsTarXz).then_some(record.rootfs_tar),
            delta_base: None,
            combined_squashfs_sha256: combined(BuildFile::RootfsSquashfs),
            combined_rootxz_sha256: combined(BuildFile::RootfsTarXz),
        };
        (file.name().to_owned(), item)
    };
    let mut items: BTreeMap<String, Item> = record.files.iter().map(item).collect();
    items.retain(|_, item| {
        let fingerprints = [item.combined_squashfs_sha256, item.combined_rootxz_sha256];
        // Every one is taken note of, also after the first that occurred before.
        fingerprints.into_iter().flatten().filter(|fingerprint| !named.insert(*fingerprint)).count() == 0
    });
    Version { cache_expiry: Some(record.cache_expiry), items }
}

/// The delta of a kind that a build is listed with: the one from the newest build that is listed as well. There is never
/// a second one: Incus applies all it can use, one after the other, and fails (incus `client/simplestreams_images.go`).
fn delta(record: &BuildRecord, kind: DeltaKind, deltas: &Deltas, listed: &HashSet<BuildId>) -> Option<(String, Item)> {
    let build = BuildId::of(record);
    let usable = deltas.of(&build).filter(|(found, base, _)| {
        *found == kind && listed.contains(&BuildId { image: build.image.clone(), serial: (*base).clone() })
    });
    let (_, base, digest) = usable.max_by_key(|(_, base, _)| *base)?;
    let name = kind.file_name(base);
    let item = Item {
        ftype: kind.ftype().to_owned(),
        path: layout::build_file(&record.image, &record.serial, &name),
        digest,
        tar: None,
        delta_base: Some(base.to_string()),
        combined_squashfs_sha256: None,
        combined_rootxz_sha256: None,
    };
    Some((name, item))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::offers::Offers;
    use formats::metadata::LxcMetadata;
    use testkit::FakeImage;

    /// A fake image as the catalog would list it.
    pub(crate) fn entry(image: &FakeImage) -> CatalogEntry {
        let record = image.record();
        let parent = tempfile::tempdir().unwrap();
        let metadata = image.write(parent.path()).join(BuildFile::MetaTarXz.name());
        let metadata: LxcMetadata = crate::catalog::lxc_metadata(std::fs::File::open(metadata).unwrap()).unwrap();
        CatalogEntry { offers: Offers::of(&record.image, &metadata), record }
    }

    #[test]
    fn every_file_of_every_build_is_an_item_with_its_fingerprints() {
        let image = FakeImage::new("debian/trixie/amd64/default").incus().end_of_life("2030-06-30");
        let (old, new) = (entry(&image), entry(&image.clone().serial("20261123_0522")));
        let products = products(&[&old, &new], &Deltas::default());
        let product = &products.products["debian:trixie:amd64:default"];
        assert_eq!(product.support_eol.as_deref(), Some("2030-06-30"));
        assert_eq!(product.versions.len(), 2);
        let version = &product.versions["20261123_0522"];
        for (file, digest) in &new.record.files {
            assert_eq!(version.item(*file).unwrap().digest, *digest);
        }
        let [incus, lxd] = [BuildFile::IncusTarXz, BuildFile::LxdTarXz].map(|file| version.item(file).unwrap());
        assert!(incus.combined_squashfs_sha256.is_some() && incus.combined_rootxz_sha256.is_some());
        assert_ne!(incus.combined_squashfs_sha256, lxd.combined_squashfs_sha256);
    }

    #[test]
    fn an_image_fingerprint_occurs_once_and_the_newest_build_has_it() {
        let new = entry(&FakeImage::new("debian/trixie/amd64/default").incus().serial("20261123_0522"));
        let mut old = new.clone();
        old.record.serial = "20261122_0522".parse().unwrap();
        let products = products(&[&old, &new], &Deltas::default());
        let versions = &products.products["debian:trixie:amd64:default"].versions;
        assert!(versions["20261123_0522"].item(BuildFile::IncusTarXz).is_some());
        assert!(versions["20261122_0522"].item(BuildFile::IncusTarXz).is_none());
        assert!(versions["20261122_0522"].item(BuildFile::RootfsTarXz).is_some());
    }

    #[test]
    fn each_distribution_has_a_products_file_of_its_own() {
        let debian = entry(&FakeImage::new("debian/trixie/amd64/default"));
        let alpine = entry(&FakeImage::new("alpine/3.20/amd64/default"));
        let split = by_distribution(&products(&[&debian, &alpine], &Deltas::default()));
        assert_eq!(split.keys().map(Name::as_str).collect::<Vec<_>>(), ["alpine", "debian"]);
        assert!(split.values().all(|products| products.products.len() == 1));
    }
}
