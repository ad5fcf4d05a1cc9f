//! Holds many idle TLS connections for benchmarks: `idle HOST:PORT CA.pem COUNT` makes them, asks for `/healthz` on
//! each, again every few seconds until all are made, and says `open`. When its input ends it says how many the server
//! still keeps.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "a program for benchmarks")]

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Barrier, Semaphore};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
const AT_A_TIME: usize = 64;
const AGAIN: std::time::Duration = std::time::Duration::from_secs(4);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, ca, count] = <[String; 3]>::try_from(arguments).expect("ADDRESS CA COUNT");
    let count: usize = count.parse().expect("a number");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).expect("a certificate")).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    let (connector, slots) = (TlsConnector::from(Arc::new(config)), Arc::new(Semaphore::new(AT_A_TIME)));
    let all = Arc::new(Barrier::new(count));
    let mut opening = JoinSet::new();
    for _ in 0..count {
        let (connector, slots, all) = (connector.clone(), Arc::clone(&slots), Arc::clone(&all));
        let address = address.clone();
        opening.spawn(async move {
            let slot = slots.acquire().await.expect("slots");
            let mut stream = open(&connector, &address).await;
            drop(slot);
            let made = all.wait();
            tokio::pin!(made);
            while tokio::time::timeout(AGAIN, &mut made).await.is_err() {
                ask(&mut stream).await;
            }
            stream
        });
    }
    let mut connections = opening.join_all().await;
    println!("open");
    tokio::task::spawn_blocking(|| std::io::read_to_string(std::io::stdin())).await.expect("input").expect("input");
    let mut kept = 0;
    for connection in &mut connections {
        let ended = tokio::time::timeout(std::time::Duration::ZERO, connection.read(&mut [0])).await;
        kept += usize::from(ended.is_err());
    }
    println!("{kept}");
}

async fn open(connector: &TlsConnector, address: &str) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(address).await.expect("a connection");
    stream.set_nodelay(true).expect("an option");
    let name = ServerName::try_from("localhost").expect("a name");
    let mut stream = connector.connect(name, stream).await.expect("TLS");
    ask(&mut stream).await;
    stream
}

async fn ask(stream: &mut TlsStream<TcpStream>) {
    stream.write_all(REQUEST).await.expect("a request");
    let (mut answer, mut buffer) = (Vec::new(), [0; 1024]);
    while !answer.ends_with(b"ok\n") {
        let count = stream.read(&mut buffer).await.expect("an answer");
        assert_ne!(count, 0, "the server closed a connection");
        answer.extend_from_slice(&buffer[..count]);
    }
}
