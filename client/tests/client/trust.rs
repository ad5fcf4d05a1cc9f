//! What a server sends is used only if the pinned key vouches for every byte of it; else nothing is created.

use formats::layout;
use formats::record::BuildFile;
use formats::time::Span;

use crate::world::{Claims, Host, Said, Server, bookworm, key_of, now, path_of, serial, stranger};

fn world() -> (Server, Host) {
    let server = Server::publishing(&[bookworm()]);
    let host = Host::trusting(&server);
    (server, host)
}

/// Nothing was created, and nothing that was refused can be used offline either.
fn nothing_came_of_it(host: &Host) {
    assert!(host.tree("containers").is_empty(), "{:?}", host.tree("containers"));
    host.run("fetch debian/12 --offline").refuses("is in the cache");
}

#[test]
fn one_flipped_byte_in_a_build_file_is_refused() {
    for file in [BuildFile::RootfsTarXz, BuildFile::MetaTarXz] {
        let (server, host) = world();
        let path = path_of(&bookworm(), file);
        let mut content = server.get(&path);
        let middle = content.len() / 2;
        content[middle] ^= 1;
        server.put(&path, content);
        host.run("fetch debian/12").refuses("does not match its digest");
        nothing_came_of_it(&host);
    }
}

#[test]
fn one_flipped_byte_in_a_products_file_is_refused() {
    let (server, host) = world();
    let path = server.paths(".json").pop().unwrap();
    let content = String::from_utf8(server.get(&path)).unwrap().replace("\"Debian\"", "\"Debiam\"");
    server.put(&path, content.into_bytes());
    host.run("fetch debian/12").refuses("is not the file the signed index names");
    nothing_came_of_it(&host);
}

#[test]
fn one_flipped_byte_in_the_index_is_refused() {
    let (server, host) = world();
    let content = String::from_utf8(server.get(layout::SIGNED_INDEX)).unwrap().replace("\"stable\"", "\"stabld\"");
    server.put(layout::SIGNED_INDEX, content.into_bytes());
    host.run("fetch debian/12").refuses("was altered after it was signed");
    nothing_came_of_it(&host);
}

#[test]
fn another_file_of_the_same_server_in_the_place_of_the_rootfs_is_refused() {
    let (server, host) = world();
    server.put(&path_of(&bookworm(), BuildFile::RootfsTarXz), server.get(&path_of(&bookworm(), BuildFile::MetaTarXz)));
    let said = host.run("fetch debian/12");
    assert_eq!(said.code, 1, "{}", said.stderr);
    nothing_came_of_it(&host);
}

#[test]
fn an_expired_index_is_refused_unless_that_is_typed_out() {
    let (server, host) = world();
    let published = now() - Span::from_days(3);
    let serial = u64::try_from(published.unix()).unwrap();
    server.publish(Claims { serial, published, expires: published + Span::from_days(1) });
    host.run("fetch debian/12").refuses("the index expired");
    nothing_came_of_it(&host);
    let said = host.run("fetch debian/12 --accept-expired-index").succeeds();
    assert!(said.stderr.contains("warning: the index of"), "{}", said.stderr);
}

#[test]
fn a_replayed_older_index_is_refused_even_with_an_empty_cache() {
    let (server, host) = world();
    let older = server.get(layout::SIGNED_INDEX);
    server.publish(Claims::fresh(10));
    host.run("list").succeeds();
    server.put(layout::SIGNED_INDEX, older);
    std::fs::remove_dir_all(host.at("cache")).unwrap();
    host.run("fetch debian/12").refuses("the index was rolled back");
    nothing_came_of_it(&host);
}

#[test]
fn an_index_by_a_key_that_is_not_pinned_is_refused() {
    let (server, host) = world();
    server.publish_signed_by(&stranger(), Claims::fresh(1));
    host.run("fetch debian/12").refuses("is signed by a key that is not pinned");
    nothing_came_of_it(&host);
}

#[test]
fn a_mirror_of_a_stranger_is_refused_for_its_key_after_the_right_server_was_seen() {
    let (server, host) = world();
    host.run("list").succeeds();
    server.publish_signed_by(&stranger(), Claims::fresh(1));
    server.files.lock().unwrap().remove(&layout::certificate(&server.fingerprint()));
    host.run("fetch debian/12").refuses("is signed by a key that is not pinned");
    nothing_came_of_it(&host);
}

#[test]
fn a_certificate_other_than_the_pinned_one_is_refused() {
    let (server, host) = world();
    let stranger = stranger();
    server.publish_signed_by(&stranger, Claims::fresh(1));
    server.put(&layout::certificate(&server.fingerprint()), stranger.0.certificate().to_armored().unwrap());
    host.run("fetch debian/12").refuses("is signed by a key that is not pinned");
    nothing_came_of_it(&host);
}

#[test]
fn a_server_that_is_not_pinned_is_refused_and_works_with_its_fingerprint() {
    let (server, host) = world();
    let server_only = format!("fetch debian/12 --server {}", server.url().replace("127.0.0.1", "localhost"));
    host.run(&server_only).refuses("no key is pinned");
    host.run(&format!("{server_only} --fingerprint {}", server.fingerprint())).succeeds();
}

#[test]
fn plain_http_is_not_trusted_for_its_tls_certificate() {
    let (server, host) = world();
    host.run(&format!("fetch debian/12 --trust-tls --server {}", server.url())).refuses("nothing vouches");
}

#[test]
fn an_endless_index_ends_at_its_limit() {
    let (server, host) = world();
    server.put(layout::SIGNED_INDEX, vec![b'-'; 32 << 20]);
    host.run("fetch debian/12").refuses("is larger than 16777216 bytes");
    nothing_came_of_it(&host);
}

#[test]
fn products_of_an_older_generation_are_refused_under_a_newer_index() {
    let mut server = Server::publishing(&[bookworm().serial(&serial(60))]);
    let host = Host::trusting(&server);
    let older = server.paths(".json").pop().unwrap();
    let older = (server.get(&older), older);
    server.add(bookworm(), Claims::fresh(5));
    for path in server.paths(".json").into_iter().filter(|path| *path != older.1) {
        server.put(&path, older.0.clone());
    }
    host.run("fetch debian/12").refuses("is not the file the signed index names");
    nothing_came_of_it(&host);
}

#[test]
fn a_clock_set_back_does_not_revive_an_index_that_had_expired() {
    let Ok(faketime) = std::process::Command::new("faketime").args(["-f", "-3d", "date"]).output() else {
        testkit::skip("a clock is set back with `faketime`");
        return;
    };
    assert!(faketime.status.success());
    let (server, host) = world();
    host.run("list").succeeds();
    // Signed three days ago for a day. The host has seen a newer one, so it knows that it is later than its clock says.
    let published = now() - Span::from_days(3);
    let serial = u64::try_from(published.unix()).unwrap();
    server.publish(Claims { serial, published, expires: published + Span::from_days(1) });
    let three_days_ago = |host: &Host| {
        let mut command = host.command("faketime");
        command.args(["-f", "-3d", crate::world::PROGRAM, "fetch", "debian/12"]);
        Said::of(&command.output().unwrap())
    };
    three_days_ago(&host).refuses("the index expired");
    nothing_came_of_it(&host);
    // A host that has seen nothing has but its clock.
    three_days_ago(&Host::trusting(&server)).succeeds();
}

#[test]
fn a_serial_run_far_ahead_by_a_thief_of_the_key_is_not_remembered() {
    let (mut server, host) = world();
    server.publish(Claims { serial: u64::MAX, ..Claims::fresh(5) });
    host.run("list").refuses("the index is from the future");
    server.publish(Claims::fresh(10));
    host.run("list").succeeds();
    // A day ahead is the most there can be, and it ends with the key.
    let ahead = u64::try_from(now().unix()).unwrap() + 80_000;
    server.publish(Claims { serial: ahead, ..Claims::fresh(15) });
    host.run("list").succeeds();
    server.publish(Claims::fresh(20));
    host.run("list").refuses("the index was rolled back");
    server.key = stranger();
    server.publish(Claims::fresh(25));
    host.run(&format!("remote trust default --fingerprint {}", server.fingerprint())).succeeds();
    host.run("fetch debian/12").succeeds();
}

#[test]
fn an_index_from_the_future_is_refused() {
    let (server, host) = world();
    let published = now() + Span::from_days(2);
    let serial = u64::try_from(published.unix()).unwrap();
    server.publish(Claims { serial, published, expires: published + Span::from_days(1) });
    host.run("fetch debian/12").refuses("the index is from the future");
    nothing_came_of_it(&host);
}

#[test]
fn an_expired_subkey_signs_nothing_although_it_says_that_it_signed_in_time() {
    let mut server = Server::publishing(&[bookworm()]);
    let fresh = Claims::fresh(5);
    server.publish(fresh);
    let document = server.get(layout::SIGNED_INDEX);
    // It expired twenty days ago; whoever finds it now has a signature of its last day.
    server.key = key_of(40, 20);
    server.put(layout::SIGNED_INDEX, document);
    server.put(&layout::certificate(&server.fingerprint()), server.key.0.certificate().to_armored().unwrap());
    server.sign_as_of(now() - Span::from_days(21), fresh.expires);
    let host = Host::trusting(&server);
    for line in ["fetch debian/12", "fetch debian/12 --accept-expired-index"] {
        host.run(line).refuses("is signed by a key that may not sign");
    }
    // Nor does an index help that says that it is expired itself.
    server.sign_as_of(now() - Span::from_days(21), now() - Span::from_days(1));
    host.run("fetch debian/12 --accept-expired-index").refuses("is signed by a key that may not sign");
    nothing_came_of_it(&host);
}
