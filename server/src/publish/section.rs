//! What one distribution adds to the documents of a channel, made again only when its builds changed.

use std::fmt::Write as _;
use std::sync::Arc;

use formats::compat::{CompatLevel, Mode};
use formats::digest::Sha256;
use formats::name::Name;
use formats::streams::{Products, ProductsEntry};
use formats::time::Timestamp;

use super::PublishError;
use super::previous::Previous;
use crate::catalog::CatalogEntry;
use crate::delta::Deltas;
use crate::documents::classic::Lines;
use crate::documents::{self, Section, images, streams};
use crate::store::BuildId;

/// A section that was made, or taken over from the generation before.
#[derive(Debug)]
pub(super) enum Part {
    Made { entry: ProductsEntry, json: Vec<u8>, lines: Lines },
    Kept { entry: ProductsEntry, distribution: Name, previous: Arc<Previous> },
}

impl Part {
    /// Makes the section of builds of one distribution.
    pub(super) fn of(
        distribution: &Name,
        builds: &[&CatalogEntry],
        deltas: &Deltas,
        published: Timestamp,
    ) -> Result<Self, PublishError> {
        Self::with(distribution, &streams::products(builds, deltas), builds, published)
    }

    /// The same when its products are made already.
    pub(super) fn with(
        distribution: &Name,
        products: &Products,
        builds: &[&CatalogEntry],
        published: Timestamp,
    ) -> Result<Self, PublishError> {
        let json = images::products_file(products).map_err(documents::DocumentError::Json)?;
        let entry = streams::entry(distribution, products, &json, published);
        Ok(Self::Made { entry, json, lines: Lines::of(builds) })
    }
}

impl Section for Part {
    fn products(&self) -> (&ProductsEntry, Option<&[u8]>) {
        match self {
            Self::Made { entry, json, .. } => (entry, Some(json)),
            Self::Kept { entry, .. } => (entry, None),
        }
    }

    fn lines(&self, mode: Mode, level: CompatLevel) -> &str {
        match self {
            Self::Made { lines, .. } => lines.get(mode, level),
            Self::Kept { distribution, previous, .. } => previous.lines(distribution, mode, level),
        }
    }
}

/// What a section is made of: the same gives the same bytes. Builds never change, so their names stand for them.
pub(super) fn inputs(builds: &[&BuildId], deltas: &Deltas) -> Sha256 {
    let mut text = format!("{} {SECTIONS}\n", env!("CARGO_PKG_VERSION"));
    for build in builds {
        text.push_str(&build.to_string());
        for (kind, base, digest) in deltas.of(build) {
            // Writing to a String cannot fail.
            let _ = write!(text, " {} {digest}", kind.file_name(base));
        }
        text.push('\n');
    }
    Sha256::of(text.as_bytes())
}

/// The image fingerprints of builds, as far as they tell two apart, each once.
pub(super) fn fingerprints(builds: &[&CatalogEntry]) -> Vec<u64> {
    let all = builds.iter().flat_map(|build| &build.record.fingerprints);
    let starts = all.map(|fingerprint| {
        let text = fingerprint.sha256.to_string();
        u64::from_str_radix(text.get(..16).unwrap_or_default(), 16).unwrap_or_default()
    });
    let mut starts: Vec<u64> = starts.collect();
    starts.sort_unstable();
    starts.dedup();
    starts
}

/// Grows whenever the same builds give other documents than before.
const SECTIONS: u32 = 1;
