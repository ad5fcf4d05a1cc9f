//! One document in memory, and what its name says about it.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, header};
use bytes::Bytes;
use formats::digest::Sha256;

use super::encoding::{Encoded, encodings};
use crate::documents::is_products;

/// A document with the fields of its answer.
#[derive(Clone, Debug)]
pub(super) struct Document {
    pub(super) bytes: Bytes,
    pub(super) etag: HeaderValue,
    pub(super) content_type: &'static str,
    pub(super) cache: Cache,
    /// Its smaller forms, for clients that ask for one; `None` when it has none under this name ever.
    pub(super) encodings: Option<Arc<[Encoded]>>,
}

impl Document {
    /// A document that is the same as `previous` takes over its smaller forms.
    pub(super) fn new(path: &str, bytes: Vec<u8>, previous: Option<&Self>) -> Self {
        let etag = etag(&Sha256::of(&bytes));
        let same = previous.filter(|previous| previous.etag == etag).and_then(|previous| previous.encodings.clone());
        let encodings =
            (content_type(path) == "application/json").then(|| same.unwrap_or_else(|| encodings(&bytes).into()));
        let cache = if is_products(path) { Cache::Immutable } else { Cache::Revalidate };
        Self { bytes: bytes.into(), etag, content_type: content_type(path), cache, encodings }
    }
}

impl Document {
    /// The smaller form that a client asks for. A part is always one of the plain document.
    pub(super) fn encoding(&self, headers: &HeaderMap) -> Option<&Encoded> {
        let encodings = self.encodings.as_deref().filter(|_| !headers.contains_key(header::RANGE))?;
        encodings.iter().find(|encoded| encoded.coding.is_accepted(headers))
    }
}

/// For how long an answer may be kept by others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cache {
    /// For ever: under this name there will never be other bytes.
    Immutable,
    /// Only after asking whether it is still the same: a proxy that keeps an index and its signature for different
    /// times would tear them apart.
    Revalidate,
}

impl Cache {
    pub(super) fn header(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Immutable => "public, max-age=31536000, immutable",
            Self::Revalidate => "public, no-cache",
        })
    }
}

/// A strong entity tag: the content's digest.
pub(super) fn etag(digest: &Sha256) -> HeaderValue {
    // Hexadecimal digits and quotes are always a header value.
    HeaderValue::from_str(&format!("\"{digest}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

/// The media type of a file, by its name. Files never have a content encoding: wget2 would decode it.
pub(super) fn content_type(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "json" => "application/json",
        "yaml" => "application/yaml",
        "xz" => "application/x-xz",
        "zst" => "application/zstd",
        "squashfs" | "vcdiff" => "application/octet-stream",
        "asc" | "gpg" => "application/pgp-signature",
        "pgp" => "application/pgp-keys",
        _ => "text/plain; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_document_tells_its_type_and_whether_it_can_change() {
        let products = Document::new("streams/v1/debian.0123456789abcdef.json", b"{}".to_vec(), None);
        assert_eq!((products.content_type, products.cache), ("application/json", Cache::Immutable));
        for mutable in ["streams/v1/index.json", "c/staging/streams/v1/images.json", "meta/1.0/index-user.7"] {
            assert_eq!(Document::new(mutable, vec![], None).cache, Cache::Revalidate, "{mutable}");
        }
        assert_eq!(content_type("meta/1.0/index-user.7.asc"), "application/pgp-signature");
        assert_eq!(content_type("meta/1.0/index-user.7"), "text/plain; charset=utf-8");
        assert_eq!(content_type("images/x/rootfs.tar.xz"), "application/x-xz");
    }
}
