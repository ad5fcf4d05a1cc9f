//! Which servers are trusted.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::{ClientConfig, RootCertStore};

use crate::error::SetupError;

/// TLS that trusts the system's certificates and those in `ca_file`, or with `ca_only` the latter alone.
///
/// The system's certificates are those of `SSL_CERT_FILE` and `SSL_CERT_DIR` if either is set, else what
/// `update-ca-certificates` maintains (`rustls-native-certs`). A machine without any can still use http, and https
/// with a `ca_file`; anything else fails at the handshake. The provider is named here, so that nothing global is set.
pub(crate) fn client_config(ca_file: Option<&Path>, ca_only: bool) -> Result<ClientConfig, SetupError> {
    let mut roots = RootCertStore::empty();
    if !ca_only {
        let system = rustls_native_certs::load_native_certs();
        for error in system.errors {
            tracing::warn!("a certificate of the system is skipped: {error}");
        }
        roots.add_parsable_certificates(system.certs);
    }
    match ca_file {
        Some(path) => add_file(&mut roots, path)?,
        None if ca_only => return Err(SetupError::NothingTrusted),
        None => {}
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), SetupError> {
    let unreadable = |source: PemError| SetupError::CaFile { path: path.to_owned(), source };
    let before = roots.len();
    for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
        let certificate = certificate.map_err(unreadable)?;
        roots.add(certificate).map_err(|source| SetupError::BadCertificate { path: path.to_owned(), source })?;
    }
    if roots.len() == before { Err(SetupError::NoCertificate { path: path.to_owned() }) } else { Ok(()) }
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
