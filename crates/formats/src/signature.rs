//! Making signatures. A repository's two keys sign in two ways that must never be mixed, so each way is a trait of
//! its own and each key a type that has only one of them.
//!
//! Stock templates of the GPG era accept any clear-signed document made by a key they trust in place of any file
//! (lxc 4.0.11 `templates/lxc-download.in:166`, one-argument `gpg --verify`). A key they trust must therefore never
//! sign inline.

use std::io::{Read, Write};
use std::time::{Duration, SystemTime};

use openpgp::packet::signature::SignatureBuilder;
use openpgp::serialize::stream::{Armorer, Message, Signer};
use openpgp::types::{HashAlgorithm, SignatureType};
use sequoia_openpgp as openpgp;

use crate::certificate::{Certificate, KeyError, SigningKey};
use crate::time::Timestamp;

/// Signs documents inline, in the cleartext framework (RFC 4880 section 7).
pub trait SignInline {
    /// The signed form of `document`, valid from `now` until `expires`, both recorded in the signature itself: plain
    /// gpgv refuses it afterwards. Lines of the document must be shorter than gpg's limit of 19 995 bytes. A document with a
    /// carriage return, which JSON needs nowhere, is refused: its signature would not verify.
    fn sign_inline(&self, document: &[u8], now: Timestamp, expires: Timestamp) -> Result<Vec<u8>, KeyError>;

    /// The certificate that checks the signatures.
    fn certificate(&self) -> Certificate;
}

/// Makes signatures that stand beside the file they sign.
pub trait SignDetached {
    /// A signature over all of `content`, made at `now`; it never expires when `expires` is `None`.
    fn sign_detached(
        &self,
        content: &mut dyn Read,
        now: Timestamp,
        expires: Option<Timestamp>,
        encoding: Encoding,
    ) -> Result<Vec<u8>, KeyError>;

    /// The certificate that checks the signatures.
    fn certificate(&self) -> Certificate;
}

/// How a detached signature is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// ASCII armor, `.asc`.
    Armored,
    /// OpenPGP packets, `.gpg`.
    Binary,
}

/// The repository key, kept in a file.
#[derive(Clone, Debug)]
pub struct RepositoryKey(pub SigningKey);

impl SignInline for RepositoryKey {
    fn sign_inline(&self, document: &[u8], now: Timestamp, expires: Timestamp) -> Result<Vec<u8>, KeyError> {
        if document.contains(&b'\r') {
            return Err(KeyError::CarriageReturn);
        }
        let template = template(SignatureType::Text, now, Some(expires))?;
        let mut signed = Vec::new();
        let mut writer = Signer::with_template(Message::new(&mut signed), self.0.keypair(now)?, template)
            .and_then(|signer| signer.creation_time(SystemTime::from(now)).cleartext().build())
            .map_err(KeyError::from_openpgp)?;
        writer.write_all(document).map_err(KeyError::from_openpgp)?;
        writer.finalize().map_err(KeyError::from_openpgp)?;
        Ok(signed)
    }

    fn certificate(&self) -> Certificate {
        self.0.certificate()
    }
}

/// The compat key, kept in a file.
#[derive(Clone, Debug)]
pub struct CompatKey(pub SigningKey);

impl SignDetached for CompatKey {
    fn sign_detached(
        &self,
        content: &mut dyn Read,
        now: Timestamp,
        expires: Option<Timestamp>,
        encoding: Encoding,
    ) -> Result<Vec<u8>, KeyError> {
        let template = template(SignatureType::Binary, now, expires)?;
        let mut signature = Vec::new();
        let message = Message::new(&mut signature);
        let message = match encoding {
            Encoding::Armored => Armorer::new(message).kind(openpgp::armor::Kind::Signature).build(),
            Encoding::Binary => Ok(message),
        };
        let mut signer = message
            .and_then(|message| Signer::with_template(message, self.0.keypair(now)?, template))
            .and_then(|signer| signer.creation_time(SystemTime::from(now)).detached().build())
            .map_err(KeyError::from_openpgp)?;
        std::io::copy(content, &mut signer).map_err(KeyError::from_openpgp)?;
        signer.finalize().map_err(KeyError::from_openpgp)?;
        Ok(signature)
    }

    fn certificate(&self) -> Certificate {
        self.0.certificate()
    }
}

fn template(kind: SignatureType, now: Timestamp, expires: Option<Timestamp>) -> Result<SignatureBuilder, KeyError> {
    let template = SignatureBuilder::new(kind).set_hash_algo(HashAlgorithm::SHA512);
    let Some(expires) = expires else { return Ok(template) };
    // A validity of zero would mean "for ever".
    let seconds = u64::try_from(expires.unix().saturating_sub(now.unix())).unwrap_or(0).max(1);
    template.set_signature_validity_period(Duration::from_secs(seconds)).map_err(KeyError::from_openpgp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Span;

    #[test]
    fn a_detached_signature_is_armored_or_binary_and_holds_no_content() {
        let now = Timestamp::from_unix(1_795_411_320);
        let key = CompatKey(SigningKey::generate_compat("test", now).unwrap());
        let armored = key.sign_detached(&mut &b"rootfs"[..], now, None, Encoding::Armored).unwrap();
        assert!(armored.starts_with(b"-----BEGIN PGP SIGNATURE-----"));
        let binary =
            key.sign_detached(&mut &b"rootfs"[..], now, Some(now + Span::from_days(2)), Encoding::Binary).unwrap();
        assert!(binary.len() < 1024 && !binary.windows(6).any(|window| window == b"rootfs"));
    }

    #[test]
    fn an_inline_signature_keeps_the_document_readable() {
        let now = Timestamp::from_unix(1_795_411_320);
        let key = SigningKey::generate_repository("test", now, Span::from_days(90)).unwrap();
        let signed = RepositoryKey(key).sign_inline(b"{\"serial\": 1}\n", now, now + Span::from_days(2)).unwrap();
        let text = String::from_utf8(signed).unwrap();
        assert!(text.starts_with("-----BEGIN PGP SIGNED MESSAGE-----") && text.contains("{\"serial\": 1}"), "{text}");
    }

    #[test]
    fn a_document_whose_signature_would_not_verify_is_not_signed() {
        let now = Timestamp::from_unix(1_795_411_320);
        let key = RepositoryKey(SigningKey::generate_repository("test", now, Span::from_days(90)).unwrap());
        for document in [&b"8\r\n\r"[..], b"\x0b\r", b"{}\r\n"] {
            let outcome = key.sign_inline(document, now, now + Span::from_days(2));
            assert!(matches!(outcome, Err(KeyError::CarriageReturn)), "{document:?}");
        }
    }
}
