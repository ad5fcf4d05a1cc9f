//! The server is the key server of stock templates of the GPG era.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use testkit::FakeImage;

use crate::support::{Server, World, need, run};

fn server() -> (World, Server) {
    let world = World::publishing(&[FakeImage::new("debian/trixie/amd64/default")]);
    let server = world.serve();
    (world, server)
}

#[test]
fn a_key_is_found_by_each_of_its_ids_and_no_other_is() {
    let (world, server) = server();
    let fingerprint = world.fingerprint("compat");
    for id in [&fingerprint[..], &fingerprint[24..], &fingerprint[32..]] {
        let answer = server.get(&format!("/pks/lookup?op=get&options=mr&search=0x{id}"));
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/pgp-keys")), "{id}");
        assert!(answer.text().starts_with("-----BEGIN PGP PUBLIC KEY BLOCK-----"), "{id}");
        let index = server.get(&format!("/pks/lookup?op=index&options=mr&search=0x{id}"));
        assert!(index.text().starts_with(&format!("info:1:1\npub:{fingerprint}:")), "{}", index.text());
    }
    assert_eq!(server.get("/pks/lookup?op=get&options=mr&search=0xDEADBEEF").status, 404);
    assert_eq!(server.get("/pks/lookup?op=add&search=0xDEADBEEF").status, 400);
}

#[test]
fn gpg_fetches_the_key_and_verifies_an_index_as_the_stock_template_does() {
    need!("gpg", "dirmngr");
    let (world, server) = server();
    let home = world.path("gnupg");
    fs::create_dir(&home).unwrap();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
    let gpg = || {
        let mut gpg = Command::new("gpg");
        gpg.env("GNUPGHOME", &home);
        gpg
    };
    let keyserver = format!("hkp://{}", server.address());
    let fetched = run(gpg().args(["--keyserver", &keyserver, "--recv-keys", &world.fingerprint("compat")]));
    let _ = run(Command::new("gpgconf").env("GNUPGHOME", &home).args(["--kill", "all"]));
    fetched.succeeds();
    for name in ["index", "index.asc"] {
        let path = name.replace("index", "//meta/1.0/index-user.4");
        fs::write(world.path(name), server.get(&path).body).unwrap();
    }
    run(gpg().arg("--verify").arg(world.path("index.asc"))).succeeds();
    fs::write(world.path("index"), "evil").unwrap();
    assert_ne!(run(gpg().arg("--verify").arg(world.path("index.asc"))).status, Some(0));
    let _ = run(Command::new("gpgconf").env("GNUPGHOME", &home).args(["--kill", "all"]));
}
