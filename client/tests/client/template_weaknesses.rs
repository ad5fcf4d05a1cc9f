//! What the stock template is known to do wrong, and ours must not.

use std::fs;
use std::process::Stdio;

use testkit::FakeImage;

use crate::template::{BEGUN, IMAGE, arguments, begun, fill};
use crate::template_surroundings::mapped_command;
use crate::world::{Fault, Host, Said, Server, bookworm, is_root};

fn from(server: &Server, key: &str) -> String {
    format!("{IMAGE} --server {} --fingerprint {key}", server.url())
}

#[test]
fn what_was_cached_of_one_server_or_key_never_fills_a_container_from_another() {
    if !is_root() {
        return;
    }
    let [one, other] = ["one", "other"].map(|whose| Server::publishing(&[bookworm().file("etc/whose", whose)]));
    let host = Host::new();
    for (name, server, whose) in [("a", &one, "one"), ("b", &other, "other"), ("c", &one, "one")] {
        begun(&host, name, BEGUN);
        fill(&host, name, &from(server, &server.fingerprint())).succeeds();
        assert_eq!(fs::read_to_string(host.at(&format!("begun/{name}/rootfs/etc/whose"))).unwrap(), whose);
    }
    assert_eq!((one.requests("rootfs.tar.xz"), other.requests("rootfs.tar.xz")), (1, 1));
    // What a server vouched for with one key is nothing under another.
    for flags in ["", "--force-cache"] {
        begun(&host, "d", BEGUN);
        fill(&host, "d", &format!("{} {flags}", from(&one, &other.fingerprint())))
            .refuses("does not exist on the server");
        assert_eq!(fs::read_dir(host.at("begun/d/rootfs")).unwrap().count(), 0);
    }
}

#[test]
fn what_was_cached_for_the_system_is_a_users_edition_for_a_user() {
    if !is_root() {
        return;
    }
    let image = bookworm().file("etc/system-only", "").member("excludes-user", "./etc/system-only\n");
    let server = Server::publishing(&[image]);
    let host = Host::trusting(&server);
    for (name, is_mapped) in [("system", false), ("user", true), ("again", false)] {
        begun(&host, name, BEGUN);
        if is_mapped {
            let said = Said::of(&mapped_command(&host, name).output().unwrap());
            if said.stderr.contains("unshare: ") {
                testkit::skip("no user namespace can be made here");
                return;
            }
            said.succeeds();
        } else {
            fill(&host, name, IMAGE).succeeds();
        }
        let config = fs::read_to_string(host.at(&format!("begun/{name}/config"))).unwrap();
        assert_eq!(config.contains("userns.conf"), is_mapped, "{name}: {config}");
        assert_eq!(host.at(&format!("begun/{name}/rootfs/etc/system-only")).exists(), !is_mapped, "{name}");
    }
    assert_eq!(server.requests("rootfs.tar.xz"), 1);
}

#[test]
fn of_many_templates_at_once_one_downloads_and_all_fill_their_containers() {
    if !is_root() {
        return;
    }
    let server = Server::publishing(&[bookworm().file("srv/big", vec![b'x'; 3 << 20])]);
    let host = Host::trusting(&server);
    let names: Vec<String> = (0..6).map(|number| format!("c{number}")).collect();
    let begin = |name: &String| {
        begun(&host, name, BEGUN);
        let mut template = host.template();
        template.args(arguments(&host, name, IMAGE)).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<_> = names.iter().map(begin).collect();
    for (name, child) in names.iter().zip(children) {
        Said::of(&child.wait_with_output().unwrap()).succeeds();
        assert_eq!(fs::read(host.at(&format!("begun/{name}/rootfs/srv/big"))).unwrap(), vec![b'x'; 3 << 20]);
    }
    assert_eq!(server.requests("rootfs.tar.xz"), 1);
}

#[test]
fn images_of_a_builder_that_paused_are_not_expired_for_ever() {
    if !is_root() {
        return;
    }
    // Its expiry was years ago when it was downloaded, in the metadata as in the signed documents.
    let old = FakeImage::new("debian/bookworm/amd64/default").serial("20200101_0000").member("expiry", "1577923200\n");
    let server = Server::publishing(&[old]);
    let host = Host::trusting(&server);
    begun(&host, "first", BEGUN);
    fill(&host, "first", IMAGE).succeeds();
    let asked = server.requests("index.sjson");
    server.fails(Some(Fault::Gone));
    begun(&host, "second", BEGUN);
    let said = fill(&host, "second", IMAGE).succeeds();
    assert!(said.stdout.starts_with("Using image from local cache\n"), "{}", said.stdout);
    assert_eq!((server.requests("index.sjson"), server.requests("rootfs.tar.xz")), (asked, 1));
}

#[test]
fn who_names_an_image_that_is_not_there_is_told_names_like_it() {
    let cloud = FakeImage::new("debian/trixie/amd64/cloud");
    let server = Server::publishing(&[bookworm(), cloud]);
    let host = Host::trusting(&server);
    begun(&host, "p1", BEGUN);
    for (line, near) in [
        ("-d debain -r bookworm -a amd64", "debian/bookworm/amd64"),
        ("-d debian -r bookwrm -a amd64", "debian/bookworm"),
        ("-d debian -r trixie -a amd64", "debian/trixie/amd64/cloud"),
        ("-d debian -r trixie -a amd64 --variant clod", "debian/trixie/amd64/cloud"),
    ] {
        let said = fill(&host, "p1", line).refuses("no image matches");
        let hint = said.stderr.lines().find(|line| line.starts_with("hint: did you mean")).unwrap_or_default();
        // The part that names what this host is may be left out.
        let parts = near.split('/').filter(|part| *part != "amd64");
        assert!(parts.into_iter().all(|part| hint.contains(part)), "{line}: {}", said.stderr);
        assert!(said.stdout.ends_with("ERROR: Couldn't find a matching image\n"), "{}", said.stdout);
    }
}
