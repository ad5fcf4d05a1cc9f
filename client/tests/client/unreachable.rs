//! When the server cannot be reached, what is cached still makes containers, and every hint can be followed.

use std::fs;
use std::process::{Command, Stdio};

use formats::record::BuildFile;

use crate::cache::expire;
use crate::template::{BEGUN, IMAGE, arguments, begun, fill};
use crate::world::{Fault, Host, Said, Server, bookworm, is_root};

/// Runs them at the same time: each has patience with the server.
fn all(commands: Vec<Command>) -> Vec<Said> {
    let start = |mut command: Command| command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let started: Vec<_> = commands.into_iter().map(start).collect();
    started.into_iter().map(|child| Said::of(&child.wait_with_output().unwrap())).collect()
}

#[test]
fn the_template_tells_that_an_expired_copy_is_unchanged() {
    if !is_root() {
        return;
    }
    let server = Server::publishing(&[bookworm()]);
    let host = Host::trusting(&server);
    begun(&host, "a", BEGUN);
    fill(&host, "a", IMAGE).succeeds();
    expire(&host);
    for (name, expected) in [
        (
            "b",
            "The cached copy has expired, re-downloading...\nDownloading the image index\n\
             The cache is already up to date\nUsing image from local cache\nUnpacking the rootfs\n",
        ),
        ("c", "Using image from local cache\nUnpacking the rootfs\n"),
    ] {
        begun(&host, name, BEGUN);
        let said = fill(&host, name, IMAGE).succeeds();
        assert!(said.stdout.starts_with(expected), "{}", said.stdout);
    }
    assert_eq!(server.requests("rootfs.tar.xz"), 1);
}

#[test]
fn the_template_says_how_an_expired_copy_is_used_without_the_server() {
    if !is_root() {
        return;
    }
    let server = Server::publishing(&[bookworm()]);
    let host = Host::trusting(&server);
    begun(&host, "a", BEGUN);
    fill(&host, "a", IMAGE).succeeds();
    expire(&host);
    server.fails(Some(Fault::Gone));
    begun(&host, "b", BEGUN);
    let said = fill(&host, "b", IMAGE).refuses("error: ");
    assert!(said.stdout.starts_with("The cached copy has expired"), "{}", said.stdout);
    assert!(said.stderr.ends_with("hint: `--force-cache` uses what is cached\n"), "{}", said.stderr);
    let said = fill(&host, "b", &format!("{IMAGE} --force-cache")).succeeds();
    assert!(said.stdout.starts_with("Using image from local cache\nUnpacking the rootfs\n"), "{}", said.stdout);
}

#[test]
fn only_commands_that_can_do_without_the_server_say_so() {
    let server = Server::publishing(&[bookworm()]);
    let host = Host::trusting(&server);
    server.fails(Some(Fault::Gone));
    let silent = ["list", "info debian/12", "cache warm debian/12"];
    let advising = ["create web1 debian/12", "fetch debian/12"];
    let lines: Vec<&str> = silent.into_iter().chain(advising).collect();
    let said = all(lines.iter().map(|line| host.rootcellar(line)).collect());
    for (line, said) in lines.iter().zip(said) {
        assert_eq!(said.code, 2, "{line}: {}", said.stderr);
        assert_eq!(said.stderr.contains("--offline"), advising.contains(line), "{line}: {}", said.stderr);
    }
}

#[test]
fn the_log_file_has_the_error_that_ended_the_program_its_hint_and_the_warnings() {
    let server = Server::publishing(&[bookworm()]);
    let host = Host::trusting(&server);
    host.run("fetch debian/12").succeeds();
    expire(&host);
    let line = format!("-q fetch debian/12 --offline -l INFO -o {}", host.at("log").display());
    host.run(&line).succeeds();
    fs::remove_file(host.cached(&bookworm(), BuildFile::RootfsTarXz)).unwrap();
    let said = host.run(&line).refuses("error: no undamaged build");
    let log = fs::read_to_string(host.at("log")).unwrap();
    for line in said.stderr.lines() {
        let (_, message) = line.split_once(": ").unwrap();
        assert!(log.contains(message), "`{message}` in: {log}");
    }
    assert!(log.contains("should have been refreshed by") && log.contains("hint: without `--offline`"), "{log}");
    let without_file = host.run("-q fetch debian/12 --offline -l INFO").refuses("error: ");
    assert_eq!(without_file.stderr.matches("no undamaged build").count(), 1, "{}", without_file.stderr);
}

#[test]
fn the_template_names_only_what_lxc_create_passes_on() {
    let server = Server::publishing(&[bookworm()]);
    let host = Host::trusting(&server);
    begun(&host, "p1", BEGUN);
    let mut template = host.template();
    template.args(arguments(&host, "p1", IMAGE)).env("ROOTCELLAR_STATE_DIR", "/proc/nowhere");
    let said = Said::of(&template.output().unwrap()).refuses("/proc/nowhere");
    assert!(said.stderr.contains("hint: `ROOTCELLAR_STATE_DIR` names another directory"), "{}", said.stderr);
    let said = fill(&host, "p1", "-d zzz -r zzz -a amd64").refuses("no image matches");
    assert!(said.stderr.contains("hint: `--list` shows what there is"), "{}", said.stderr);
}
