//! What the environment decides. Each fetch here is a process of its own: this one has threads, and its environment must
//! not change.

use std::process::Command;

use rootcellar_transfer::{Fetcher, FetcherOptions};

use crate::cellar::quick;
use crate::server::{Reply, Server};

/// Whether a fetch of `url` in an environment with these variables succeeds, and what it said. Needs a test with
/// several threads.
pub(crate) fn fetch_in(variables: &[(&str, &str)], url: &str) -> (bool, String) {
    let mut fetch = Command::new(std::env::current_exe().unwrap());
    fetch.args(["--exact", "environment::fetch_as_told", "--ignored", "--nocapture"]);
    for unwanted in ["SSL_CERT_FILE", "SSL_CERT_DIR", "no_proxy", "NO_PROXY"] {
        fetch.env_remove(unwanted);
    }
    fetch.env(URL, url).envs(variables.iter().copied());
    let output = tokio::task::block_in_place(|| fetch.output()).unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test]
#[ignore = "run by other tests, which set its environment"]
async fn fetch_as_told() {
    let given = std::env::var_os(CA_FILE).map(std::path::PathBuf::from);
    let options = FetcherOptions { limits: quick(), ca_file: given, ..FetcherOptions::default() };
    let document = Fetcher::new(options).unwrap().document(&std::env::var(URL).unwrap(), 100).await.unwrap();
    eprintln!("fetched `{}`", String::from_utf8(document).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_in_the_environment_is_used() {
    let proxy = Server::start(|ask| Reply::whole(format!("{} by proxy", ask.path).as_bytes()));
    let (succeeded, said) = fetch_in(&[("http_proxy", &proxy.url(""))], "http://images.example/index");
    assert!(succeeded && said.contains("fetched `/index by proxy`"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn this_machine_is_never_asked_through_a_proxy() {
    let proxy = Server::start(|_| Reply::whole(b"by proxy"));
    let server = Server::start(|_| Reply::whole(b"direct"));
    let (succeeded, said) = fetch_in(&[("http_proxy", &proxy.url(""))], &server.url("/index"));
    assert!(succeeded && said.contains("fetched `direct`"), "{said}");
    assert!(proxy.asked().is_empty());
}

const URL: &str = "ROOTCELLAR_TEST_URL";
/// A file of certificates to trust besides those of the system.
pub(crate) const CA_FILE: &str = "ROOTCELLAR_TEST_CA_FILE";
