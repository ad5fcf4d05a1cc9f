//! gpg and gpgv accept what we sign until its validity ends, and clients of the GPG era fetch and verify over our
//! server alone.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::support::mirror::Mirror;
use crate::support::{Outcome, Program, TestServer, fake_build, need};

const IMAGE: &str = "debian/bookworm/amd64/default";
const SERIAL: &str = "20261123_0522";

#[test]
fn gpg_and_gpgv_accept_every_signature_and_refuse_those_of_an_index_past_its_validity() {
    need!("gpg", "gpgv", "faketime");
    let (_directory, build) = fake_build(IMAGE, SERIAL);
    let server = TestServer::publishing(&[&build]);
    let (compat, repository) = (Keyring::of(&server, "compat"), Keyring::of(&server, "repository"));
    let (mut documents, mut files) = (0, 0);
    for directory in [server.documents(), server.images()] {
        for path in paths_below(&directory) {
            let Some(signed) = signed_by(&path) else { continue };
            let is_document = directory == server.documents();
            compat.gpg("now", &[&path, &signed]).succeeds();
            compat.gpgv("now", &[&path, &signed]).succeeds();
            let later = [compat.gpg("+5 days", &[&path, &signed]), compat.gpgv("+5 days", &[&path, &signed])];
            assert!(later.iter().all(|outcome| outcome.is_success() != is_document), "{later:?}");
            *(if is_document { &mut documents } else { &mut files }) += 1;
        }
    }
    assert!(documents >= 16 && files >= 3, "{documents} documents, {files} files");
    let index = server.documents().join("streams/v1/index.sjson");
    repository.gpg("now", &[&index]).succeeds();
    repository.gpgv("now", &[&index]).succeeds();
    repository.gpg("+5 days", &[&index]).fails_with(1, "xpired");
    repository.gpgv("+5 days", &[&index]).fails_with(1, "xpired");
}

#[test]
fn a_client_of_the_gpg_era_fetches_the_key_and_verifies_over_https_and_over_http_on_the_same_port() {
    need!("gpg", "dirmngr", "wget");
    let (_directory, build) = fake_build(IMAGE, SERIAL);
    let program = Program::ours("rootcellar-server").env("ROOTCELLAR_SERVER_ALLOW_PLAIN", "true");
    let server = TestServer::publishing_with(&[&build], program);
    let place = server.host_and_port();
    let keyring = Keyring::empty();
    keyring.receive(&format!("hkp://{place}"), &server.compat_fingerprint());
    let indexes = ["system", "user"].into_iter().flat_map(|mode| {
        let suffixes = ["", ".1", ".2", ".3", ".4", ".5", ".6", ".7"];
        suffixes.map(|suffix| format!("/meta/1.0/index-{mode}{suffix}"))
    });
    let files = ["rootfs.tar.xz", "meta.tar.xz"].map(|file| format!("/images/{IMAGE}/{SERIAL}//{file}"));
    let paths: Vec<String> = indexes.chain(files).collect();
    for scheme in ["https", "http"] {
        // The double slashes are those of the template.
        for path in &paths {
            let url = format!("{scheme}://{place}/{path}");
            let (file, signature) = (keyring.path("fetched"), keyring.path("fetched.asc"));
            fetch(&server, &url, &file).succeeds();
            fetch(&server, &format!("{url}.asc"), &signature).succeeds();
            keyring.gpg("now", &[&signature]).succeeds();
            fs::write(&file, b"evil").unwrap();
            keyring.gpg("now", &[&signature]).fails_with(1, "BAD signature");
        }
    }
    // Each answer at the first attempt: a template would repeat what fails three times over TLS and three times without.
    assert!(!server.log().contains("status=404"), "{}", server.log());
}

#[test]
fn nothing_that_is_served_verifies_with_the_compat_key_without_the_file_it_signs() {
    need!("gpg", "wget");
    let (_directory, build) = fake_build(IMAGE, SERIAL);
    let server = TestServer::publishing(&[&build]);
    let keyring = Keyring::of(&server, "compat");
    let document = keyring.path("document.asc");
    let mut inline = Vec::new();
    for path in Mirror::of(&server).paths() {
        if !fetch(&server, &format!("{}/{path}", server.url), &document).is_success() {
            continue;
        }
        // A template of that era runs just this, and takes a document signed inline in place of any file.
        let outcome = keyring.gpg("now", &[&document]);
        assert!(!outcome.is_success(), "{path}: {outcome:?}");
        if fs::read(&document).unwrap().starts_with(b"-----BEGIN PGP SIGNED MESSAGE") {
            inline.push(path);
        }
    }
    assert!(!inline.is_empty() && inline.iter().all(|path| path.ends_with("streams/v1/index.sjson")), "{inline:?}");
}

/// A throw-away home of gpg.
struct Keyring {
    home: TempDir,
}

impl Keyring {
    fn empty() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
        Self { home }
    }

    /// With one certificate of the server.
    fn of(server: &TestServer, name: &str) -> Self {
        let keyring = Self::empty();
        let fingerprint = if name == "compat" { server.compat_fingerprint() } else { server.fingerprint() };
        let certificate = server.documents().join(format!("keys/{fingerprint}.pgp"));
        fs::copy(&certificate, keyring.path("pubring.gpg")).unwrap();
        keyring
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Fetches a key as the templates do.
    fn receive(&self, keyserver: &str, fingerprint: &str) {
        let gpg = Program::new("gpg").env("GNUPGHOME", self.home.path());
        gpg.args(["--keyserver", keyserver, "--recv-keys", &format!("0x{fingerprint}")]).run().succeeds();
    }

    /// `gpg --verify` at a time as faketime words it.
    fn gpg(&self, time: &str, files: &[&Path]) -> Outcome {
        at(time, "gpg").env("GNUPGHOME", self.home.path()).arg("--verify").args(files).run()
    }

    fn gpgv(&self, time: &str, files: &[&Path]) -> Outcome {
        at(time, "gpgv").arg("--keyring").arg(self.path("pubring.gpg")).args(files).run()
    }
}

impl Drop for Keyring {
    fn drop(&mut self) {
        let _ = Program::new("gpgconf").env("GNUPGHOME", self.home.path()).args(["--kill", "all"]).run();
    }
}

fn at(time: &str, name: &str) -> Program {
    if time == "now" { Program::new(name) } else { Program::new("faketime").args([time, name]) }
}

/// Downloads one file as the templates do.
fn fetch(server: &TestServer, url: &str, to: &Path) -> Outcome {
    Program::new("wget")
        .arg("--ca-certificate")
        .arg(server.ca())
        .args(["-t", "1", "-T", "30", "-q", url, "-O"])
        .arg(to)
        .run()
}

/// The file that a detached signature signs.
fn signed_by(signature: &Path) -> Option<PathBuf> {
    let is_signature = signature.extension().is_some_and(|extension| extension == "asc" || extension == "gpg");
    is_signature.then(|| signature.with_extension(""))
}

fn paths_below(directory: &Path) -> Vec<PathBuf> {
    let listing = Program::new("find").args(["-L"]).arg(directory).args(["-type", "f"]).run().succeeds();
    listing.lines().map(PathBuf::from).collect()
}
