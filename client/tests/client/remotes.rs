//! A server's key is pinned once, by a person or by its fingerprint, and images are found by their names.

use formats::record::BuildFile;
use testkit::FakeImage;

use crate::world::{Claims, Host, Server, bookworm, stranger};

#[test]
fn a_remote_is_added_by_its_fingerprint_and_used_by_its_name() {
    let server = Server::publishing(&[bookworm()]);
    let host = Host::new();
    host.run(&format!("remote add home {} --fingerprint {}", server.url(), server.fingerprint())).succeeds();
    host.run(&format!("remote add home {} --fingerprint {}", server.url(), server.fingerprint()))
        .refuses("already is a remote `home`");
    let said = host.run("remote list").succeeds();
    assert!(said.stdout.contains(&server.fingerprint()), "{}", said.stdout);
    host.run("info home:debian/12").succeeds();
    host.run("remote remove home").succeeds();
    host.run("info home:debian/12").refuses("there is no remote `home`");
}

#[test]
fn a_fingerprint_that_the_server_does_not_use_is_not_stored() {
    let server = Server::publishing(&[bookworm()]);
    let host = Host::new();
    let other = stranger().0.certificate().fingerprint().to_string();
    let said = host.run(&format!("remote add home {} --fingerprint {other}", server.url()));
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert!(!host.at("config/client.toml").exists());
}

#[test]
fn without_a_terminal_an_unknown_key_is_shown_with_the_command_that_pins_it() {
    let server = Server::publishing(&[bookworm()]);
    server.answer_key_lookups();
    let host = Host::new();
    let said = host.run(&format!("remote add home {}", server.url())).refuses("there is no terminal to ask on");
    let command = format!("rootcellar remote add home {} --fingerprint {}", server.url(), server.fingerprint());
    assert!(said.stderr.contains(&command), "{}", said.stderr);
    assert!(!host.at("config/client.toml").exists());
}

#[test]
fn a_static_site_introduces_itself_by_the_files_it_has() {
    let server = Server::publishing(&[bookworm()]);
    let host = Host::new();
    let line = format!("remote add home {}", server.url());
    host.run(&line).refuses("the server does not serve the certificate of key");
    server.name_certificate_by_subkeys();
    let said = host.run(&line).refuses("there is no terminal to ask on");
    assert!(said.stderr.contains(&format!("--fingerprint {}", server.fingerprint())), "{}", said.stderr);
    let asked = server.requests("");
    host.run(&line).refuses("there is no terminal to ask on");
    assert_eq!(server.requests("") - asked, 2, "the index and the certificate are all that is asked for");
    // A stranger's certificate in its place is no introduction.
    let subkey = server.key.0.certificate().subkeys().next().unwrap();
    let stranger = stranger().0.certificate().to_armored().unwrap();
    server.put(&format!("keys/{subkey}.pgp"), stranger);
    host.run(&line).refuses("the server does not serve the certificate of key");
}

#[test]
fn an_image_of_a_remote_together_with_a_server_is_refused() {
    let server = Server::publishing(&[bookworm()]);
    let host = Host::trusting(&server);
    let elsewhere = format!("--server http://127.0.0.1:9 --fingerprint {}", server.fingerprint());
    for command in ["fetch", "info", "create c1"] {
        let said = host.run(&format!("{command} {elsewhere} default:debian")).refuses("names the remote `default`");
        assert!(said.stderr.contains("hint: leave out either `default:` or `--server`"), "{}", said.stderr);
    }
    assert_eq!(server.requests(""), 0);
}

#[test]
fn remotes_are_listed_with_what_they_are_trusted_for_and_which_is_the_default() {
    let host = Host::new();
    let key = "0123456789ABCDEF0123456789ABCDEF01234567";
    host.configure(&format!(
        "default_remote = \"work\"\n[remotes.home]\nurl = \"https://home\"\nfingerprint = \"{key}\"\nca = \"/ca.pem\"\n\
         [remotes.work]\nurl = \"https://work\"\ntrust = \"tls\"\nchannel = \"testing\"\n"
    ));
    let lines: Vec<Vec<String>> = host.run("remote list").succeeds().stdout.lines().map(words).collect();
    assert_eq!(lines[0], ["NAME", "DEFAULT", "URL", "CHANNEL", "TRUST", "CA"]);
    assert_eq!(lines[1], ["home", "no", "https://home", "stable", key, "/ca.pem"]);
    assert_eq!(lines[2], ["work", "yes", "https://work", "testing", "tls", "-"]);
    let json: serde_json::Value =
        serde_json::from_str(&host.run("remote list --format json").succeeds().stdout).unwrap();
    assert_eq!(json[0]["ca"], "/ca.pem");
    assert_eq!((&json[0]["trust"], &json[0]["fingerprint"]), (&"pinned".into(), &key.into()));
    assert_eq!((&json[0]["default"], &json[1]["default"]), (&false.into(), &true.into()));
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn what_is_neither_a_container_nor_an_image_is_said_to_be_neither() {
    let host = Host::new();
    let said = host.run("info typo").refuses("there is no container `typo`");
    assert!(
        said.stderr.contains("no remote is configured") && said.stderr.contains("rootcellar ls"),
        "{}",
        said.stderr
    );
    let server = Server::publishing(&[bookworm()]);
    host.trust(&server);
    let said = host.run("info debain").refuses("there is no container `debain`");
    assert!(said.stderr.contains("did you mean `debian`"), "{}", said.stderr);
    let of_images = host.run("info --image debain").refuses("no image matches `debain`");
    assert!(!of_images.stderr.contains("container"), "{}", of_images.stderr);
}

#[test]
fn a_new_key_is_used_only_after_it_was_pinned() {
    let mut server = Server::publishing(&[bookworm()]);
    let host = Host::trusting(&server);
    host.run("list").succeeds();
    server.key = stranger();
    server.publish(Claims::fresh(5));
    host.run("list").refuses("is signed by a key that is not pinned");
    host.run(&format!("remote trust default --fingerprint {}", server.fingerprint())).succeeds();
    host.run("list").succeeds();
}

#[test]
fn images_are_listed_by_pattern_and_as_json() {
    let server = Server::publishing(&[bookworm(), FakeImage::new("alpine/3.20/arm64/cloud")]);
    let host = Host::trusting(&server);
    let said = host.run("list debian").succeeds();
    assert!(
        said.stdout.contains("debian/bookworm/amd64/default") && !said.stdout.contains("alpine"),
        "{}",
        said.stdout
    );
    let said = host.run("list --format json").succeeds();
    let rows: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 2);
    assert_eq!(rows[0]["image"], "alpine/3.20/arm64/cloud");
}

#[test]
fn a_listing_takes_a_remote_and_the_short_forms_that_name_images_elsewhere() {
    let image = |id: &str| FakeImage::new(id).alias("debian/12").alias("debian");
    let server =
        Server::publishing(&[bookworm(), image("debian/bookworm/arm64/default"), image("debian/bookworm/arm64/cloud")]);
    let host = Host::trusting(&server);
    for (pattern, expected) in [
        ("default:debian", 3),
        ("default:", 3),
        ("debian/12/arm64", 2),
        ("debian/12/aarch64", 2),
        ("default:debian/12/arm64/cloud", 1),
        ("debian/bookworm/cloud", 1),
        ("debian/amd64", 1),
    ] {
        for format in ["text", "json"] {
            let said = host.run(&format!("list {pattern} --format {format}")).succeeds();
            assert_eq!(said.stdout.matches("debian/bookworm/").count(), expected, "{pattern}: {}", said.stdout);
            assert_eq!(said.stderr, "", "{pattern}");
        }
    }
    host.run("list gone:debian").refuses("there is no remote `gone`");
}

#[test]
fn a_listing_of_nothing_says_so_and_what_there_is() {
    let server = Server::publishing(&[bookworm()]);
    let host = Host::trusting(&server);
    for format in ["text", "json"] {
        let said = host.run(&format!("list debain/12 --format {format}")).succeeds();
        let expected = "warning: no image matches `debain/12`: did you mean `debian/12`";
        assert!(said.stderr.starts_with(expected), "{}", said.stderr);
        let said = host.run(&format!("list zzz --format {format}")).succeeds();
        assert_eq!(said.stderr, "warning: no image matches `zzz`\n");
        assert!(said.stdout.lines().count() == 1, "{}", said.stdout);
    }
    let said = host.run("list debian/12@20200101_0000").succeeds();
    assert!(said.stderr.contains("`rootcellar info debian/12` shows its builds"), "{}", said.stderr);
    let bare = Server::publishing(&[]);
    host.trust(&bare);
    let said = host.run("list").succeeds();
    assert_eq!(said.stderr, format!("warning: `{}` has no images\n", bare.url()));
}

#[test]
fn what_is_said_of_an_image_as_json_has_the_digests_of_its_files() {
    let server = Server::publishing(&[bookworm()]);
    let host = Host::trusting(&server);
    let image: serde_json::Value =
        serde_json::from_str(&host.run("info --format json debian/12").succeeds().stdout).unwrap();
    let (build, record) = (&image["builds"][0], bookworm().record());
    for (key, digest) in [
        ("rootfs", record.files[&BuildFile::RootfsTarXz]),
        ("metadata", record.files[&BuildFile::MetaTarXz]),
        ("tar", record.rootfs_tar),
    ] {
        assert_eq!(build[key]["sha256"], digest.sha256.to_string(), "{key}");
        assert_eq!(build[key]["size_bytes"], digest.size_bytes, "{key}");
    }
}

#[test]
fn a_misspelt_image_is_answered_with_near_ones() {
    let server = Server::publishing(&[bookworm()]);
    let host = Host::trusting(&server);
    let said = host.run("fetch debian/bokworm").refuses("no image matches `debian/bokworm`");
    assert!(said.stderr.contains("hint: did you mean `debian/bookworm`"), "{}", said.stderr);
}

#[test]
fn without_any_remote_the_hint_says_how_to_add_one() {
    let said = Host::new().run("list").refuses("no remote is configured");
    assert!(said.stderr.contains("rootcellar remote add default"), "{}", said.stderr);
}
