//! How a server's certificate is learnt.

use formats::certificate::{Certificate, Fingerprint};
use formats::layout;
use formats::name::Name;
use formats::time::Timestamp;
use formats::verified::{self, Keyring, Memory, PastValidity, Refusal};

use super::{Repository, RepositoryError};

impl Repository {
    /// The certificate of a pinned fingerprint, from the server that uses it. It is trusted because it is the one of
    /// that fingerprint, whoever sent it.
    pub(super) fn certificate(&self, fingerprint: &Fingerprint) -> Result<Certificate, RepositoryError> {
        let bytes = self.shared_document(&layout::certificate(fingerprint.as_str()))?;
        let certificate = Certificate::from_bytes(&bytes)?;
        let found = certificate.fingerprint();
        if found != *fingerprint {
            return Err(Refusal::UnpinnedKey { pinned: vec![fingerprint.clone()], found: found.to_string() }.into());
        }
        Ok(certificate)
    }

    fn shared_document(&self, path: &str) -> Result<Vec<u8>, RepositoryError> {
        let url = self.reached.shared_address(path);
        Ok(self.runtime.block_on(self.fetcher.document(&url, CERTIFICATE_BYTES))?)
    }
}

/// What a server that nobody pinned yet says about itself.
#[derive(Clone, Debug)]
pub struct Introduction {
    /// The certificate that signs its index. Whether it is the right one is for a person to decide.
    pub certificate: Certificate,
}

/// Asks a server which certificate signs its index, and checks that it does. A signature names the subkey that made
/// it, so the certificate is looked up by that: as a file, which a static site has, too, or as OpenPGP key servers are
/// asked (draft-shaw-openpgp-hkp-00).
pub fn introduce(repository: &Repository, channel: &Name, now: Timestamp) -> Result<Introduction, RepositoryError> {
    let limit = repository.fetcher.limits().certificate_bytes;
    let signed = repository.document(layout::SIGNED_INDEX, limit)?;
    let issuers = verified::claimed_issuers(&signed)?;
    for issuer in &issuers {
        let places = [layout::certificate(issuer), format!("pks/lookup?op=get&options=mr&search=0x{issuer}")];
        let mut certificates = places.iter().filter_map(|place| {
            let certificate = Certificate::from_bytes(&repository.shared_document(place).ok()?).ok()?;
            certificate.answers_to(issuer).then_some(certificate)
        });
        if let Some(certificate) = certificates.next() {
            let mut keyring = Keyring::default();
            keyring.pin(&certificate.fingerprint(), certificate.clone())?;
            verified::verify_index(&signed, &keyring, channel, &Memory::nothing(), now, PastValidity::Refuse)?;
            return Ok(Introduction { certificate });
        }
    }
    Err(RepositoryError::NoCertificate { key: issuers.last().cloned().unwrap_or_default() })
}

/// The largest certificate that is read. A repository certificate with twenty rotated subkeys has 10 KiB.
const CERTIFICATE_BYTES: u64 = 256 << 10;
