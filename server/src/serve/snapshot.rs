//! An immutable copy of one generation in memory.

use std::collections::HashMap;
use std::io;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use formats::certificate::Certificate;
use tokio::time::Instant;

use super::conditional::Modified;
use super::document::Document;
use super::page;
use super::page::listing::Listing;
use crate::channel::Channel;
use crate::documents::Edition;
use crate::generation::Generation;

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
    /// Reads a generation. What it has in common with the `previous` one is not compressed again.
    pub(super) fn load(generation: &Generation, previous: Option<&Self>) -> io::Result<Self> {
        let edition = generation.edition()?;
        let files = generation.documents()?;
        let is_certificate = |path: &&String| path.starts_with("keys/");
        let certificates = files.keys().filter(is_certificate).filter_map(|path| files.get(path));
        let certificates = certificates.filter_map(|bytes| Certificate::from_bytes(bytes).ok()).collect();
        let documents = files.into_iter().map(|(path, bytes)| {
            let document = Document::new(&path, bytes, previous.and_then(|previous| previous.documents.get(&path)));
            (path, document)
        });
        let (documents, old_signatures) = (documents.collect(), HashMap::new());
        let (pages, listing) = (page::Made::default(), OnceLock::new());
        let (settled, modified) = (Instant::now(), SystemTime::from(edition.published).into());
        Ok(Self { edition, certificates, pages, listing, documents, old_signatures, settled, modified })
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
        channel == Channel::STABLE
            || self.documents.contains_key(&format!("c/{channel}/{}", formats::layout::STREAMS_INDEX))
    }

    /// The images of channel `stable`. The first call reads them from the streams.
    pub(super) fn listing(&self) -> &Listing {
        let images = || {
            self.documents
                .get(formats::layout::STREAMS_IMAGES)
                .map(|document| Listing::of(&document.bytes, self.edition.published))
        };
        self.listing.get_or_init(|| images().unwrap_or_default())
    }

    /// The time of publication, which is when every document was made as far as clients can tell.
    pub(super) fn modified(&self) -> &Modified {
        &self.modified
    }
}

const SIGNATURE: &str = ".asc";

/// Longer than a stock template takes between an index and its signature, failed attempts over TLS included.
const SETTLING: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use formats::time::Timestamp;

    use super::*;

    fn snapshot(documents: &[(&str, &str)]) -> Snapshot {
        let now = Timestamp::from_unix(1_795_411_320);
        let documents = documents
            .iter()
            .map(|(path, text)| ((*path).to_owned(), Document::new(path, text.as_bytes().to_vec(), None)));
        Snapshot {
            edition: Edition { serial: 1, published: now, expires: now },
            certificates: vec![],
            pages: page::Made::default(),
            listing: OnceLock::new(),
            documents: documents.collect(),
            old_signatures: HashMap::new(),
            settled: Instant::now(),
            modified: SystemTime::UNIX_EPOCH.into(),
        }
    }

    async fn text(snapshot: &Snapshot, path: &str) -> Option<String> {
        snapshot.document(path).await.map(|document| String::from_utf8(document.bytes.to_vec()).unwrap())
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
