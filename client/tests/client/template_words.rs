//! What the stock template says when it fails is said by ours, too, where scripts look for it.

use std::fs;
use std::process::Command;

use formats::record::BuildFile;
use testkit::{EntryType, FakeImage};

use crate::template::{BEGUN, IMAGE, arguments, begun};
use crate::world::{Host, PROGRAM, Said, Server, bookworm, is_root, path_of};

#[derive(Clone, Copy)]
enum Stream {
    Stdout,
    Stderr,
}

use Stream::{Stderr, Stdout};

/// Ends with 1, and this is the last line of stdout, or the one of stderr before our own words.
#[track_caller]
fn says(said: &Said, stream: Stream, line: &str) {
    assert_eq!(said.code, 1, "{}{}", said.stdout, said.stderr);
    let (ours, own) = (&said.stderr, format!("{line}\n"));
    match stream {
        Stdout => assert!(said.stdout.ends_with(&own) && !ours.contains(line), "{}{ours}", said.stdout),
        Stderr => assert!(ours.contains(&format!("{own}error: ")) && !said.stdout.contains(line), "{ours}"),
    }
}

fn fill(image: &FakeImage, line: &str, change: impl FnOnce(&Server)) -> (Said, String) {
    let server = Server::publishing(std::slice::from_ref(image));
    change(&server);
    let host = Host::trusting(&server);
    begun(&host, "p1", BEGUN);
    (Said::of(&host.template().args(arguments(&host, "p1", line)).output().unwrap()), server.url())
}

#[test]
fn every_failure_that_the_stock_template_knows_is_said_in_its_words_on_its_stream() {
    if !is_root() {
        return;
    }
    let whole = |_: &Server| ();
    let path = path_of(&bookworm(), BuildFile::RootfsTarXz);
    let without = |server: &Server| drop(server.files.lock().unwrap().remove(&path));
    let (said, url) = fill(&bookworm(), IMAGE, without);
    says(&said, Stderr, &format!("ERROR: Failed to download {url}/{path}"));
    let (said, _) = fill(&bookworm(), "-d debian -r sarge -a amd64", whole);
    says(&said, Stdout, "ERROR: Couldn't find a matching image");
    let (said, _) = fill(&bookworm().without_member("config").without_member("config-user"), IMAGE, whole);
    says(&said, Stderr, "ERROR: meta tarball is missing the configuration file");
    let broken = bookworm().metadata_lie(|lies| {
        lies.lie(EntryType::Regular, "build_id", "", b"x");
    });
    says(&fill(&broken, IMAGE, whole).0, Stdout, "ERROR: Invalid meta tarball.");
}

#[test]
fn without_a_container_the_stock_templates_words_are_said() {
    let host = Host::new();
    for words in [&[][..], &["--path=/x", "--rootfs=/x/y"], &["--name=x", "-d", "debian"]] {
        let said = Said::of(&host.template().args(words).output().unwrap());
        says(&said, Stderr, "ERROR: Please pass the name, path, and rootfs for the container");
    }
}

#[test]
fn in_a_user_namespace_without_a_map_the_stock_templates_words_are_said() {
    if !is_root() {
        return;
    }
    // The namespace has to be a plain user's: that of root shares the system's directories.
    let host = Host::new();
    fs::copy(PROGRAM, host.at("lxc-download")).unwrap();
    assert!(Command::new("chown").args(["-R", "65534:65534"]).arg(host.at("")).status().unwrap().success());
    let mut command = host.command("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "unshare", "-U", "-r", "--"]);
    command.arg(host.at("lxc-download")).args(["--name=x", "--path=/x", "--rootfs=/x/y", "--mapped-uid=-1"]);
    let said = Said::of(&command.output().unwrap());
    if said.stderr.contains("unshare: ") {
        testkit::skip("no user namespace can be made here");
        return;
    }
    says(&said, Stderr, "ERROR: In a user namespace without a map");
}

#[test]
fn no_error_of_the_stock_template_of_this_machine_is_forgotten() {
    let Ok(stock) = fs::read_to_string("/usr/share/lxc/templates/lxc-download") else {
        testkit::skip("LXC's templates are not installed");
        return;
    };
    let ours = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/template/error.rs")).unwrap();
    let errors = stock.lines().filter_map(|line| line.trim().strip_prefix("echo \"ERROR: "));
    let errors: Vec<&str> = errors.map(|rest| rest.split(['"', '$']).next().unwrap_or_default()).collect();
    assert!(errors.len() >= 6, "{errors:?}");
    for error in errors {
        // There are no tools; LXC 5 calls the metadata the rootfs in one place.
        let is_ours = ours.contains(error.trim_end_matches("https://"));
        assert!(is_ours || error.starts_with("Missing required tool") || error == "Invalid rootfs tarball.", "{error}");
    }
}
