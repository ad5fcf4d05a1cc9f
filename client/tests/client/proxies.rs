//! By https through a proxy: the proxy is told where to connect to, and sees nothing else.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::tls::Encrypted;
use crate::world::{Host, Said, Server, bookworm};

/// A proxy that connects whoever asks to one place, wherever they want to go.
struct Proxy {
    address: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn to(place: &str, answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let (place, seen) = (place.to_owned(), heads.clone());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (mut client, place, seen) = (client.unwrap(), place.clone(), seen.clone());
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(client.try_clone().unwrap());
                    let mut head = String::new();
                    while reader.read_line(&mut head).unwrap() > 2 {}
                    seen.lock().unwrap().push(head);
                    client.write_all(format!("HTTP/1.1 {answer}\r\n\r\n").as_bytes()).unwrap();
                    if answer.starts_with("200") {
                        let mut server = TcpStream::connect(place).unwrap();
                        let mut to_server = server.try_clone().unwrap();
                        std::thread::spawn(move || std::io::copy(&mut reader, &mut to_server));
                        let _ = std::io::copy(&mut server, &mut client);
                    }
                });
            }
        });
        Self { address, heads }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

/// A server that only the proxy finds, and a host that trusts its key.
fn world() -> (Server, Host, Encrypted) {
    let (server, host) = (Server::publishing(&[bookworm()]), Host::new());
    let encrypted = server.encrypt_as("images.invalid", &host);
    (server, host, encrypted)
}

fn fetch(host: &Host, server: &Server, more: &str, environment: &[(&str, &str)]) -> Said {
    let key = server.fingerprint();
    let line = format!("fetch debian/12 --server https://images.invalid --fingerprint {key} {more}");
    let mut command = host.rootcellar(&line);
    for name in ["no_proxy", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"] {
        command.env_remove(name);
    }
    Said::of(&command.envs(environment.iter().copied()).output().unwrap())
}

#[test]
fn an_image_is_fetched_through_the_proxy_with_a_certificate_of_a_private_authority() {
    let (server, host, encrypted) = world();
    let proxy = Proxy::to(&encrypted.address, "200 Connection established");
    let through = format!("http://{}", proxy.address);
    let ca = format!("--ca {}", encrypted.ca.display());
    // The proxy is no reason to trust anybody.
    fetch(&host, &server, "", &[("https_proxy", &through)]).refuses("UnknownIssuer");
    assert_eq!(server.requests(""), 0);
    fetch(&host, &server, &ca, &[("https_proxy", &through)]).succeeds();
    assert_eq!(server.requests("rootfs.tar.xz"), 1);
    let heads = proxy.heads();
    assert!(heads.iter().all(|head| head.starts_with("CONNECT images.invalid:443 HTTP/1.1\r\n")), "{heads:?}");
    assert!(!heads.concat().contains("index.sjson"), "{heads:?}");
}

#[test]
fn the_certificates_of_the_environment_count_behind_a_proxy_too() {
    let (server, host, encrypted) = world();
    let proxy = Proxy::to(&encrypted.address, "200 OK");
    let (through, ca) = (format!("http://{}", proxy.address), encrypted.ca.display().to_string());
    fetch(&host, &server, "", &[("all_proxy", &through), ("SSL_CERT_FILE", &ca)]).succeeds();
    let heads = proxy.heads().len();
    assert!(heads > 0);
    // Without the proxy nobody knows the name.
    let around = [("all_proxy", through.as_str()), ("no_proxy", "images.invalid"), ("SSL_CERT_FILE", ca.as_str())];
    assert_eq!(fetch(&Host::new(), &server, "", &around).code, 2);
    assert_eq!(proxy.heads().len(), heads, "an exception is not asked through the proxy");
}

#[test]
fn a_name_and_a_password_are_given_to_the_proxy_and_shown_to_nobody() {
    let (server, host, encrypted) = world();
    let proxy = Proxy::to(&encrypted.address, "407 Proxy Authentication Required");
    let through = format!("http://ada:secret@{}", proxy.address);
    let ca = format!("--ca {} -l debug", encrypted.ca.display());
    let said = fetch(&host, &server, &ca, &[("https_proxy", &through)]);
    assert_ne!(said.code, 0);
    assert!(!said.stderr.contains("secret"), "{}", said.stderr);
    // base64 of `ada:secret`
    let heads = proxy.heads();
    assert!(heads[0].to_lowercase().contains("proxy-authorization: basic ywrhonnly3jlda=="), "{heads:?}");
    assert_eq!(server.requests(""), 0);
}
