//! The one door to trust: bytes become [`Verified`] here or nowhere.

pub(crate) mod signed;

use std::collections::BTreeMap;
use std::ops::Deref;

use serde::{Deserialize, Serialize};

use crate::certificate::{Certificate, Fingerprint};
use crate::digest::FileDigest;
use crate::name::Name;
use crate::streams::{Products, StreamsIndex};
use crate::time::{Span, Timestamp};

/// A value whose bytes were vouched for: by a signature of a pinned key, or by the digest in a verified parent.
/// Whatever acts on a server's data asks for this type, so no check can be forgotten or come too late.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// The only constructor, called only at the end of the two checks below.
    fn vouch(value: T) -> Self {
        Self(value)
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// The certificates a client pinned for one server.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    certificates: BTreeMap<Fingerprint, Certificate>,
}

impl Keyring {
    /// A keyring that trusts `fingerprint` and holds `certificate`, if it is the one.
    pub fn pin(&mut self, fingerprint: &Fingerprint, certificate: Certificate) -> Result<(), Refusal> {
        let found = certificate.fingerprint();
        if found != *fingerprint {
            return Err(Refusal::UnpinnedKey { pinned: vec![fingerprint.clone()], found: found.to_string() });
        }
        self.certificates.insert(found, certificate);
        Ok(())
    }

    /// The pinned fingerprints.
    pub fn fingerprints(&self) -> Vec<Fingerprint> {
        self.certificates.keys().cloned().collect()
    }
}

/// What a client remembers of one server and channel, outside its cache: the newest index it ever accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// The highest repository serial seen.
    pub serial: u64,
    /// The newest time of publication seen.
    pub published: Timestamp,
}

impl Memory {
    /// What is remembered of a server never met before.
    pub fn nothing() -> Self {
        Self { serial: 0, published: Timestamp::from_unix(0) }
    }

    /// What to remember once `index` was accepted.
    #[must_use]
    pub fn after(self, index: &Verified<StreamsIndex>) -> Self {
        Self { serial: self.serial.max(index.serial), published: self.published.max(index.published) }
    }
}

/// What to do with an index past its validity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PastValidity {
    /// Refuse it.
    Refuse,
    /// Use it all the same, because the user typed `--accept-expired-index`.
    Accept,
}

/// Checks an inline-signed index.
///
/// In this order: a pinned key signed these bytes; the signature and the index are still valid at `now`; they are not
/// from the future; they belong to `channel`; and they are not older than what was accepted before. "Now" is the
/// later of the clock and the newest time of publication ever seen, so a clock set back revives nothing.
pub fn verify_index(
    signed: &[u8],
    keyring: &Keyring,
    channel: &Name,
    memory: &Memory,
    clock: Timestamp,
    past_validity: PastValidity,
) -> Result<Verified<StreamsIndex>, Refusal> {
    let now = clock.max(memory.published);
    let document = signed::content(signed, &keyring.certificates, now, past_validity)?;
    let index: StreamsIndex = parse("the signed index", &document)?;
    if index.format != StreamsIndex::FORMAT {
        return Err(Refusal::Unreadable {
            what: "the signed index",
            reason: format!("unknown format `{}`", index.format),
        });
    }
    if past_validity == PastValidity::Refuse && now > index.expires {
        return Err(Refusal::Expired { expires: index.expires, now });
    }
    let tomorrow = now + Span::from_days(1);
    if index.published > tomorrow || Timestamp::from_unix(i64::try_from(index.serial).unwrap_or(i64::MAX)) > tomorrow {
        return Err(Refusal::FromTheFuture { published: index.published, serial: index.serial, now });
    }
    if index.channel != *channel {
        return Err(Refusal::OtherChannel { expected: channel.clone(), found: index.channel });
    }
    if index.serial < memory.serial || index.published < memory.published {
        return Err(Refusal::RolledBack { found: index.serial, seen: memory.serial, published: index.published });
    }
    Ok(Verified::vouch(index))
}

/// The ids of the keys that claim to have signed an index: whom to ask a server of unknown key about. This vouches
/// for nothing.
pub fn claimed_issuers(signed: &[u8]) -> Result<Vec<String>, Refusal> {
    signed::issuers(signed)
}

/// Checks a products file against the size and digest its index names.
pub fn verify_products(
    index: &Verified<StreamsIndex>,
    path: &str,
    bytes: &[u8],
) -> Result<Verified<Products>, Refusal> {
    let entry = index.index.values().find(|entry| entry.path == path);
    let expected = entry.ok_or_else(|| Refusal::Unlisted { path: path.to_owned() })?.digest;
    let found = FileDigest::of(bytes);
    if found != expected {
        return Err(Refusal::Altered { path: path.to_owned(), expected, found });
    }
    parse("a products file", bytes).map(Verified::vouch)
}

/// Why bytes were not accepted. Each attack has its own words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No signature at all, or none that can be read.
    #[error("the index carries no OpenPGP signature that can be read: {reason}")]
    NotSigned {
        /// What the parser says.
        reason: String,
    },
    /// The signature was made by a key that is not pinned.
    #[error("the index is signed by a key that is not pinned for this server: expected {}, found {found}", list(.pinned))]
    UnpinnedKey {
        /// The pinned fingerprints.
        pinned: Vec<Fingerprint>,
        /// The fingerprint or key id found.
        found: String,
    },
    /// A pinned certificate, but its signing key was revoked, expired, or never was allowed to sign.
    #[error("the index is signed by a key that may not sign for this server: {reason}")]
    KeyNotValid {
        /// What is wrong with the key.
        reason: String,
    },
    /// The owner of the key declared that it, or its signing subkey, is in other hands.
    #[error("the index is signed by a key that was revoked: {key}")]
    Revoked {
        /// The pinned key, or its subkey.
        key: String,
    },
    /// The bytes are not those that were signed.
    #[error("the index was altered after it was signed: {reason}")]
    Forged {
        /// What the check says.
        reason: String,
    },
    /// The index is past its validity: the server stopped publishing, or somebody keeps newer ones from us.
    #[error("the index expired: it was valid until {expires}, now is {now}")]
    Expired {
        /// The end of its validity.
        expires: Timestamp,
        /// The later of the clock and the newest publication seen.
        now: Timestamp,
    },
    /// The index was signed later than now, by the clock of who signed it.
    #[error("the index is from the future: signed {made}, now is {now}")]
    SignedLater {
        /// When it was signed.
        made: Timestamp,
        /// The later of the clock and the newest publication seen.
        now: Timestamp,
    },
    /// The index claims to be made later than now.
    #[error("the index is from the future: published {published} with serial {serial}, now is {now}")]
    FromTheFuture {
        /// Its time of publication.
        published: Timestamp,
        /// Its repository serial.
        serial: u64,
        /// The later of the clock and the newest publication seen.
        now: Timestamp,
    },
    /// The index belongs to another channel of the same server.
    #[error("the index belongs to another channel: expected `{expected}`, found `{found}`")]
    OtherChannel {
        /// The channel asked for.
        expected: Name,
        /// The channel it belongs to.
        found: Name,
    },
    /// An index older than one that was accepted before.
    #[error("the index was rolled back: expected serial {seen} or later, found serial {found}, published {published}")]
    RolledBack {
        /// Its repository serial.
        found: u64,
        /// The highest serial seen before.
        seen: u64,
        /// Its time of publication.
        published: Timestamp,
    },
    /// A document that no verified parent names.
    #[error("`{path}` is not listed in the signed index")]
    Unlisted {
        /// Its path.
        path: String,
    },
    /// A document other than the one its parent names.
    #[error("`{path}` is not the file the signed index names: expected {expected}, found {found}")]
    Altered {
        /// Its path.
        path: String,
        /// What its parent names.
        expected: FileDigest,
        /// What was there.
        found: FileDigest,
    },
    /// A signed document that cannot be read.
    #[error("{what} cannot be read: {reason}")]
    Unreadable {
        /// The document.
        what: &'static str,
        /// What the parser says.
        reason: String,
    },
}

impl Refusal {
    /// What the user can do.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotSigned { .. } => "is this a rootcellar server? check the URL",
            Self::UnpinnedKey { .. } => {
                "if the server changed its key, compare the new fingerprint with its operator, then run `rootcellar remote trust`"
            }
            Self::Revoked { .. } => {
                "do not use this server until its operator gave you the fingerprint of a new key; then `rootcellar remote trust`"
            }
            Self::KeyNotValid { .. } => "ask the server's operator; do not pin this key again",
            Self::Forged { .. } | Self::Altered { .. } | Self::Unlisted { .. } => {
                "a mirror may be mid-update; retry, and if it stays, somebody changes files on the way"
            }
            Self::Expired { .. } => {
                "the server has not published in time, or newer indexes are being withheld; check this machine's clock too"
            }
            Self::SignedLater { .. } | Self::FromTheFuture { .. } => {
                "check the clock of this machine and of the server"
            }
            Self::OtherChannel { .. } => "check the remote's channel",
            Self::RolledBack { .. } => "a mirror may be stale; retry with the origin server",
            Self::Unreadable { .. } => "a newer rootcellar may be needed",
        }
    }
}

fn parse<T: for<'de> Deserialize<'de>>(what: &'static str, bytes: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(bytes).map_err(|error| Refusal::Unreadable { what, reason: error.to_string() })
}

fn list(fingerprints: &[Fingerprint]) -> String {
    let texts: Vec<_> = fingerprints.iter().map(Fingerprint::as_str).collect();
    if texts.is_empty() { "none".to_owned() } else { texts.join(" or ") }
}

#[cfg(test)]
mod tests;
