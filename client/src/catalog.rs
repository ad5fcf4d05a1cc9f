//! The images of a server, and how one build is found among them.

mod listing;
pub(crate) mod near;
mod pattern;

use formats::arch::Arch;
use formats::delta::DeltaKind;
use formats::digest::FileDigest;
use formats::image::{ImageId, ImageQuery};
use formats::index::{BuildName, Index, IndexEntry};
use formats::record::BuildFile;
use formats::serial::Serial;
use formats::streams::{Item, Product, Products, Version};
use formats::time::Timestamp;
use formats::verified::Verified;

use crate::caller::Caller;

pub use listing::{IndexListing, Listed, Shown, Viewer};
pub use pattern::Pattern;

/// The images of a server: from products files that its signed index names, or from a classic index that nothing but
/// TLS vouches for.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// The images, in order of their ids.
    pub images: Vec<Image>,
}

/// An image and its builds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its id.
    pub id: ImageId,
    /// What else it is called.
    pub aliases: Vec<String>,
    /// For people: `Debian bookworm`. Empty where the server does not say.
    pub title: String,
    /// The day support ends, if the server says.
    pub end_of_life: Option<String>,
    /// The builds that hold what a container needs, newest first.
    pub builds: Vec<Build>,
}

impl Catalog {
    /// The images of these products files.
    pub fn of_products(products: &[Verified<Products>]) -> Self {
        let all = products.iter().flat_map(|products| products.images());
        Self::sorted(all.map(|(id, product)| Image::of(id, product)).collect())
    }

    /// The images of a classic index whose server the user chose to trust for its TLS certificate.
    pub fn of_index(index: Index) -> Self {
        let mut builds: Vec<Build> = index.entries.into_iter().filter_map(Build::of_entry).collect();
        // Of the lines of one image the first stays the first.
        builds.sort_by(|one, other| one.image.cmp(&other.image));
        let mut images: Vec<Image> = Vec::new();
        for build in builds {
            match images.last_mut() {
                Some(image) if image.id == build.image => image.builds.push(build),
                _ => images.push(Image {
                    id: build.image.clone(),
                    aliases: vec![],
                    title: String::new(),
                    end_of_life: None,
                    builds: vec![build],
                }),
            }
        }
        Self { images }
    }

    fn sorted(mut images: Vec<Image>) -> Self {
        images.sort_by(|one, other| one.id.cmp(&other.id));
        Self { images }
    }

    /// The image that a query asks for.
    pub fn image(&self, query: &ImageQuery) -> Result<&Image, NotFound> {
        let host = Arch::host();
        let found =
            self.images.iter().find(|image| query.matches(&image.id, image.aliases.iter().map(String::as_str), host));
        found.ok_or_else(|| NotFound::Image { name: query.name(), near: self.near(&query.name()) })
    }

    /// The build that a query asks for: the newest, or the one whose serial it names.
    pub fn find(&self, query: &ImageQuery) -> Result<&Build, NotFound> {
        let image = self.image(query)?;
        let build = match &query.build {
            None => image.builds.first(),
            Some(wanted) => image.builds.iter().find(|build| build.name == *wanted),
        };
        build.ok_or_else(|| NotFound::Build {
            image: image.id.to_string(),
            wanted: query.build.as_ref().map(|build| build.as_str().to_owned()),
            there: image.builds.iter().take(NEWEST).map(|build| build.name.as_str().to_owned()).collect(),
        })
    }
}

impl Image {
    fn of(id: ImageId, product: &Product) -> Self {
        let aliases: Vec<String> = product.aliases().map(str::to_owned).collect();
        let build = |(serial, version): (Serial, &Version)| Build::of(&id, &aliases, &serial, version);
        let builds = product.builds().filter_map(build).collect();
        let title = format!("{} {}", product.os, product.release_title);
        Self { builds, aliases, title, end_of_life: product.support_eol.clone(), id }
    }
}

/// One build of an image and the two files that make a container. It is made from verified products only, or from an
/// index whose server the user chose to trust without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// The image.
    pub image: ImageId,
    /// What else the image is called.
    pub aliases: Vec<String>,
    /// The build: a serial, or what another server calls it.
    pub name: BuildName,
    /// When a cached copy should be refreshed, if the server says.
    pub cache_expiry: Option<Timestamp>,
    /// The root file system.
    pub rootfs: RemoteFile,
    /// The LXC metadata.
    pub metadata: RemoteFile,
    /// What the tar archive in the root file system must be, if the server says.
    pub tar: Option<FileDigest>,
    /// What makes that archive out of the one of an earlier build, the smallest first.
    pub deltas: Vec<RemoteDelta>,
}

/// A delta on the server: see [`formats::delta`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteDelta {
    /// The earlier build.
    pub base: BuildName,
    /// Relative to the root of the channel.
    pub path: String,
    /// What the file must be.
    pub digest: FileDigest,
}

impl Build {
    /// What a create downloads; unknown where the server does not say.
    pub fn size_bytes(&self) -> Option<u64> {
        let (rootfs, metadata) = self.rootfs.digest.zip(self.metadata.digest)?;
        Some(rootfs.size_bytes.saturating_add(metadata.size_bytes))
    }

    fn of(image: &ImageId, aliases: &[String], serial: &Serial, version: &Version) -> Option<Self> {
        let file = |item: &Item| RemoteFile { path: item.path.clone(), digest: Some(item.digest) };
        let rootfs = version.item(BuildFile::RootfsTarXz)?;
        let delta = |(base, item): (Serial, &Item)| {
            let base = BuildName::new(base.as_str())?;
            Some(RemoteDelta { base, path: item.path.clone(), digest: item.digest })
        };
        // Without a digest of the result, what a delta makes could not be told from anything else.
        let is_checkable = rootfs.tar.is_some();
        let mut deltas: Vec<_> = version.deltas(DeltaKind::Tar).filter(|_| is_checkable).filter_map(delta).collect();
        deltas.retain(|delta| delta.digest.size_bytes < rootfs.digest.size_bytes);
        deltas.sort_by_key(|delta| delta.digest.size_bytes);
        Some(Self {
            image: image.clone(),
            aliases: aliases.to_vec(),
            name: BuildName::new(serial.as_str())?,
            cache_expiry: version.cache_expiry,
            rootfs: file(rootfs),
            metadata: file(version.item(BuildFile::MetaTarXz)?),
            tar: rootfs.tar,
            deltas,
        })
    }

    fn of_entry(entry: IndexEntry) -> Option<Self> {
        let IndexEntry { distribution, release, arch, variant, build, path } = entry;
        let file = |file: BuildFile| RemoteFile { path: [path.as_str(), file.name()].concat(), digest: None };
        let arch = arch.as_str().parse().ok()?;
        Some(Self {
            image: ImageId { distribution, release, arch, variant },
            aliases: Vec::new(),
            name: build,
            cache_expiry: None,
            rootfs: file(BuildFile::RootfsTarXz),
            metadata: file(BuildFile::MetaTarXz),
            tar: None,
            deltas: Vec::new(),
        })
    }
}

/// A file on the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteFile {
    /// Relative to the root of the channel.
    pub path: String,
    /// What it must be. Absent only where nothing but TLS vouches for the server.
    pub digest: Option<FileDigest>,
}

/// Why there is no build.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotFound {
    /// No image of this name.
    #[error("no image matches `{name}`")]
    Image {
        /// What was asked for.
        name: String,
        /// Names like it.
        near: Vec<String>,
    },
    /// The image has no such build, or none with the files a container needs.
    #[error("`{image}` has no {}", wanted.as_ref().map_or_else(|| "build for LXC".to_owned(), |serial| format!("build `{serial}`")))]
    Build {
        /// The image.
        image: String,
        /// The build asked for.
        wanted: Option<String>,
        /// The newest builds there are.
        there: Vec<String>,
    },
}

impl NotFound {
    /// What the user can do.
    pub fn hint(&self, caller: Caller) -> String {
        match self {
            Self::Image { near, .. } if !near.is_empty() => format!("did you mean `{}`?", near.join("` or `")),
            Self::Image { .. } => format!("{} shows what there is", caller.list()),
            Self::Build { there, .. } if !there.is_empty() => format!("there is `{}`", there.join("`, `")),
            Self::Build { image, .. } => format!("`rootcellar info {image}` shows what there is"),
        }
    }
}

/// How many builds a hint lists.
const NEWEST: usize = 3;

#[cfg(test)]
mod tests {
    use formats::certificate::SigningKey;
    use formats::digest::FileDigest;
    use formats::layout;
    use formats::name::Name;
    use formats::signature::{RepositoryKey, SignInline as _};
    use formats::streams::{ProductsEntry, StreamsIndex};
    use formats::time::Span;
    use formats::verified::{Keyring, Memory, PastValidity, verify_index, verify_products};

    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_unix(1_795_411_320)
    }

    /// A catalog that went through the one door there is.
    fn catalog() -> Catalog {
        let item = |name: &str| {
            format!(
                r#""{name}": {{"ftype": "x", "path": "images/{name}", "size": 3,
            "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}}"#
            )
        };
        let items = format!("{}, {}", item("rootfs.tar.xz"), item("meta.tar.xz"));
        let product = |name: &str, aliases: &str| {
            format!(
                r#""{name}": {{"aliases": "{aliases}", "arch": "x", "os": "Debian", "release": "bookworm",
                "release_title": "x", "variant": "default", "versions": {{
                    "20261123_0522": {{"items": {{{items}}}}},
                    "20261122_0522": {{"items": {{{items}}}}},
                    "20261124_0522": {{"items": {{}}}}}}}}"#
            )
        };
        let json = format!(
            r#"{{"content_id": "images", "datatype": "image-downloads", "format": "products:1.0", "products": {{{}, {}}}}}"#,
            product("debian:bookworm:amd64:default", "debian/12,debian"),
            product("debian:bookworm:arm64:default", "debian/12,debian"),
        );
        let path = layout::products(&"debian".parse::<Name>().unwrap(), &FileDigest::of(json.as_bytes()).sha256);
        let index = StreamsIndex {
            format: StreamsIndex::FORMAT.into(),
            updated: String::new(),
            serial: 1,
            channel: "stable".parse().unwrap(),
            published: now(),
            expires: now() + Span::from_days(1),
            index: [(
                "debian".to_owned(),
                ProductsEntry {
                    datatype: Products::DATATYPE.into(),
                    format: Products::FORMAT.into(),
                    path: path.clone(),
                    updated: String::new(),
                    products: vec![],
                    digest: FileDigest::of(json.as_bytes()),
                },
            )]
            .into(),
        };
        let key = RepositoryKey(SigningKey::generate_repository("t", now(), Span::from_days(9)).unwrap());
        let signed = key.sign_inline(&serde_json::to_vec_pretty(&index).unwrap(), now(), index.expires).unwrap();
        let mut keyring = Keyring::default();
        keyring.pin(&key.certificate().fingerprint(), key.certificate()).unwrap();
        let index =
            verify_index(&signed, &keyring, &index.channel, &Memory::nothing(), now(), PastValidity::Refuse).unwrap();
        Catalog::of_products(&[verify_products(&index, &path, json.as_bytes()).unwrap()])
    }

    fn find(query: &str) -> Result<Build, NotFound> {
        catalog().find(&query.parse().unwrap()).cloned()
    }

    #[test]
    fn the_newest_build_with_both_files_is_found_by_any_name() {
        for query in ["debian/bookworm/amd64", "debian/12/amd64", "debian/amd64/default"] {
            let build = find(query).unwrap();
            assert_eq!(build.image.to_string(), "debian/bookworm/amd64/default", "{query}");
            assert_eq!(build.name.as_str(), "20261123_0522");
        }
    }

    #[test]
    fn a_pinned_build_is_found_and_a_missing_one_names_those_there_are() {
        assert_eq!(find("debian/12/amd64@20261122_0522").unwrap().name.as_str(), "20261122_0522");
        let error = find("debian/12/amd64@20200101_0000").unwrap_err();
        assert_eq!(error.to_string(), "`debian/bookworm/amd64/default` has no build `20200101_0000`");
        assert_eq!(error.hint(Caller::Command), "there is `20261123_0522`, `20261122_0522`");
    }

    #[test]
    fn a_misspelt_name_is_answered_with_the_nearest_ones() {
        let error = find("debain/bokworm").unwrap_err();
        assert!(error.hint(Caller::Command).contains("`debian/bookworm`"), "{error:?}");
        assert!(find("zzz").unwrap_err().hint(Caller::Command).contains("rootcellar list"));
    }

    #[test]
    fn a_pattern_matches_the_start_of_ids_and_aliases() {
        let catalog = catalog();
        let count = |pattern: &str| catalog.listing(Some(&pattern.parse().unwrap())).count();
        assert_eq!(
            (count("deb"), count("debian/12"), count("*arm64"), count("*/arm64/d"), count("ubuntu")),
            (2, 2, 1, 1, 0)
        );
        assert_eq!(catalog.listing(None).count(), 2);
    }

    #[test]
    fn a_classic_index_offers_its_first_line_of_an_image_and_no_digests() {
        let line = |build: &str| format!("alpine;3.20;x86_64;default;{build};/images/a/{build}/\n");
        let (index, _) = Index::parse(&format!("{}{}", line("20261121_07:42"), line("20261120_07:42")));
        let catalog = Catalog::of_index(index);
        let build = catalog.find(&"alpine/3.20/amd64".parse().unwrap()).unwrap();
        assert_eq!((build.name.as_str(), build.rootfs.digest), ("20261121_07:42", None));
        assert_eq!(build.metadata.path, "/images/a/20261121_07:42/meta.tar.xz");
    }
}
