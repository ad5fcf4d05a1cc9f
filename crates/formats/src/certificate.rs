//! OpenPGP certificates and signing keys, made and read by sequoia-openpgp.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use openpgp::Cert;
use openpgp::cert::amalgamation::ValidAmalgamation as _;
use openpgp::cert::{
    CertBuilder, CertParser, CertRevocationBuilder, CipherSuite, KeyBuilder, SubkeyBuilder, SubkeyRevocationBuilder,
};
use openpgp::parse::Parse as _;
use openpgp::policy::StandardPolicy;
use openpgp::serialize::SerializeInto as _;
use openpgp::types::{KeyFlags, ReasonForRevocation, RevocationStatus};
use sequoia_openpgp as openpgp;
use serde::{Deserialize, Serialize};

use crate::time::{Span, Timestamp};

/// The public part of a key: what others hold to check signatures. A certificate is named by the fingerprint of its
/// primary key; subkeys count only as far as that primary key signed them.
#[derive(Clone, Debug, PartialEq)]
pub struct Certificate(pub(crate) Cert);

impl Certificate {
    /// Reads one certificate, armored or binary. Secret parts are dropped.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let cert = Cert::from_bytes(bytes).map_err(|error| KeyError::Unreadable { reason: error.to_string() })?;
        Ok(Self(cert.strip_secret_key_material()))
    }

    /// Reads all certificates of a keyring, armored or binary. Secret parts are dropped.
    pub fn all_from_bytes(bytes: &[u8]) -> Result<Vec<Self>, KeyError> {
        let unreadable = |error: &dyn fmt::Display| KeyError::Unreadable { reason: error.to_string() };
        let parser = CertParser::from_bytes(bytes).map_err(|error| unreadable(&error))?;
        let certs = parser.map(|cert| cert.map(|cert| Self(cert.strip_secret_key_material())));
        let certs = certs.collect::<Result<Vec<_>, _>>().map_err(|error| unreadable(&error))?;
        if certs.is_empty() { Err(unreadable(&"there is none")) } else { Ok(certs) }
    }

    /// The fingerprint of the primary key.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(self.0.fingerprint().to_hex())
    }

    /// The fingerprints of its subkeys: a signature names the one that made it, and not the primary key.
    pub fn subkeys(&self) -> impl Iterator<Item = Fingerprint> {
        self.0.keys().subkeys().map(|subkey| Fingerprint(subkey.key().fingerprint().to_hex()))
    }

    /// The certificate as ASCII armor.
    pub fn to_armored(&self) -> Result<Vec<u8>, KeyError> {
        self.0.armored().to_vec().map_err(KeyError::from_openpgp)
    }

    /// The certificate in the binary form that gpgv wants in its keyrings.
    pub fn to_binary(&self) -> Result<Vec<u8>, KeyError> {
        self.0.to_vec().map_err(KeyError::from_openpgp)
    }

    /// This certificate with everything a newer copy adds: other signing subkeys, longer validity, revocations.
    /// Nothing is ever taken away, so an older copy cannot undo a revocation.
    pub fn merge(self, newer: &Self) -> Result<Self, KeyError> {
        let (expected, found) = (self.fingerprint(), newer.fingerprint());
        if expected != found {
            return Err(KeyError::OtherCertificate { expected, found });
        }
        self.0.merge_public(newer.0.clone()).map(Self).map_err(KeyError::from_openpgp)
    }

    /// Whether the whole certificate is revoked.
    pub fn is_revoked(&self) -> bool {
        let policy = StandardPolicy::new();
        matches!(self.0.revocation_status(&policy, None), RevocationStatus::Revoked(_))
    }

    /// The end of the validity of the key with this fingerprint or id, as it is known at `now`: with it ends that of all it
    /// signed, as far as clients of ours are concerned. Nothing for a key that has no end or is not there.
    pub fn validity_end(&self, key_id: &str, now: Timestamp) -> Option<Timestamp> {
        let (policy, asked) = (StandardPolicy::new(), key_id.to_ascii_uppercase());
        let mut keys = self.0.keys().with_policy(&policy, SystemTime::from(now));
        let key = keys.find(|key| key.key().fingerprint().to_hex().ends_with(&asked))?;
        let primary = key.valid_cert().primary_key().key_expiration_time();
        [key.key_expiration_time(), primary].into_iter().flatten().min().map(Timestamp::from)
    }

    /// Whether a key id as an HKP client asks for it (40, 16 or 8 hexadecimal digits, `0x` or not) names this
    /// certificate or one of its subkeys: a signature names only the subkey that made it.
    pub fn answers_to(&self, key_id: &str) -> bool {
        let asked = key_id.strip_prefix("0x").unwrap_or(key_id).to_ascii_uppercase();
        let hexadecimal = asked.chars().all(|c| c.is_ascii_hexdigit());
        hexadecimal
            && [8, 16, 40].contains(&asked.len())
            && self.0.keys().any(|key| key.key().fingerprint().to_hex().ends_with(&asked))
    }
}

/// The secret part of a key, able to sign. It is never written by anything but the server's key directory.
#[derive(Clone)]
pub struct SigningKey(pub(crate) Cert);

impl SigningKey {
    /// Makes the repository key: an Ed25519 primary key that only certifies, and a signing subkey with its own,
    /// shorter validity.
    pub fn generate_repository(user_id: &str, now: Timestamp, subkey_validity: Span) -> Result<Self, KeyError> {
        let signing = KeyFlags::empty().set_signing();
        CertBuilder::new()
            .set_cipher_suite(CipherSuite::Cv25519)
            .set_creation_time(Some(SystemTime::from(now)))
            .set_primary_key_flags(KeyFlags::empty().set_certification())
            .add_userid(user_id)
            .add_subkey(signing, Some(subkey_validity.into()), None)
            .generate()
            .map(|(cert, _)| Self(cert))
            .map_err(KeyError::from_openpgp)
    }

    /// Makes the compat key: RSA, because gpg 1.4 knows nothing newer, and one key for everything, because the
    /// templates of that time fetch it by its fingerprint.
    pub fn generate_compat(user_id: &str, now: Timestamp) -> Result<Self, KeyError> {
        CertBuilder::new()
            .set_cipher_suite(CipherSuite::RSA3k)
            .set_creation_time(Some(SystemTime::from(now)))
            .set_primary_key_flags(KeyFlags::empty().set_certification().set_signing())
            .add_userid(user_id)
            .generate()
            .map(|(cert, _)| Self(cert))
            .map_err(KeyError::from_openpgp)
    }

    /// This key with another signing subkey, valid from `now`; the ones it had are valid until `overlap` later at most,
    /// so that what they signed can be used a little longer. It needs the secret part of the primary key.
    pub fn rotate(&self, now: Timestamp, subkey_validity: Span, overlap: Span) -> Result<Self, KeyError> {
        self.primary()?;
        let (policy, time) = (StandardPolicy::new(), SystemTime::from(now));
        let (signing, until) = (KeyFlags::empty().set_signing(), SystemTime::from(now + overlap));
        let mut cert = self.0.clone();
        for fingerprint in self.signing_subkeys(now)? {
            let valid = cert.with_policy(&policy, time).map_err(KeyError::from_openpgp)?;
            let mut subkeys = valid.keys().subkeys().secret();
            let Some(old) = subkeys.find(|key| key.key().fingerprint() == fingerprint) else { continue };
            if old.key_expiration_time().is_some_and(|expires| expires <= until) {
                continue;
            }
            cert = SubkeyBuilder::new(valid.clone(), old.key().clone(), signing.clone())
                .and_then(|builder| builder.set_signature_creation_time(time))
                .and_then(|builder| builder.set_key_expiration_time(until))
                .and_then(SubkeyBuilder::attach_cert)
                .map_err(KeyError::from_openpgp)?;
        }
        let valid = cert.with_policy(&policy, time).map_err(KeyError::from_openpgp)?;
        KeyBuilder::new(signing)
            .set_cipher_suite(CipherSuite::Cv25519)
            .set_creation_time(time)
            .subkey(valid)
            .and_then(|builder| builder.set_signature_creation_time(time))
            .and_then(|builder| builder.set_key_validity_period(std::time::Duration::from(subkey_validity)))
            .and_then(SubkeyBuilder::attach_cert)
            .map(Self)
            .map_err(KeyError::from_openpgp)
    }

    /// This key with every signing subkey it has now revoked as compromised: nothing they ever signed counts any
    /// longer. It needs the secret part of the primary key.
    pub fn revoke_subkeys(&self, now: Timestamp) -> Result<Self, KeyError> {
        let mut signer = self.primary()?;
        let mut cert = self.0.clone();
        for fingerprint in self.signing_subkeys(now)? {
            let Some(subkey) = self.0.keys().subkeys().find(|key| key.key().fingerprint() == fingerprint) else {
                continue;
            };
            let revocation = SubkeyRevocationBuilder::new()
                .set_signature_creation_time(now.into())
                .and_then(|builder| builder.set_reason_for_revocation(ReasonForRevocation::KeyCompromised, b""))
                .and_then(|builder| builder.build(&mut signer, &self.0, subkey.key(), None))
                .map_err(KeyError::from_openpgp)?;
            cert = cert.insert_packets(revocation).map_err(KeyError::from_openpgp)?.0;
        }
        Ok(Self(cert))
    }

    /// This key revoked as a whole, as compromised: it never signs again, and nothing it ever signed counts any
    /// longer. It needs the secret part of the primary key.
    pub fn revoke(&self, now: Timestamp) -> Result<Self, KeyError> {
        let mut signer = self.primary()?;
        let revocation = CertRevocationBuilder::new()
            .set_signature_creation_time(now.into())
            .and_then(|builder| builder.set_reason_for_revocation(ReasonForRevocation::KeyCompromised, b""))
            .and_then(|builder| builder.build(&mut signer, &self.0, None))
            .map_err(KeyError::from_openpgp)?;
        self.0.clone().insert_packets(revocation).map(|(cert, _)| Self(cert)).map_err(KeyError::from_openpgp)
    }

    /// The secret part of the primary key, which certifies.
    fn primary(&self) -> Result<openpgp::crypto::KeyPair, KeyError> {
        let primary = self.0.primary_key().key().clone().parts_into_secret();
        let primary = primary.map_err(|_| KeyError::NoPrimary { fingerprint: self.fingerprint() })?;
        primary.into_keypair().map_err(KeyError::from_openpgp)
    }

    /// The subkeys that may sign, revoked ones left out.
    fn signing_subkeys(&self, now: Timestamp) -> Result<Vec<openpgp::Fingerprint>, KeyError> {
        let policy = StandardPolicy::new();
        let valid = self.0.with_policy(&policy, SystemTime::from(now)).map_err(KeyError::from_openpgp)?;
        Ok(valid.keys().subkeys().for_signing().revoked(false).map(|key| key.key().fingerprint()).collect())
    }

    /// Reads a signing key. The secret part of the primary key may be missing: it can live offline.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let cert = Cert::from_bytes(bytes).map_err(|error| KeyError::Unreadable { reason: error.to_string() })?;
        if cert.is_tsk() { Ok(Self(cert)) } else { Err(KeyError::NoSecret { fingerprint: Self(cert).fingerprint() }) }
    }

    /// The key with its secret part, as ASCII armor.
    pub fn to_armored_secret(&self) -> Result<Vec<u8>, KeyError> {
        self.0.as_tsk().armored().to_vec().map_err(KeyError::from_openpgp)
    }

    /// The public part.
    pub fn certificate(&self) -> Certificate {
        Certificate(self.0.clone().strip_secret_key_material())
    }

    /// The fingerprint of the primary key.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(self.0.fingerprint().to_hex())
    }

    /// The end of the validity of the key that signs at `now`, if it has one.
    pub fn signs_until(&self, now: Timestamp) -> Result<Option<Timestamp>, KeyError> {
        let signing = self.keypair(now)?.public().fingerprint().to_hex();
        Ok(self.certificate().validity_end(&signing, now))
    }

    pub(crate) fn keypair(&self, now: Timestamp) -> Result<openpgp::crypto::KeyPair, KeyError> {
        let policy = StandardPolicy::new();
        let keys = self.0.keys().with_policy(&policy, SystemTime::from(now));
        let keys = keys.supported().alive().revoked(false).for_signing().secret();
        // A revoked certificate signs nothing; of several subkeys the newest is used.
        let keys = keys.filter(|_| !self.certificate().is_revoked());
        let key = keys.max_by_key(|key| key.key().creation_time());
        let key = key.ok_or_else(|| KeyError::NoSigningKey { fingerprint: self.fingerprint(), now })?;
        key.key().clone().into_keypair().map_err(KeyError::from_openpgp)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.fingerprint())
    }
}

/// The fingerprint of a certificate: 40 upper-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The digits, without blanks.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The digits in groups of four, for people to compare.
    pub fn grouped(&self) -> String {
        let digits: Vec<char> = self.0.chars().collect();
        digits.chunks(4).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join(" ")
    }
}

impl FromStr for Fingerprint {
    type Err = ParseFingerprintError;

    /// Accepts lower case, blanks between groups and a leading `0x`.
    fn from_str(text: &str) -> Result<Self, ParseFingerprintError> {
        let digits: String = text.trim().trim_start_matches("0x").split_whitespace().collect();
        if digits.len() == 40 && digits.chars().all(|c| c.is_ascii_hexdigit()) {
            Ok(Self(digits.to_ascii_uppercase()))
        } else {
            Err(ParseFingerprintError { found: text.chars().take(80).flat_map(char::escape_debug).collect() })
        }
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = ParseFingerprintError;

    fn try_from(text: String) -> Result<Self, ParseFingerprintError> {
        text.parse()
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Text that is no fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a key fingerprint of 40 hexadecimal digits, found `{found}`")]
pub struct ParseFingerprintError {
    found: String,
}

/// What can be wrong with a certificate or a signing key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The bytes are no certificate.
    #[error("not an OpenPGP certificate: {reason}")]
    Unreadable {
        /// What the parser says.
        reason: String,
    },
    /// A certificate where a signing key was expected.
    #[error("key {fingerprint} has no secret part")]
    NoSecret {
        /// Its fingerprint.
        fingerprint: Fingerprint,
    },
    /// The primary key's secret part is kept elsewhere.
    #[error("key {fingerprint} has no secret primary key here, which certifies changes: it is kept elsewhere")]
    NoPrimary {
        /// Its fingerprint.
        fingerprint: Fingerprint,
    },
    /// No part of the key may sign at this time.
    #[error("key {fingerprint} has no secret subkey that may sign on {now}: expired, revoked or kept elsewhere")]
    NoSigningKey {
        /// Its fingerprint.
        fingerprint: Fingerprint,
        /// The time asked for.
        now: Timestamp,
    },
    /// A newer copy of another certificate.
    #[error("expected a copy of certificate {expected}, found certificate {found}")]
    OtherCertificate {
        /// The certificate to be renewed.
        expected: Fingerprint,
        /// The one offered.
        found: Fingerprint,
    },
    /// A document that the cleartext framework would change.
    #[error("a document with a carriage return cannot be signed as text: readers disagree on where its lines end")]
    CarriageReturn,
    /// The OpenPGP library failed.
    #[error("OpenPGP: {reason}")]
    OpenPgp {
        /// What it says.
        reason: String,
    },
}

impl KeyError {
    /// Keeps the words of the library's error, which is not `Clone`.
    #[allow(clippy::needless_pass_by_value, reason = "it is used as a function for `map_err`")]
    pub(crate) fn from_openpgp(error: impl fmt::Display) -> Self {
        Self::OpenPgp { reason: error.to_string() }
    }
}

#[cfg(test)]
mod tests;
