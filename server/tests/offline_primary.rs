//! The primary secret of the repository key can live offline: keys/README.md says how, with GnuPG.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use testkit::FakeImage;

use crate::support::{World, need, run};

#[test]
fn a_server_that_holds_only_the_signing_subkey_signs_and_the_offline_key_prolongs_it() {
    need!("gpg", "gpgv");
    let world = World::publishing(&[FakeImage::new("debian/trixie/amd64/default")]);
    let fingerprint = world.fingerprint("repository");
    let key = world.data().join("keys/repository.secret.pgp");
    let whole = fs::read(&key).unwrap();
    let home = world.path("gnupg");
    fs::create_dir(&home).unwrap();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
    let gpg = |args: &[&str]| {
        let mut gpg = Command::new("gpg");
        gpg.env("GNUPGHOME", &home).args(["--batch", "--pinentry-mode", "loopback", "--passphrase", ""]);
        run(gpg.args(args))
    };
    gpg(&["--import", key.to_str().unwrap()]).succeeds();
    for prolong in [None, Some(["--quick-set-expire", &fingerprint, "5y", "*"])] {
        if let Some(prolong) = prolong {
            gpg(&prolong).succeeds();
        }
        let subkey = gpg(&["--armor", "--export-secret-subkeys", &fingerprint]).succeeds().stdout;
        fs::write(&key, &subkey).unwrap();
        assert_ne!(fs::read(&key).unwrap(), whole);
        world.run(&["publish"]).succeeds();
        assert_eq!(world.fingerprint("repository"), fingerprint);
        let certificate = world.current().join(format!("keys/{fingerprint}.pgp"));
        let signed = world.current().join("streams/v1/index.sjson");
        run(Command::new("gpgv").arg("--keyring").arg(certificate).arg(signed)).succeeds();
    }
    let _ = run(Command::new("gpgconf").env("GNUPGHOME", &home).args(["--kill", "all"]));
}
