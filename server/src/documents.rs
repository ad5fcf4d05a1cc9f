//! The documents of a generation, made from builds: values in, bytes out.

pub mod classic;
pub mod streams;

use std::collections::{BTreeMap, HashMap};

use formats::certificate::KeyError;
use formats::layout;
use formats::name::Name;
use formats::signature::{Encoding, SignDetached, SignInline};
use formats::streams::StreamsIndex;
use formats::time::Timestamp;

use crate::catalog::CatalogEntry;
use crate::channel::Channel;
use crate::delta::Deltas;
use crate::keys::Keys;

/// The documents of one generation, by their path from the top of the repository.
pub type Documents = BTreeMap<String, Vec<u8>>;

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

/// Adds all documents of one channel.
pub fn add_channel(
    documents: &mut Documents,
    channel: &Name,
    builds: &[&CatalogEntry],
    deltas: &Deltas,
    edition: Edition,
    keys: &Keys,
) -> Result<(), DocumentError> {
    let prefix = prefix(channel);
    // Most levels have the same index, and a signature is the slowest part of a generation.
    let mut signatures: HashMap<String, Vec<u8>> = HashMap::new();
    for (path, index) in classic::indexes(builds) {
        let text = index.to_string();
        let signature = if let Some(signature) = signatures.get(&text) {
            signature.clone()
        } else {
            let signature = keys.compat.sign_detached(
                &mut text.as_bytes(),
                edition.published,
                Some(edition.expires),
                Encoding::Armored,
            )?;
            signatures.insert(text.clone(), signature.clone());
            signature
        };
        documents.insert(format!("{prefix}{path}.asc"), signature);
        documents.insert(format!("{prefix}{path}"), text.into_bytes());
    }

    let all = streams::products(builds, deltas);
    let mut index = StreamsIndex {
        format: StreamsIndex::FORMAT.to_owned(),
        updated: edition.published.rfc2822(),
        serial: edition.serial,
        channel: channel.clone(),
        published: edition.published,
        expires: edition.expires,
        index: BTreeMap::new(),
    };
    for (distribution, products) in streams::by_distribution(&all) {
        let json = json(&products)?;
        let entry = streams::entry(&distribution, &products, &json, edition.published);
        documents.insert(format!("{prefix}{}", entry.path), json);
        index.index.insert(distribution.to_string(), entry);
    }
    documents.insert(format!("{prefix}{}", layout::STREAMS_IMAGES), json(&all)?);
    // One value a line: gpg refuses to sign or check lines of more than 19 995 bytes.
    let mut index = serde_json::to_vec_pretty(&index)?;
    index.push(b'\n');
    let signed = keys.repository.sign_inline(&index, edition.published, edition.expires)?;
    documents.insert(format!("{prefix}{}", layout::SIGNED_INDEX), signed);
    documents.insert(format!("{prefix}{}", layout::STREAMS_INDEX), index);
    Ok(())
}

/// Adds both certificates, and those of keys that were revoked.
pub fn add_certificates(documents: &mut Documents, keys: &Keys) -> Result<(), DocumentError> {
    for certificate in keys.certificates().iter().chain(&keys.revoked) {
        let path = layout::certificate(certificate.fingerprint().as_str());
        documents.insert(path, certificate.to_binary()?);
    }
    Ok(())
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

fn json(value: &impl serde::Serialize) -> serde_json::Result<Vec<u8>> {
    let mut json = serde_json::to_vec(value)?;
    json.push(b'\n');
    Ok(json)
}
