//! Signatures of others: those who publish the root file systems that images begin with.

use std::collections::BTreeMap;
use std::io::Read;

use crate::certificate::{Certificate, Fingerprint};
use crate::time::Timestamp;
use crate::verified::signed::{self, KeysGood, Verdict};

/// The certificates of which one must have signed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Publisher {
    certificates: BTreeMap<Fingerprint, Certificate>,
}

impl Publisher {
    /// Whoever holds one of these.
    pub fn new(certificates: impl IntoIterator<Item = Certificate>) -> Self {
        let by_fingerprint = |certificate: Certificate| (certificate.fingerprint(), certificate);
        Self { certificates: certificates.into_iter().map(by_fingerprint).collect() }
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.certificates.is_empty()
    }

    /// The content of a document with its signature around it (cleartext framework, RFC 4880 section 7), if one of the
    /// certificates signed it and the signature is good at `now`.
    pub fn inline(&self, signed: &[u8], now: Timestamp) -> Result<Vec<u8>, Distrust> {
        let (content, verdict) = signed::read(signed, &self.certificates, now, KeysGood::WhenSigned)
            .map_err(|reason| Distrust::NotSigned { reason: reason.to_string() })?;
        self.judge(verdict).map(|()| content)
    }

    /// Whether one of the certificates signed `content` by the detached `signature`, armored or binary, and the
    /// signature is good at `now`.
    pub fn detached(&self, content: impl Read + Send + Sync, signature: &[u8], now: Timestamp) -> Result<(), Distrust> {
        let verdict = signed::detached(content, signature, &self.certificates, now)
            .map_err(|reason| Distrust::NotSigned { reason })?;
        self.judge(verdict)
    }

    fn judge(&self, verdict: Verdict) -> Result<(), Distrust> {
        match verdict {
            Verdict::Good => Ok(()),
            Verdict::None => Err(Distrust::NotSigned { reason: "there is no signature".to_owned() }),
            Verdict::UnknownKey { key } => {
                Err(Distrust::Stranger { expected: self.certificates.keys().cloned().collect(), found: key })
            }
            Verdict::KeyNotValid { reason } => Err(Distrust::KeyNotValid { reason }),
            Verdict::Revoked { key } => Err(Distrust::Revoked { key }),
            Verdict::Forged { reason } => Err(Distrust::Forged { reason }),
            Verdict::Early { made } => Err(Distrust::SignedLater { made }),
            Verdict::Expired { expires, .. } => Err(Distrust::Expired { expires }),
        }
    }
}

/// Whether a document carries its signature around it.
pub fn is_inline(document: &[u8]) -> bool {
    document.trim_ascii_start().starts_with(b"-----BEGIN PGP SIGNED MESSAGE-----")
}

/// Why a signature does not vouch for anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// There is no signature that can be read.
    #[error("it carries no OpenPGP signature that can be read: {reason}")]
    NotSigned {
        /// What the parser says.
        reason: String,
    },
    /// Somebody else signed.
    #[error("it is signed by a key that is not among the given ones: expected {}, found {found}", list(.expected))]
    Stranger {
        /// The certificates that were given.
        expected: Vec<Fingerprint>,
        /// The fingerprint or key id found.
        found: String,
    },
    /// The key may not sign, or not in a way that is still considered safe.
    #[error("it is signed by a key that may not sign: {reason}")]
    KeyNotValid {
        /// What is wrong with the key.
        reason: String,
    },
    /// The owner declared that the key is in other hands.
    #[error("it is signed by a key that was revoked: {key}")]
    Revoked {
        /// The key.
        key: String,
    },
    /// The bytes are not those that were signed.
    #[error("it was altered after it was signed: {reason}")]
    Forged {
        /// What the check says.
        reason: String,
    },
    /// It was signed later than now, by the clock of who signed it.
    #[error("it is from the future: signed {made}")]
    SignedLater {
        /// When it was signed.
        made: Timestamp,
    },
    /// The signature is past its validity.
    #[error("its signature expired on {expires}")]
    Expired {
        /// The end of its validity.
        expires: Timestamp,
    },
}

fn list(fingerprints: &[Fingerprint]) -> String {
    let texts: Vec<_> = fingerprints.iter().map(Fingerprint::as_str).collect();
    texts.join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::SigningKey;
    use crate::signature::{CompatKey, Encoding, RepositoryKey, SignDetached, SignInline};
    use crate::time::Span;

    fn now() -> Timestamp {
        Timestamp::from_unix(1_795_411_320)
    }

    fn key() -> SigningKey {
        SigningKey::generate_repository("publisher", now(), Span::from_days(90)).unwrap()
    }

    fn signature(key: &SigningKey, encoding: Encoding) -> Vec<u8> {
        CompatKey(key.clone()).sign_detached(&mut &b"rootfs"[..], now(), None, encoding).unwrap()
    }

    #[test]
    fn what_the_publisher_signed_is_accepted_in_every_form() {
        let key = key();
        let publisher = Publisher::new([self::key().certificate(), key.certificate()]);
        for encoding in [Encoding::Armored, Encoding::Binary] {
            assert_eq!(publisher.detached(&b"rootfs"[..], &signature(&key, encoding), now()), Ok(()));
        }
        let signed = RepositoryKey(key).sign_inline(b"list\n", now(), now() + Span::from_days(1)).unwrap();
        assert!(is_inline(&signed));
        assert_eq!(publisher.inline(&signed, now()).unwrap().trim_ascii_end(), b"list");
    }

    #[test]
    fn altered_strange_unsigned_and_expired_are_told_apart() {
        let key = key();
        let publisher = Publisher::new([key.certificate()]);
        let good = signature(&key, Encoding::Armored);
        let forged = publisher.detached(&b"rootkit"[..], &good, now());
        assert!(matches!(forged, Err(Distrust::Forged { .. })), "{forged:?}");
        let strange = publisher.detached(&b"rootfs"[..], &signature(&self::key(), Encoding::Armored), now());
        assert!(matches!(strange, Err(Distrust::Stranger { .. })), "{strange:?}");
        for nothing in [b"".as_slice(), b"<html>", b"-----BEGIN PGP SIGNATURE-----\n"] {
            let unsigned = publisher.detached(&b"rootfs"[..], nothing, now());
            assert!(matches!(unsigned, Err(Distrust::NotSigned { .. })), "{unsigned:?}");
        }
        let signed = RepositoryKey(key).sign_inline(b"list\n", now(), now() + Span::from_days(1)).unwrap();
        let late = publisher.inline(&signed, now() + Span::from_days(2));
        assert!(matches!(late, Err(Distrust::Expired { .. })), "{late:?}");
    }

    #[test]
    fn a_revoked_key_vouches_for_nothing() {
        let key = key();
        let good = signature(&key, Encoding::Binary);
        let revoked = Publisher::new([key.revoke_subkeys(now()).unwrap().certificate()]);
        let refused = revoked.detached(&b"rootfs"[..], &good, now());
        assert!(matches!(refused, Err(Distrust::Revoked { .. })), "{refused:?}");
    }
}
