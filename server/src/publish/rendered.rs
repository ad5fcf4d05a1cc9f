//! What sections were made of, kept from one publish to the next.

use std::io;

use formats::digest::{FileDigest, Sha256};
use formats::name::Name;
use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::data::{DataDir, Writer};

/// A note in `rendered/<channel>/<distribution>.json`. It is only a note: without it, or when it does not fit to the
/// generation before, the section is made again from the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rendered {
    format: Format,
    /// What the section was made of.
    pub(super) inputs: Sha256,
    /// The products file that came of it.
    pub(super) products: FileDigest,
    /// The starts of the image fingerprints of its builds, each once.
    pub(super) fingerprints: Vec<u64>,
}

impl Rendered {
    pub(super) fn new(inputs: Sha256, products: FileDigest, fingerprints: Vec<u64>) -> Self {
        Self { format: Format::V1, inputs, products, fingerprints }
    }

    /// The note about a section, if there is one that can be read.
    pub(super) fn read(data: &DataDir, channel: &Name, distribution: &Name) -> Option<Self> {
        let json = fs::read(data.rendered(channel, distribution)).ok()?;
        serde_json::from_slice(&json).ok()
    }

    /// Writes the note. It need not be durable.
    pub(super) fn write(&self, writer: &Writer, channel: &Name, distribution: &Name) -> io::Result<()> {
        let path = writer.rendered(channel, distribution);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let staged = writer.staging().join("rendered");
        fs::write(&staged, serde_json::to_vec(self).map_err(io::Error::from)?)?;
        fs::rename(staged, path)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Format {
    #[serde(rename = "rootcellar-rendered:1")]
    V1,
}
