//! Only servers with a trusted certificate are believed.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rootcellar_transfer::{Fetcher, FetcherOptions, TransferError};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;

use crate::cellar::{Cellar, content, quick};
use crate::environment::{CA_FILE, fetch_in};
use crate::server::{Reply, Server};

/// A certificate authority of our own.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A server set up with a certificate for `name`.
    fn server_config(&self, name: &str) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap()
    }

    fn write(&self, directory: &Path) -> std::path::PathBuf {
        let path = directory.join("ca.pem");
        std::fs::write(&path, self.0.pem()).unwrap();
        path
    }
}

fn trusting(ca_file: Option<&Path>, ca_only: bool) -> Fetcher {
    let ca_file = ca_file.map(Path::to_owned);
    Fetcher::new(FetcherOptions { limits: quick(), ca_file, ca_only, ..FetcherOptions::default() }).unwrap()
}

#[tokio::test]
async fn a_private_authority_is_trusted_when_it_is_given() {
    let (authority, directory) = (Authority::new(), tempfile::tempdir().unwrap());
    let server = Server::start_tls(authority.server_config("localhost"), |ask| Reply::ranged(ask, &content(50_000)));
    for ca_only in [false, true] {
        let fetcher = trusting(Some(&authority.write(directory.path())), ca_only);
        let cellar = Cellar::with_partial(&content(50_000)[..20_000]);
        cellar.fetch(&fetcher, &server.url("/rootfs"), &content(50_000)).await.unwrap();
        assert!(cellar.done_bytes() == Some(content(50_000)));
    }
}

#[tokio::test]
async fn an_unknown_authority_a_wrong_one_and_a_wrong_name_are_refused_without_a_second_try() {
    let (authority, directory) = (Authority::new(), tempfile::tempdir().unwrap());
    let right = authority.write(directory.path());
    let other = tempfile::tempdir().unwrap();
    let wrong = Authority::new().write(other.path());
    let cases = [("localhost", None), ("localhost", Some(&wrong)), ("elsewhere.example", Some(&right))];
    for (name, ca_file) in cases {
        let server = Server::start_tls(authority.server_config(name), |_| Reply::whole(b"never"));
        let fetcher = trusting(ca_file.map(std::path::PathBuf::as_path), false);
        let error = fetcher.document(&server.url("/index.sjson"), 10).await.unwrap_err();
        assert!(matches!(error, TransferError::Tls { .. }) && !error.is_retryable(), "{error:?}");
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.starts_with("invalid peer certificate"), "{source}");
        assert!(server.asked().is_empty());
    }
}

#[tokio::test]
async fn a_redirect_to_unencrypted_http_is_refused() {
    let (authority, directory) = (Authority::new(), tempfile::tempdir().unwrap());
    let plain = Server::start(|_| Reply::whole(b"forged"));
    let target = plain.url("/rootfs?signature=secret");
    let server = Server::start_tls(authority.server_config("localhost"), move |_| Reply::redirect(&target));
    let fetcher = trusting(Some(&authority.write(directory.path())), true);
    let error = fetcher.document(&server.url("/rootfs"), 10).await.unwrap_err();
    let url = server.url("/rootfs");
    assert_eq!(error.to_string(), format!("`{url}` redirects from https to unencrypted http on `127.0.0.1`"));
    assert!(plain.asked().is_empty());
}

#[tokio::test]
async fn an_unencrypted_server_behind_an_https_address_is_refused() {
    let server = Server::start(|_| Reply::whole(b"plain"));
    let url = server.url("/rootfs").replace("http://", "https://");
    let error = trusting(None, false).document(&url, 10).await.unwrap_err();
    assert!(matches!(error, TransferError::Tls { .. }), "{error:?}");
    assert!(server.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_authorities_of_the_system_can_be_named_by_ssl_cert_file() {
    let (authority, directory) = (Authority::new(), tempfile::tempdir().unwrap());
    let server = Server::start_tls(authority.server_config("localhost"), |_| Reply::whole(b"trusted"));
    let url = server.url("/index.sjson");
    let (succeeded, said) = fetch_in(&[], &url);
    assert!(!succeeded && said.contains("UnknownIssuer"), "{said}");
    let ca_file = authority.write(directory.path());
    let (succeeded, said) = fetch_in(&[("SSL_CERT_FILE", ca_file.to_str().unwrap())], &url);
    assert!(succeeded && said.contains("fetched `trusted`"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_authorities_of_the_system_count_beside_those_that_are_given() {
    let [system, given, stranger] = [(); 3].map(|()| (Authority::new(), tempfile::tempdir().unwrap()));
    let [system_file, given_file] = [&system, &given].map(|(authority, directory)| authority.write(directory.path()));
    let trusted = [("SSL_CERT_FILE", system_file.to_str().unwrap()), (CA_FILE, given_file.to_str().unwrap())];
    for ((authority, _), is_trusted) in [(&system, true), (&given, true), (&stranger, false)] {
        let server = Server::start_tls(authority.server_config("localhost"), |_| Reply::whole(b"trusted"));
        let (succeeded, said) = fetch_in(&trusted, &server.url("/index.sjson"));
        assert_eq!(succeeded, is_trusted, "{said}");
        assert!(is_trusted || said.contains("invalid peer certificate"), "{said}");
    }
}
