//! A server of the tests behind TLS, with a certificate authority of its own.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;

use formats::compat::{CompatLevel, Mode};
use formats::layout;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::world::{Host, Server, answer};

/// Where a server is reached by https, and who vouches for that.
pub(crate) struct Encrypted {
    pub(crate) url: String,
    pub(crate) address: String,
    pub(crate) ca: PathBuf,
}

impl Server {
    /// Has the classic index of the builds, too.
    pub(crate) fn publish_classic(&self) {
        let lines: String = self.builds.iter().fold(String::new(), |lines, build| {
            let record = build.record();
            let (image, serial) = (record.image.to_string(), record.serial);
            format!("{lines}{};{serial};/images/{image}/{serial}/\n", image.replace('/', ";"))
        });
        for mode in [Mode::System, Mode::User] {
            self.put(&layout::index(mode, Some(CompatLevel::NEWEST)), lines.clone().into_bytes());
        }
    }

    /// The same server by https, by the name `localhost`.
    pub(crate) fn encrypt(&self, host: &Host) -> Encrypted {
        self.encrypt_as("localhost", host)
    }

    /// The same with a certificate for another name.
    pub(crate) fn encrypt_as(&self, name: &str, host: &Host) -> Encrypted {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let ca = host.at("ca.pem");
        std::fs::write(&ca, authority.pem()).unwrap();

        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = self.shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = shared.clone();
                let connection = ServerConnection::new(config.clone()).unwrap();
                std::thread::spawn(move || {
                    answer(StreamOwned::new(connection, stream.unwrap()), &shared);
                });
            }
        });
        Encrypted { url: format!("https://{name}:{}", address.port()), address: address.to_string(), ca }
    }
}
