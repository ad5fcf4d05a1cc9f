//! One document in memory, and what its name says about it.

use axum::http::HeaderValue;
use bytes::Bytes;
use formats::digest::Sha256;

use crate::documents::is_products;

/// A document with the fields of its answer.
#[derive(Clone, Debug)]
pub(super) struct Document {
    pub(super) bytes: Bytes,
    pub(super) etag: HeaderValue,
    pub(super) content_type: &'static str,
    pub(super) cache: Cache,
}

impl Document {
    pub(super) fn new(path: &str, bytes: Vec<u8>) -> Self {
        let etag = etag(&Sha256::of(&bytes));
        let cache = if is_products(path) { Cache::Immutable } else { Cache::Revalidate };
        Self { bytes: bytes.into(), etag, content_type: content_type(path), cache }
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

/// The media type of a file, by its name. There is never a content encoding: wget2 would decode it.
pub(super) fn content_type(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "json" => "application/json",
        "yaml" => "application/yaml",
        "xz" => "application/x-xz",
        "squashfs" => "application/octet-stream",
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
        let products = Document::new("streams/v1/debian.0123456789abcdef.json", b"{}".to_vec());
        assert_eq!((products.content_type, products.cache), ("application/json", Cache::Immutable));
        for mutable in ["streams/v1/index.json", "c/staging/streams/v1/images.json", "meta/1.0/index-user.7"] {
            assert_eq!(Document::new(mutable, vec![]).cache, Cache::Revalidate, "{mutable}");
        }
        assert_eq!(content_type("meta/1.0/index-user.7.asc"), "application/pgp-signature");
        assert_eq!(content_type("meta/1.0/index-user.7"), "text/plain; charset=utf-8");
        assert_eq!(content_type("images/x/rootfs.tar.xz"), "application/x-xz");
    }
}
