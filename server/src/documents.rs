//! The documents of a generation, made from builds: values in, bytes out.

mod aliases;
pub mod classic;
pub mod images;
pub mod streams;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::iter;

use formats::certificate::KeyError;
use formats::compat::{CompatLevel, Mode};
use formats::layout;
use formats::name::Name;
use formats::signature::{Encoding, SignDetached, SignInline};
use formats::streams::{ProductsEntry, StreamsIndex};
use formats::time::Timestamp;

use crate::channel::Channel;
use crate::keys::Keys;

/// Documents with their paths from the top of the repository. What another one is the same as comes before it.
pub type Documents = Vec<(String, Content)>;

/// The bytes of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// New ones.
    New(Vec<u8>),
    /// Those of the document at another path of the same generation.
    Same(String),
    /// Those at the same path of the generation before.
    Kept,
}

/// The clock and the number of one generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edition {
    /// The repository serial.
    pub serial: u64,
    /// When it is published.
    pub published: Timestamp,
    /// The end of its validity.
    pub expires: Timestamp,
}

/// Where the documents of a channel are: at the top for `stable`, else below `c/<channel>/`.
pub fn prefix(channel: &Name) -> String {
    if Channel::is_stable(channel) { String::new() } else { format!("{}/", layout::channel(channel)) }
}

/// Whether a path is that of a products file, whose name holds the start of its digest: it never changes.
pub fn is_products(path: &str) -> bool {
    let digest = path.strip_suffix(".json").and_then(|stem| stem.rsplit_once('.')).map(|(_, digest)| digest);
    path.contains("streams/v1/") && digest.is_some_and(|digest| digest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// What the images of one distribution add to the documents of a channel.
pub trait Section {
    /// How the streams index lists the products file, and its bytes, unless they are those of the generation before.
    fn products(&self) -> (&ProductsEntry, Option<&[u8]>);

    /// The lines of the classic index of a mode and level.
    fn lines(&self, mode: Mode, level: CompatLevel) -> &str;
}

/// All documents of one channel, made of the sections of its distributions in order of their names.
pub fn of_channel<S: Section>(
    channel: &Name,
    sections: &BTreeMap<Name, S>,
    edition: Edition,
    keys: &Keys,
) -> Result<Documents, DocumentError> {
    let (prefix, mut documents) = (prefix(channel), Documents::new());
    // Most levels have the same index, and a signature is the slowest part of a generation.
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    for (path, mode, level) in classic::paths() {
        let (path, lines) = (format!("{prefix}{path}"), sections.values().map(|section| section.lines(mode, level)));
        let signature = format!("{path}.asc");
        match known.entry(lines.collect()) {
            Entry::Occupied(same) => {
                documents.push((signature, Content::Same(format!("{}.asc", same.get()))));
                documents.push((path, Content::Same(same.get().clone())));
            }
            Entry::Vacant(new) => {
                let mut text = new.key().as_bytes();
                let (published, expires) = (edition.published, Some(edition.expires));
                let signed = keys.compat.sign_detached(&mut text, published, expires, Encoding::Armored)?;
                documents.push((signature, Content::New(signed)));
                documents.push((path.clone(), Content::New(new.key().clone().into_bytes())));
                new.insert(path);
            }
        }
    }

    let mut index = StreamsIndex {
        format: StreamsIndex::FORMAT.to_owned(),
        updated: edition.published.rfc2822(),
        serial: edition.serial,
        channel: channel.clone(),
        published: edition.published,
        expires: edition.expires,
        index: BTreeMap::new(),
    };
    for (distribution, section) in sections {
        let (entry, json) = section.products();
        let content = json.map_or(Content::Kept, |json| Content::New(json.to_vec()));
        documents.push((format!("{prefix}{}", entry.path), content));
        index.index.insert(distribution.to_string(), entry.clone());
    }
    // One value a line: gpg refuses to sign or check lines of more than 19 995 bytes.
    let mut index = serde_json::to_vec_pretty(&index)?;
    index.push(b'\n');
    let signed = keys.repository.sign_inline(&index, edition.published, edition.expires)?;
    documents.push((format!("{prefix}{}", layout::SIGNED_INDEX), Content::New(signed)));
    documents.push((format!("{prefix}{}", layout::STREAMS_INDEX), Content::New(index)));
    Ok(documents)
}

/// Both certificates, and those of keys that were revoked, each under the fingerprints of all its keys.
pub fn certificates(keys: &Keys) -> Result<Documents, DocumentError> {
    let all = keys.certificates();
    let mut documents = Documents::new();
    for certificate in all.iter().chain(&keys.revoked) {
        let binary = certificate.to_binary()?;
        for fingerprint in iter::once(certificate.fingerprint()).chain(certificate.subkeys()) {
            documents.push((layout::certificate(fingerprint.as_str()), Content::New(binary.clone())));
        }
    }
    Ok(documents)
}

/// Why documents could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// A key did not sign.
    #[error("cannot sign the documents of a generation")]
    Sign(#[from] KeyError),
    /// A document could not be written as JSON.
    #[error("cannot write a document as JSON")]
    Json(#[from] serde_json::Error),
}
