//! The content of an inline-signed document, if a pinned certificate vouches for it.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::time::SystemTime;

use openpgp::cert::amalgamation::key::ValidErasedKeyAmalgamation;
use openpgp::cert::amalgamation::{ValidAmalgamation as _, ValidateAmalgamation as _};
use openpgp::packet::Signature;
use openpgp::packet::key::PublicParts;
use openpgp::parse::Parse as _;
use openpgp::parse::stream::{
    DetachedVerifierBuilder, MessageLayer, MessageStructure, VerificationError, VerificationHelper, VerifierBuilder,
};
use openpgp::policy::StandardPolicy;
use openpgp::types::RevocationStatus;
use openpgp::{Cert, KeyHandle};
use sequoia_openpgp as openpgp;

use super::{PastValidity, Refusal};
use crate::certificate::{Certificate, Fingerprint};
use crate::time::Timestamp;

/// The signed content, once one signature of a pinned certificate is good at `now`. When a good signature only is
/// past its validity and that is accepted, it is checked as of the moment it was made; its key must be good now all the
/// same.
pub(super) fn content(
    signed: &[u8],
    pinned: &BTreeMap<Fingerprint, Certificate>,
    now: Timestamp,
    past_validity: PastValidity,
) -> Result<Vec<u8>, Refusal> {
    let keys = KeysGood::At(now);
    match read(signed, pinned, now, keys)? {
        (content, Verdict::Good) => Ok(content),
        (_, Verdict::Expired { made, .. }) if past_validity == PastValidity::Accept => {
            match read(signed, pinned, made, keys)? {
                (content, Verdict::Good) => Ok(content),
                (_, verdict) => Err(verdict.refusal(pinned, now)),
            }
        }
        (_, verdict) => Err(verdict.refusal(pinned, now)),
    }
}

/// The ids of the keys that claim to have signed a document. Nothing is checked: they say whom to ask about.
pub(super) fn issuers(signed: &[u8]) -> Result<Vec<String>, Refusal> {
    let policy = StandardPolicy::new();
    let not_signed = |error: &dyn std::fmt::Display| Refusal::NotSigned { reason: error.to_string() };
    let mut verifier = VerifierBuilder::from_bytes(signed)
        .and_then(|builder| builder.with_policy(&policy, None, Collector::default()))
        .map_err(|error| not_signed(&error))?;
    std::io::copy(&mut verifier, &mut std::io::sink()).map_err(|error| not_signed(&error))?;
    Ok(verifier.into_helper().0)
}

#[derive(Default)]
struct Collector(Vec<String>);

impl VerificationHelper for Collector {
    fn get_certs(&mut self, ids: &[KeyHandle]) -> openpgp::Result<Vec<Cert>> {
        self.0.extend(ids.iter().map(KeyHandle::to_hex));
        Ok(Vec::new())
    }

    fn check(&mut self, _: MessageStructure) -> openpgp::Result<()> {
        Ok(())
    }
}

/// What the best of a document's signatures turned out to be, worst first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    None,
    UnknownKey { key: String },
    KeyNotValid { reason: String },
    Revoked { key: String },
    Forged { reason: String },
    Early { made: Timestamp },
    Expired { made: Timestamp, expires: Timestamp },
    Good,
}

impl Verdict {
    fn refusal(self, pinned: &BTreeMap<Fingerprint, Certificate>, now: Timestamp) -> Refusal {
        // Whoever revoked the pinned key signs with another one: the revocation is what the user must know.
        let revoked = pinned.values().find(|certificate| certificate.is_revoked());
        match self {
            Self::UnknownKey { .. } if let Some(revoked) = revoked => {
                Refusal::Revoked { key: revoked.fingerprint().to_string() }
            }
            Self::Revoked { key } => Refusal::Revoked { key },
            Self::None | Self::Good => Refusal::NotSigned { reason: "the message holds no signature".to_owned() },
            Self::UnknownKey { key } => Refusal::UnpinnedKey { pinned: pinned.keys().cloned().collect(), found: key },
            Self::KeyNotValid { reason } => Refusal::KeyNotValid { reason },
            Self::Forged { reason } => Refusal::Forged { reason },
            Self::Early { made } => Refusal::SignedLater { made, now },
            Self::Expired { expires, .. } => Refusal::Expired { expires, now },
        }
    }
}

/// When the key of a signature must be within its validity, and not revoked as superseded or retired. A revocation as
/// compromised counts whenever it was made.
#[derive(Clone, Copy)]
pub(crate) enum KeysGood {
    /// When the signature says that it was made, as OpenPGP has it: for signatures that last.
    WhenSigned,
    /// At this moment, too. The time of a signature is what its maker says, so an old key in other hands signs as of a
    /// time when it was good.
    At(Timestamp),
}

/// Reads the document and judges its signatures as of `now`. The content must not be used unless the verdict is good.
pub(crate) fn read(
    signed: &[u8],
    pinned: &BTreeMap<Fingerprint, Certificate>,
    now: Timestamp,
    keys: KeysGood,
) -> Result<(Vec<u8>, Verdict), Refusal> {
    let policy = StandardPolicy::new();
    let not_signed = |error: &dyn std::fmt::Display| Refusal::NotSigned { reason: error.to_string() };
    let helper = Judge { pinned, now, keys, verdict: Verdict::None };
    let mut verifier = VerifierBuilder::from_bytes(signed)
        .and_then(|builder| builder.with_policy(&policy, Some(SystemTime::from(now)), helper))
        .map_err(|error| not_signed(&error))?;
    let mut content = Vec::new();
    verifier.read_to_end(&mut content).map_err(|error| not_signed(&error))?;
    Ok((content, verifier.into_helper().verdict))
}

/// Judges a signature that stands beside `content` as of `now`; an error says why it cannot be read.
pub(crate) fn detached(
    content: impl std::io::Read + Send + Sync,
    signature: &[u8],
    pinned: &BTreeMap<Fingerprint, Certificate>,
    now: Timestamp,
) -> Result<Verdict, String> {
    let policy = StandardPolicy::new();
    let helper = Judge { pinned, now, keys: KeysGood::WhenSigned, verdict: Verdict::None };
    let mut verifier = DetachedVerifierBuilder::from_bytes(signature)
        .and_then(|builder| builder.with_policy(&policy, Some(SystemTime::from(now)), helper))
        .map_err(|error| error.to_string())?;
    verifier.verify_reader(content).map_err(|error| error.to_string())?;
    Ok(verifier.into_helper().verdict)
}

struct Judge<'a> {
    pinned: &'a BTreeMap<Fingerprint, Certificate>,
    now: Timestamp,
    keys: KeysGood,
    verdict: Verdict,
}

type Key<'a> = ValidErasedKeyAmalgamation<'a, PublicParts>;

impl Judge<'_> {
    /// What a signature that is good by itself is worth today.
    fn good(&self, key: &Key<'_>) -> Verdict {
        let KeysGood::At(now) = self.keys else { return Verdict::Good };
        let policy = StandardPolicy::new();
        let outcome = key.clone().with_policy(&policy, SystemTime::from(now)).and_then(|key| {
            if is_revoked(&key) {
                return Ok(Verdict::Revoked { key: key.key().fingerprint().to_hex() });
            }
            key.valid_cert().alive()?;
            key.alive()?;
            Ok(if key.for_signing() {
                Verdict::Good
            } else {
                Verdict::KeyNotValid { reason: "it may no longer sign".to_owned() }
            })
        });
        outcome.unwrap_or_else(|error| Verdict::KeyNotValid { reason: error.to_string() })
    }

    fn judge(&self, error: &VerificationError<'_>) -> Verdict {
        match error {
            VerificationError::MissingKey { sig } => Verdict::UnknownKey { key: issuer(sig) },
            VerificationError::BadSignature { sig, error, .. } => match untimely(sig, self.now) {
                Some(verdict) => verdict,
                None => Verdict::Forged { reason: error.to_string() },
            },
            VerificationError::BadKey { ka, .. } if is_revoked(ka) => {
                Verdict::Revoked { key: ka.key().fingerprint().to_hex() }
            }
            VerificationError::UnboundKey { error, .. } | VerificationError::BadKey { error, .. } => {
                Verdict::KeyNotValid { reason: error.to_string() }
            }
            other => Verdict::Forged { reason: other.to_string() },
        }
    }
}

impl VerificationHelper for Judge<'_> {
    fn get_certs(&mut self, _: &[KeyHandle]) -> openpgp::Result<Vec<Cert>> {
        Ok(self.pinned.values().map(|certificate| certificate.0.clone()).collect())
    }

    fn check(&mut self, structure: MessageStructure) -> openpgp::Result<()> {
        let mut layers = structure.into_iter();
        // Exactly one layer of signatures: anything encrypted or compressed is not a document of ours.
        if let (Some(MessageLayer::SignatureGroup { results }), None) = (layers.next(), layers.next()) {
            let verdicts = results.iter().map(|result| match result {
                Ok(checked) => self.good(&checked.ka),
                Err(error) => self.judge(error),
            });
            self.verdict = verdicts.max().unwrap_or(Verdict::None);
        }
        Ok(())
    }
}

/// Whether the key, or the certificate it belongs to, is revoked as of the time it was looked at.
fn is_revoked(key: &Key<'_>) -> bool {
    let of_key = key.revocation_status();
    [of_key, key.valid_cert().revocation_status()].iter().any(|status| matches!(status, RevocationStatus::Revoked(_)))
}

/// The library refuses a signature outside of its validity before it computes anything, so such a signature may also
/// be forged; for one of the past that shows when it is checked again as of the moment it was made.
fn untimely(signature: &Signature, now: Timestamp) -> Option<Verdict> {
    let made = Timestamp::from(signature.signature_creation_time()?);
    if made > now {
        return Some(Verdict::Early { made });
    }
    let expires = Timestamp::from(signature.signature_expiration_time()?);
    (now > expires).then_some(Verdict::Expired { made, expires })
}

fn issuer(signature: &Signature) -> String {
    let issuers = signature.get_issuers();
    issuers.first().map_or_else(|| "an unnamed key".to_owned(), KeyHandle::to_hex)
}
