//! The server's TLS certificate: a given one, or one of a private authority made on first run.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use formats::time::{Span, Timestamp};
use fs_err as fs;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};

use crate::data::{DataDir, Writer};
use crate::files;

/// Where the certificate and its key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsSource {
    /// Given by the operator.
    Given(TlsFiles),
    /// Made by the private authority of the data directory.
    Private,
}

/// A certificate chain and its key, as files that may be renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, PEM.
    pub certificate: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
}

impl TlsFiles {
    /// The configuration of the server's end. TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        server_config(&self.certificate, &self.key)
    }
}

/// The private authority and the certificate it made for this server, both in `tls/`.
#[derive(Clone, Debug)]
pub struct PrivateAuthority {
    /// The authority's certificate: what hosts must trust.
    pub ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl PrivateAuthority {
    /// The authority and a certificate for `names`. Both are made when they are missing; the certificate is made
    /// again when it lacks one of the names, or has less than half of its validity left.
    pub fn load_or_make(writer: &Writer, names: &BTreeSet<String>, now: Timestamp) -> Result<Self, TlsError> {
        let path = |name: &str| writer.tls().join(name);
        let (ca, ca_key, state) = (path(CA), path("ca.key.pem"), path("server.json"));
        let this = Self { ca: ca.clone(), certificate: path("server.pem"), key: path("server.key.pem") };
        if !(ca.exists() && ca_key.exists()) {
            let (certificate, key) = make_authority(now)?;
            writer.put(&ca_key, key.as_bytes(), 0o600)?;
            writer.put(&ca, certificate.as_bytes(), 0o644)?;
            remove_if_there(&state)?;
        }
        let made: Option<Made> = files::read_if_there(&state)?.and_then(|json| serde_json::from_slice(&json).ok());
        let is_good = |made: Made| names.is_subset(&made.names) && now < made.renew;
        if !(made.is_some_and(is_good) && this.certificate.exists() && this.key.exists()) {
            let issuer = KeyPair::from_pem(&fs::read_to_string(&ca_key)?)?;
            let issuer = Issuer::from_ca_cert_pem(&fs::read_to_string(&ca)?, issuer)?;
            let (certificate, key) = make_certificate(names, &issuer, now)?;
            // The state comes last: killed in between, the next run makes a matching pair again.
            remove_if_there(&state)?;
            writer.put(&this.key, key.as_bytes(), 0o600)?;
            writer.put(&this.certificate, certificate.as_bytes(), 0o644)?;
            let half = Span::from_seconds(CERTIFICATE_VALIDITY.seconds() / 2);
            let made = Made { names: names.clone(), renew: now + half };
            writer.put(&state, &serde_json::to_vec_pretty(&made).map_err(io::Error::from)?, 0o644)?;
        }
        Ok(this)
    }

    /// The certificate of the authority of a data directory.
    pub fn ca(data: &DataDir) -> PathBuf {
        data.tls().join(CA)
    }

    /// The certificate it made for this server.
    pub fn files(&self) -> TlsFiles {
        TlsFiles { certificate: self.certificate.clone(), key: self.key.clone() }
    }
}

fn server_config(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let unreadable = |path: &Path, reason: String| TlsError::Unreadable { path: path.to_path_buf(), reason };
    let read = |path: &Path| fs::read(path).map_err(|error| unreadable(path, error.to_string()));
    let chain = CertificateDer::pem_slice_iter(&read(certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unreadable(certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(unreadable(certificate, "it holds no certificate".to_owned()));
    }
    let secret = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| unreadable(key, error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, secret)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = rustls::crypto::ring::Ticketer::new()?;
    Ok(Arc::new(config))
}

/// What can be wrong with certificates.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that does not hold what it should.
    #[error("`{}` is not usable for TLS: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificate and the key do not work.
    #[error("the TLS certificate is not usable")]
    Unusable(#[from] rustls::Error),
    /// The private authority failed.
    #[error("the private certificate authority failed")]
    Authority(#[from] rcgen::Error),
    /// The file system failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What the last certificate was made for.
#[derive(Serialize, Deserialize)]
struct Made {
    names: BTreeSet<String>,
    renew: Timestamp,
}

fn make_authority(now: Timestamp) -> Result<(String, String), TlsError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    let name = format!("rootcellar private authority {}", now.date());
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut params, now, AUTHORITY_VALIDITY);
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

fn make_certificate(
    names: &BTreeSet<String>,
    issuer: &Issuer<'_, KeyPair>,
    now: Timestamp,
) -> Result<(String, String), TlsError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names.iter().cloned().collect::<Vec<_>>())?;
    params.distinguished_name.push(DnType::CommonName, "rootcellar-server");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    set_validity(&mut params, now, CERTIFICATE_VALIDITY);
    Ok((params.signed_by(&key, issuer)?.pem(), key.serialize_pem()))
}

/// From a day before now, for hosts whose clock is behind.
fn set_validity(params: &mut CertificateParams, now: Timestamp, validity: Span) {
    let day = |time: Timestamp| {
        let date = time.date();
        let mut parts = date.split('-').filter_map(|part| part.parse::<i32>().ok());
        let mut next = || parts.next().unwrap_or(1);
        let (year, month, day) = (next(), next(), next());
        rcgen::date_time_ymd(year, u8::try_from(month).unwrap_or(1), u8::try_from(day).unwrap_or(1))
    };
    params.not_before = day(now - Span::from_days(1));
    params.not_after = day(now + validity);
}

/// Whether a name can be in a certificate: a host name or an address.
pub fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    name.parse::<IpAddr>().is_ok() || (name.len() <= 253 && name.split('.').all(is_label))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

const CA: &str = "ca.pem";
const AUTHORITY_VALIDITY: Span = Span::from_days(3652);
const CERTIFICATE_VALIDITY: Span = Span::from_days(825);

#[cfg(test)]
mod tests {
    use terminal::Printer;

    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_authority_stays_and_the_certificate_follows_the_names() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::open(directory.path()).unwrap();
        let writer = data.write(&Printer::captured(true).0).unwrap();
        let now = Timestamp::from_unix(1_795_411_320);
        let read = |this: &PrivateAuthority| (fs::read(&this.ca).unwrap(), fs::read(&this.certificate).unwrap());
        let first = PrivateAuthority::load_or_make(&writer, &names(&["localhost", "127.0.0.1"]), now).unwrap();
        let (ca, certificate) = read(&first);
        first.files().server_config().unwrap();
        let same = PrivateAuthority::load_or_make(&writer, &names(&["localhost"]), now).unwrap();
        assert_eq!(read(&same), (ca.clone(), certificate.clone()));
        let more = PrivateAuthority::load_or_make(&writer, &names(&["localhost", "::1"]), now).unwrap();
        assert_eq!(read(&more).0, ca);
        assert_ne!(read(&more).1, certificate);
        let later = now + Span::from_days(500);
        let renewed = PrivateAuthority::load_or_make(&writer, &names(&["localhost"]), later).unwrap();
        assert_ne!(read(&renewed).1, read(&first).0);
        renewed.files().server_config().unwrap();
    }

    #[test]
    fn a_file_that_is_no_certificate_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("c.pem");
        fs::write(&path, "nothing").unwrap();
        assert!(server_config(&path, &path).unwrap_err().to_string().contains("c.pem"));
    }

    #[test]
    fn only_host_names_and_addresses_can_be_in_a_certificate() {
        for name in ["localhost", "images.example.org", "127.0.0.1", "::1", "my_host"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "a b", "a..b", "http://x", "x:8443", "*.example.org"] {
            assert!(!is_name(name), "{name}");
        }
    }
}
