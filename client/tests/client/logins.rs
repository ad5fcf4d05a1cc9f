//! A private server: names and passwords are given to it, and to nobody else.

use std::fs;

use crate::template::{BEGUN, IMAGE, arguments, begun, fill};
use crate::world::{Host, Said, Server, bookworm, is_root};

/// What a request says of Ann, whose password is `s3cret`.
const ANN: &str = "Basic YW5uOnMzY3JldA==";
const ENTRY: &str = "machine 127.0.0.1 login ann password s3cret\n";

fn private() -> Server {
    let server = Server::publishing(&[bookworm()]);
    *server.shared.login.lock().unwrap() = Some(ANN);
    server
}

fn with_netrc(server: &Server, netrc: &str) -> Host {
    let host = Host::trusting(server);
    fs::create_dir_all(host.at("home")).unwrap();
    fs::write(host.at("home/.netrc"), netrc).unwrap();
    host
}

/// Whether the password is in anything that was written below the host's directories, `.netrc` apart.
fn is_written(host: &Host) -> bool {
    let mut files = ["config", "state", "cache", "containers", "begun", "log"].map(|below| host.tree(below)).concat();
    files.push(host.at("log"));
    files.iter().filter_map(|path| fs::read(path).ok()).any(|content| content.windows(6).any(|word| word == b"s3cret"))
}

#[test]
fn a_server_that_asks_for_a_name_and_a_password_gets_those_of_netrc() {
    let server = private();
    let host = with_netrc(&server, ENTRY);
    let log = format!("-l trace -o {}", host.at("log").display());
    let said = host.run(&format!("{log} fetch debian/12")).succeeds();
    assert!(!said.stderr.contains("s3cret") && !is_written(&host), "{}", said.stderr);
    let elsewhere = with_netrc(&server, "");
    fs::write(elsewhere.at("other"), ENTRY).unwrap();
    let mut command = elsewhere.rootcellar("list");
    Said::of(&command.env("NETRC", elsewhere.at("other")).output().unwrap()).succeeds();
}

#[test]
fn the_template_takes_the_login_from_netrc_and_it_is_in_no_argument_and_no_file() {
    if !is_root() {
        return;
    }
    let server = private();
    let host = with_netrc(&server, ENTRY);
    begun(&host, "p1", BEGUN);
    let said = fill(&host, "p1", IMAGE).succeeds();
    assert!(!format!("{}{}", said.stdout, said.stderr).contains("s3cret") && !is_written(&host));
    assert!(!said.stderr.contains("warning"), "{}", said.stderr);
}

#[test]
fn without_a_login_it_is_said_where_it_belongs() {
    let server = private();
    for netrc in ["", "machine other.example.org login ann password s3cret\n", "machine 127.0.0.1 login ann\n"] {
        let host = with_netrc(&server, netrc);
        let said = host.run("list").refuses("status 401");
        assert!(said.stderr.contains("hint: it wants a name and a password: `machine HOST"), "{}", said.stderr);
    }
    let host = with_netrc(&server, "machine 127.0.0.1 login ann password s3cret-no-more\n");
    assert!(!host.run("list").refuses("status 401").stderr.contains("s3cret"));
}

#[test]
fn a_password_on_the_command_line_is_used_with_a_warning_and_never_shown() {
    let server = private();
    let host = Host::trusting(&server);
    let url = server.url().replace("http://", "http://ann:s3cret@");
    let line = format!("list --server {url} --fingerprint {}", server.fingerprint());
    let said = host.run(&line).succeeds();
    assert!(said.stderr.contains("warning: everybody who lists processes reads the password"), "{}", said.stderr);
    begun(&host, "p1", BEGUN);
    let line = format!("{IMAGE} -l --server {url} --fingerprint {}", server.fingerprint());
    let listed = Said::of(&host.template().args(arguments(&host, "p1", &line)).output().unwrap());
    assert!(listed.stdout.contains("bookworm"), "{}", listed.stderr);
    assert!(listed.stderr.contains("LXC writes it into the container's configuration"), "{}", listed.stderr);
    for said in [said, listed] {
        assert!(!format!("{}{}", said.stdout, said.stderr).contains("s3cret"), "{}", said.stderr);
    }
    assert!(!is_written(&host));
}

#[test]
fn a_remote_is_not_stored_with_a_password() {
    let server = private();
    let host = Host::new();
    let url = server.url().replace("http://", "http://ann:s3cret@");
    let add = |url: &str| host.run(&format!("remote add home {url} --fingerprint {}", server.fingerprint()));
    let said = add(&url).refuses("has a password in it");
    assert!(
        said.stderr.contains("hint: give the address without, and put `machine 127.0.0.1 login"),
        "{}",
        said.stderr
    );
    assert!(!said.stderr.contains("s3cret") && !host.at("config/client.toml").exists(), "{}", said.stderr);
    fs::create_dir_all(host.at("home")).unwrap();
    fs::write(host.at("home/.netrc"), ENTRY).unwrap();
    add(&server.url()).succeeds();
    host.run("fetch debian/12").succeeds();
}
