//! One document in memory, and what its name says about it.

use std::ops::Range;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use bytes::Bytes;
use formats::digest::Sha256;
use tokio::sync::OnceCell;

use super::body::Parts;
use super::encoding::{Encoded, encodings};
use crate::documents::is_products;

/// A document with the fields of its answer.
#[derive(Clone, Debug)]
pub(super) struct Document {
    pub(super) content: Content,
    pub(super) etag: HeaderValue,
    pub(super) content_type: &'static str,
    pub(super) cache: Cache,
    /// Its smaller forms, made for the first client that asks for one; `None` when it has none under this name ever.
    encodings: Option<Arc<OnceCell<Vec<Encoded>>>>,
}

impl Document {
    /// A document of its own bytes.
    pub(super) fn new(path: &str, bytes: Vec<u8>) -> Self {
        let etag = etag(&Sha256::of(&bytes));
        Self::with(path, Content::from(Bytes::from(bytes)), etag)
    }

    /// A document of parts of others, which are known by their entity tags.
    pub(super) fn joined(path: &str, parts: Vec<Bytes>, of: &[&Self]) -> Self {
        let etag = etag(&Sha256::of_all(of.iter().map(|document| document.etag.as_bytes())));
        Self::with(path, Content::from(parts), etag)
    }

    fn with(path: &str, content: Content, etag: HeaderValue) -> Self {
        let content_type = content_type(path);
        let encodings = (content_type == "application/json").then(Arc::default);
        let cache = if is_products(path) { Cache::Immutable } else { Cache::Revalidate };
        Self { content, etag, content_type, cache, encodings }
    }

    /// The same bytes under another name.
    pub(super) fn named(&self, path: &str) -> Self {
        Self::with(path, self.content.clone(), self.etag.clone())
    }

    /// Takes over the smaller forms of a `previous` document, if it is the same.
    pub(super) fn after(mut self, previous: Option<&Self>) -> Self {
        if let Some(previous) = previous.filter(|previous| previous.etag == self.etag) {
            self.encodings.clone_from(&previous.encodings);
        }
        self
    }

    /// The smaller form that a client asks for. A part is always one of the plain document.
    pub(super) async fn encoding(&self, headers: &HeaderMap) -> Option<&Encoded> {
        let encodings = self.encodings.as_ref().filter(|_| !headers.contains_key(header::RANGE))?;
        if !headers.contains_key(header::ACCEPT_ENCODING) {
            return None;
        }
        let content = self.content.clone();
        let make =
            || async move { tokio::task::spawn_blocking(move || encodings_of(&content)).await.unwrap_or_default() };
        encodings.get_or_init(make).await.iter().find(|encoded| encoded.coding.is_accepted(headers))
    }

    /// Whether it has other forms for those who ask.
    pub(super) fn has_encodings(&self) -> bool {
        self.encodings.is_some()
    }
}

fn encodings_of(content: &Content) -> Vec<Encoded> {
    encodings(&content.parts, content.size_bytes)
}

/// The bytes of a document, perhaps in parts.
#[derive(Clone, Debug)]
pub(super) struct Content {
    pub(super) parts: Arc<[Bytes]>,
    pub(super) size_bytes: u64,
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Self {
        Self::from(vec![bytes])
    }
}

impl From<Vec<Bytes>> for Content {
    fn from(parts: Vec<Bytes>) -> Self {
        let size_bytes = parts.iter().map(|part| part.len() as u64).sum();
        Self { parts: parts.into(), size_bytes }
    }
}

impl Content {
    /// A range of it, which must lie within it, as the body of an answer.
    pub(super) fn slice(&self, range: Range<u64>) -> Body {
        let whole = |place: u64| usize::try_from(place).unwrap_or(usize::MAX);
        if let [bytes] = &*self.parts {
            return Body::from(bytes.slice(whole(range.start)..whole(range.end)));
        }
        let (mut place, mut slices) = (0, Vec::new());
        for part in &*self.parts {
            let end = place + part.len() as u64;
            let [from, to] = [range.start, range.end].map(|edge| edge.clamp(place, end) - place);
            if from < to {
                slices.push(part.slice(whole(from)..whole(to)));
            }
            place = end;
        }
        Body::new(Parts::from(slices))
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
        let products = Document::new("streams/v1/debian.0123456789abcdef.json", b"{}".to_vec());
        assert_eq!((products.content_type, products.cache), ("application/json", Cache::Immutable));
        for mutable in ["streams/v1/index.json", "c/staging/streams/v1/images.json", "meta/1.0/index-user.7"] {
            assert_eq!(Document::new(mutable, vec![]).cache, Cache::Revalidate, "{mutable}");
        }
        assert_eq!(content_type("meta/1.0/index-user.7.asc"), "application/pgp-signature");
        assert_eq!(content_type("meta/1.0/index-user.7"), "text/plain; charset=utf-8");
        assert_eq!(content_type("images/x/rootfs.tar.xz"), "application/x-xz");
    }

    #[tokio::test]
    async fn a_range_of_a_document_in_parts_is_the_range_of_the_whole() {
        let content = Content::from(["abc", "", "d", "efgh"].map(|part| Bytes::from_static(part.as_bytes())).to_vec());
        assert_eq!(content.size_bytes, 8);
        for start in 0..8 {
            for end in start + 1..=8 {
                let bytes = axum::body::to_bytes(content.slice(start..end), 100).await.unwrap();
                assert_eq!(bytes, "abcdefgh"[usize::try_from(start).unwrap()..usize::try_from(end).unwrap()]);
            }
        }
    }

    #[tokio::test]
    async fn a_document_of_others_is_another_one_when_they_are() {
        let [one, two] = ["1", "2"].map(|text| Document::new("a.json", text.as_bytes().to_vec()));
        let joined = |of: &[&Document]| Document::joined("b.json", Vec::new(), of).etag;
        assert_eq!(joined(&[&one, &two]), joined(&[&one, &two]));
        assert!(joined(&[&one, &two]) != joined(&[&two, &one]) && joined(&[&one]) != joined(&[&one, &one]));
    }
}
