//! Which servers are trusted.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::error::SetupError;

/// TLS that trusts the system's certificates and those in `ca_file`, or with `ca_only` the latter alone.
///
/// The system's certificates are those of `SSL_CERT_FILE` and `SSL_CERT_DIR` if either is set, else what
/// `update-ca-certificates` maintains (`rustls-native-certs`). A machine without any can still use http, and https
/// with a `ca_file`; anything else fails at the handshake. The provider is named here, so that nothing global is set.
pub(crate) fn client_config(ca_file: Option<&Path>, ca_only: bool) -> Result<ClientConfig, SetupError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let given = ca_file.map(roots_of_file).transpose()?;
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let builder = match given {
        Some(given) if ca_only => builder.with_root_certificates(given),
        Some(given) => {
            let given = WebPkiServerVerifier::builder_with_provider(Arc::new(given), provider.clone()).build()?;
            let verifier = GivenFirst { given, system: OnceLock::new(), provider };
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        }
        None if ca_only => return Err(SetupError::NothingTrusted),
        None => builder.with_root_certificates(roots_of_system()),
    };
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Trusts what either the certificates of a file or those of the system vouch for. The latter are read when they are
/// needed for the first time: they take as long as everything else at the start of a program, and somebody who names a
/// file nearly always means a server whose certificate comes from there.
#[derive(Debug)]
struct GivenFirst {
    given: Arc<WebPkiServerVerifier>,
    /// Absent on a machine without any.
    system: OnceLock<Option<Arc<WebPkiServerVerifier>>>,
    provider: Arc<CryptoProvider>,
}

impl GivenFirst {
    fn system(&self) -> Option<&WebPkiServerVerifier> {
        let read = || {
            let roots = Arc::new(roots_of_system());
            WebPkiServerVerifier::builder_with_provider(roots, self.provider.clone()).build().ok()
        };
        self.system.get_or_init(read).as_deref()
    }
}

impl ServerCertVerifier for GivenFirst {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verify = |verifier: &WebPkiServerVerifier| {
            verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        };
        // Why the given ones do not vouch for it is what a user can do something about.
        verify(&self.given)
            .or_else(|why| self.system().ok_or(()).and_then(|system| verify(system).map_err(drop)).map_err(|()| why))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.given.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.given.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.given.supported_verify_schemes()
    }
}

fn roots_of_system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    for error in system.errors {
        tracing::warn!("a certificate of the system is skipped: {error}");
    }
    roots.add_parsable_certificates(system.certs);
    roots
}

fn roots_of_file(path: &Path) -> Result<RootCertStore, SetupError> {
    let unreadable = |source: PemError| SetupError::CaFile { path: path.to_owned(), source };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
        let certificate = certificate.map_err(unreadable)?;
        roots.add(certificate).map_err(|source| SetupError::BadCertificate { path: path.to_owned(), source })?;
    }
    if roots.is_empty() { Err(SetupError::NoCertificate { path: path.to_owned() }) } else { Ok(roots) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn config_with(pem: &str) -> Result<ClientConfig, SetupError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        fs::write(&path, pem).unwrap();
        client_config(Some(&path), true)
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        assert!(matches!(config_with("no certificate here\n"), Err(SetupError::NoCertificate { .. })));
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(config_with(garbage), Err(SetupError::BadCertificate { .. })));
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = client_config(Some(Path::new("/nonexistent/ca.pem")), false).unwrap_err();
        assert_eq!(error.to_string(), "cannot read the certificates in `/nonexistent/ca.pem`");
    }

    #[test]
    fn trusting_only_the_given_certificates_needs_some() {
        assert!(matches!(client_config(None, true), Err(SetupError::NothingTrusted)));
    }
}
