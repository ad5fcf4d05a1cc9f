//! At a terminal the key of a server is asked about once, as ssh asks, and a download shows how far it is.

use std::process::ExitStatus;
use std::time::Duration;

use crate::terminal::Terminal;
use crate::world::{Claims, Host, Server, bookworm, slowly, stranger};

const QUESTION: &str = "Is this the fingerprint its operator published? [y/N] ";

fn world() -> (Server, Host) {
    let server = Server::publishing(&[bookworm()]);
    server.answer_key_lookups();
    (server, Host::new())
}

/// Runs a command at a terminal, answers its question, and says how it ended and what was shown.
fn asked(host: &Host, line: &str, answer: &str) -> (ExitStatus, String) {
    let mut terminal = Terminal::open();
    let mut child = terminal.run(&mut host.rootcellar(line));
    terminal.shows(QUESTION);
    terminal.types(answer);
    let status = child.wait().unwrap();
    terminal.shows("\n");
    terminal.reads_what_is_left();
    (status, terminal.said)
}

#[test]
fn yes_stores_the_key_and_nobody_is_asked_again() {
    let (server, host) = world();
    let add = format!("remote add default {}", server.url());
    let (status, said) = asked(&host, &add, "y\n");
    assert_eq!(status.code(), Some(0), "{said}");
    let grouped = server.key.0.certificate().fingerprint().grouped();
    assert!(said.contains(&grouped) && said.contains("Pinned `default`"), "{said}");
    assert_eq!(said.matches(QUESTION).count(), 1, "{said}");
    assert!(host.run("remote list").stdout.contains(&server.fingerprint()));
    for line in ["list", "fetch debian/12", "info debian/12"] {
        let mut terminal = Terminal::open();
        let status = terminal.run(&mut host.rootcellar(line)).wait().unwrap();
        terminal.reads_what_is_left();
        assert!(status.success() && !terminal.said.contains("[y/N]"), "{}", terminal.said);
    }
    // The certificate is not looked up again either.
    assert!(server.requests("index.sjson") >= 3);
    let of_key = server.requests(&format!("{}.pgp", server.fingerprint()));
    assert_eq!(of_key, 1, "the pinned certificate is fetched once");
}

#[test]
fn anything_but_yes_stores_nothing_and_ends_with_1() {
    let (server, host) = world();
    for answer in ["n\n", "\n", "yesterday\n", "\x04"] {
        let (status, said) = asked(&host, &format!("remote add default {}", server.url()), answer);
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(said.contains("was not confirmed") && said.contains("nothing was stored"), "{said}");
        assert!(!host.at("config/client.toml").exists() && host.tree("state").is_empty(), "{said}");
    }
}

#[test]
fn another_key_is_asked_about_before_it_takes_the_place_of_the_pinned_one() {
    let (mut server, host) = world();
    host.trust(&server);
    let old = server.fingerprint();
    server.key = stranger();
    server.publish(Claims::fresh(5));
    server.answer_key_lookups();
    let (status, said) = asked(&host, "remote trust default", "n\n");
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("Pinned until now"), "{said}");
    assert!(host.run("remote list").stdout.contains(&old));
    let (status, said) = asked(&host, "remote trust default", "yes\n");
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(host.run("remote list").stdout.contains(&server.fingerprint()));
    host.run("list").succeeds();
}

#[test]
fn a_download_shows_its_rate_and_the_time_left_and_one_line_in_the_end() {
    let noise: Vec<u8> =
        (0_u32..1 << 18).flat_map(|n| n.wrapping_mul(2_654_435_761).rotate_left(n % 31).to_le_bytes()).collect();
    let server = Server::publishing(&[bookworm().file("usr/large", noise)]);
    let address = slowly(&server, Duration::from_millis(100));
    let host = Host::new();
    host.configure(&format!(
        "[remotes.default]\nurl = \"http://{address}\"\nfingerprint = \"{}\"\n",
        server.fingerprint()
    ));
    let mut terminal = Terminal::open();
    terminal.resize(24, 120);
    let mut child = terminal.run(&mut host.rootcellar("fetch debian/12"));
    terminal.shows("The image cache is now ready");
    assert!(child.wait().unwrap().success());
    terminal.reads_what_is_left();
    let shown: Vec<&str> = terminal.said.split("Downloading the rootfs").collect();
    // `512.0 KiB / 1.0 MiB  [#####               ]  640.0 KiB/s  0.8s left`
    let is_bar = |text: &str| {
        let Some((_, facts)) = text.split_once("[#").filter(|(done, _)| done.contains(" / ")) else { return false };
        let mut facts = facts.split("  ").map(str::trim).filter(|fact| fact.contains("/s") || fact.contains(" left"));
        let (rate, left) = (facts.next().unwrap_or_default(), facts.next().unwrap_or_default());
        rate.ends_with("iB/s") && left.contains("s left") && !left.starts_with("0.0")
    };
    assert!(shown.iter().any(|text| is_bar(text)), "{shown:?}");
    let end = shown.last().unwrap();
    assert!(end.contains(" in ") && !end.contains(" left"), "{end}");
}
