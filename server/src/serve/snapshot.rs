//! An immutable copy of one generation in memory.

use std::collections::HashMap;
use std::io;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use formats::certificate::Certificate;
use formats::layout;
use formats::streams::StreamsIndex;
use formats::time::{Span, Timestamp};
use formats::verified;
use tokio::time::Instant;

use super::conditional::Modified;
use super::document::Document;
use super::page;
use super::page::listing::Listing;
use crate::channel::Channel;
use crate::documents::{Edition, images, is_products};
use crate::generation::{FileId, Generation};

/// One generation, ready to be served.
///
/// An index and its `.asc` are two requests on two connections, and nothing in the second says which index the first
/// one got. So when an index changes, the pair is flipped in two steps: for a moment signatures are still the old ones,
/// and requests for the index wait until the moment is over. Whoever got the old index gets the old signature, whoever
/// asks for the index gets the new pair. An index that did not change needs none of this: the new signature is one over
/// the same bytes.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) edition: Edition,
    pub(super) certificates: Vec<Certificate>,
    /// The end of the validity of the key that signed the index, if it has one.
    pub(super) key_ends: Option<Timestamp>,
    /// The pages for people that were asked for.
    pub(super) pages: page::Made,
    listing: OnceLock<Listing>,
    documents: HashMap<String, Document>,
    /// The old signatures of indexes that changed, by the path of the index.
    old_signatures: HashMap<String, Document>,
    settled: Instant,
    modified: Modified,
}

impl Snapshot {
    /// Reads a generation. Products files that the `previous` one has too are not read again.
    pub(super) fn load(generation: &Generation, previous: Option<&Self>) -> io::Result<Self> {
        let edition = generation.edition()?;
        let files = generation.files()?;
        let mut documents: HashMap<String, Document> = HashMap::with_capacity(files.len());
        // Of files with several names one copy is kept.
        let mut read: HashMap<FileId, Document> = HashMap::new();
        for (path, id) in &files {
            let old = previous.and_then(|previous| previous.documents.get(path));
            let document = match (old.filter(|_| is_products(path)), read.get(id)) {
                (Some(same), _) => same.clone(),
                (None, Some(same)) => same.named(path),
                (None, None) => Document::new(path, generation.read(path)?).after(old),
            };
            read.entry(*id).or_insert_with(|| document.clone());
            documents.insert(path.clone(), document);
        }
        for (path, products) in generation.images(&files)? {
            let images = join(&path, products, &documents)?;
            documents.insert(path.clone(), images.after(previous.and_then(|previous| previous.documents.get(&path))));
        }
        let certificate = |path: &String| {
            let certificate = Certificate::from_bytes(documents.get(path)?.content.parts.first()?).ok()?;
            // Each is there under the fingerprints of its subkeys, too.
            (layout::certificate(certificate.fingerprint().as_str()) == *path).then_some(certificate)
        };
        let certificates: Vec<Certificate> =
            files.keys().filter(|path| path.starts_with("keys/")).filter_map(certificate).collect();
        let signed = documents.get(layout::SIGNED_INDEX).and_then(|signed| signed.content.parts.first());
        let issuers = signed.and_then(|signed| verified::claimed_issuers(signed).ok()).unwrap_or_default();
        let end = |issuer: &String| {
            certificates.iter().find_map(|certificate| certificate.validity_end(issuer, edition.published))
        };
        let key_ends = issuers.iter().filter_map(end).min();
        let old_signatures = HashMap::new();
        let (pages, listing) = (page::Made::default(), OnceLock::new());
        let (settled, modified) = (Instant::now(), SystemTime::from(edition.published).into());
        Ok(Self { edition, certificates, key_ends, pages, listing, documents, old_signatures, settled, modified })
    }

    /// This generation as the one after `previous`.
    pub(super) fn after(mut self, previous: &Self) -> Self {
        for (path, signature) in &previous.documents {
            let Some(index) = path.strip_suffix(SIGNATURE) else { continue };
            let [old, new] = [&previous.documents, &self.documents].map(|documents| documents.get(index));
            if old.map(|document| &document.etag) != new.map(|document| &document.etag) {
                self.old_signatures.insert(index.to_owned(), signature.clone());
            }
        }
        if !self.old_signatures.is_empty() {
            self.settled = Instant::now() + SETTLING;
        }
        self
    }

    /// When the key that signed ends, if that is soon: until then it has to be renewed.
    pub(super) fn key_ends_soon(&self, now: Timestamp) -> Option<Timestamp> {
        self.key_ends.filter(|end| now + NOTICE > *end)
    }

    /// Whether the flip to this generation is over.
    pub(super) fn is_settled(&self) -> bool {
        Instant::now() >= self.settled
    }

    /// The document at a path. An index that just changed is waited for.
    pub(super) async fn document(&self, path: &str) -> Option<&Document> {
        let path = self.resolve(path)?;
        if !self.is_settled() {
            if let Some(old) = path.strip_suffix(SIGNATURE).and_then(|index| self.old_signatures.get(index)) {
                return Some(old);
            }
            if self.old_signatures.contains_key(path) {
                tokio::time::sleep_until(self.settled).await;
            }
        }
        self.documents.get(path)
    }

    /// Every channel has a prefix; that of `stable` is another name for the top, and certificates are the same for all.
    fn resolve<'a>(&self, path: &'a str) -> Option<&'a str> {
        if self.documents.contains_key(path) {
            return Some(path);
        }
        let (channel, rest) = path.strip_prefix("c/")?.split_once('/')?;
        let is_shared = channel == Channel::STABLE || (rest.starts_with("keys/") && self.has_channel(channel));
        (is_shared && self.documents.contains_key(rest)).then_some(rest)
    }

    /// Whether a channel is published.
    pub(super) fn has_channel(&self, channel: &str) -> bool {
        channel == Channel::STABLE || self.documents.contains_key(&format!("c/{channel}/{}", layout::STREAMS_INDEX))
    }

    /// The images of channel `stable`. The first call reads them from the streams.
    pub(super) fn listing(&self) -> &Listing {
        let listing = || {
            let index = self.documents.get(layout::STREAMS_INDEX).and_then(|index| index.content.parts.first());
            let index = index.and_then(|json| serde_json::from_slice::<StreamsIndex>(json).ok());
            let paths = index.into_iter().flat_map(|index| index.index.into_values()).map(|entry| entry.path);
            let files: Vec<&Document> = paths.filter_map(|path| self.documents.get(&path)).collect();
            let bytes = files.iter().flat_map(|document| document.content.parts.iter().map(AsRef::as_ref));
            Listing::of(bytes, self.edition.published)
        };
        self.listing.get_or_init(listing)
    }

    /// The time of publication, which is when every document was made as far as clients can tell.
    pub(super) fn modified(&self) -> &Modified {
        &self.modified
    }
}

/// An `images.json`, made of the products files it is made of.
fn join(path: &str, products: Vec<String>, documents: &HashMap<String, Document>) -> io::Result<Document> {
    let damaged = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
    let document = |part: String| documents.get(&part).ok_or_else(|| damaged(format!("there is no `{part}`")));
    let of = products.into_iter().map(document).collect::<io::Result<Vec<&Document>>>()?;
    let files: Vec<Bytes> = of.iter().flat_map(|document| document.content.parts.iter().cloned()).collect();
    let parts = images::parts(&files).ok_or_else(|| damaged(images::NOT_OURS.to_owned()))?;
    Ok(Document::joined(path, parts, &of))
}

const SIGNATURE: &str = ".asc";

/// How long before its end a signing key is spoken of.
const NOTICE: Span = Span::from_days(30);

/// Longer than a stock template takes between an index and its signature, failed attempts over TLS included.
const SETTLING: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(documents: &[(&str, &str)]) -> Snapshot {
        let now = Timestamp::from_unix(1_795_411_320);
        let documents =
            documents.iter().map(|(path, text)| ((*path).to_owned(), Document::new(path, text.as_bytes().to_vec())));
        Snapshot {
            edition: Edition { serial: 1, published: now, expires: now },
            certificates: vec![],
            key_ends: None,
            pages: page::Made::default(),
            listing: OnceLock::new(),
            documents: documents.collect(),
            old_signatures: HashMap::new(),
            settled: Instant::now(),
            modified: SystemTime::UNIX_EPOCH.into(),
        }
    }

    async fn text(snapshot: &Snapshot, path: &str) -> Option<String> {
        snapshot.document(path).await.map(|document| String::from_utf8(document.content.parts.concat()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_got_the_old_index_gets_the_old_signature() {
        let old = snapshot(&[("meta/1.0/index-user", "1"), ("meta/1.0/index-user.asc", "over 1")]);
        let new = snapshot(&[("meta/1.0/index-user", "2"), ("meta/1.0/index-user.asc", "over 2")]).after(&old);
        assert_eq!(text(&new, "meta/1.0/index-user.asc").await.unwrap(), "over 1");
        let before = Instant::now();
        assert_eq!(text(&new, "meta/1.0/index-user").await.unwrap(), "2");
        assert_eq!(before.elapsed(), SETTLING);
        assert_eq!(text(&new, "c/stable/meta/1.0/index-user.asc").await.unwrap(), "over 2");
    }

    #[tokio::test(start_paused = true)]
    async fn an_index_that_did_not_change_is_flipped_at_once() {
        let old = snapshot(&[("meta/1.0/index-user", "1"), ("meta/1.0/index-user.asc", "over 1")]);
        let new = snapshot(&[("meta/1.0/index-user", "1"), ("meta/1.0/index-user.asc", "over 1, again")]).after(&old);
        assert!(new.is_settled());
        assert_eq!(text(&new, "meta/1.0/index-user.asc").await.unwrap(), "over 1, again");
    }

    #[tokio::test]
    async fn a_channel_has_its_own_documents_and_shares_the_certificates() {
        let snapshot = snapshot(&[
            ("keys/A.pgp", "key"),
            ("streams/v1/index.json", "stable"),
            ("c/staging/streams/v1/index.json", "staging"),
        ]);
        assert_eq!(text(&snapshot, "c/staging/streams/v1/index.json").await.unwrap(), "staging");
        assert_eq!(text(&snapshot, "c/stable/streams/v1/index.json").await.unwrap(), "stable");
        assert_eq!(text(&snapshot, "c/staging/keys/A.pgp").await.unwrap(), "key");
        assert_eq!(text(&snapshot, "c/other/keys/A.pgp").await, None);
        assert_eq!(text(&snapshot, "c/staging/meta/1.0/index-user").await, None);
    }
}
