//! While one publish follows another, every client sees one generation: indexes fit their signatures, and whatever is
//! listed is there.

use std::collections::HashSet;
use std::fs;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use formats::digest::FileDigest;
use formats::index::Index;
use formats::streams::{Products, StreamsIndex};
use testkit::FakeImage;

use crate::support::{Server, World, need, run};

fn image(minute: usize) -> FakeImage {
    FakeImage::new("debian/trixie/amd64/default").serial(&format!("20261123_00{minute:02}"))
}

#[test]
fn twenty_publishes_tear_no_index_from_its_signature_and_list_nothing_that_is_not_there() {
    need!("gpgv");
    let world = World::publishing(&[image(0)]);
    let keyring = world.path("keyring.pgp");
    fs::copy(world.current().join(format!("keys/{}.pgp", world.fingerprint("compat"))), &keyring).unwrap();
    let server = world.serve();
    let (is_over, pairs) = (AtomicBool::new(false), Mutex::new(HashSet::new()));
    let until_over = |mut read: Box<dyn FnMut() + '_>| {
        while !is_over.load(Ordering::Relaxed) {
            read();
        }
    };
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                until_over(Box::new(|| {
                    let index = server.get("//meta/1.0/index-system.7").body;
                    let signature = server.get("//meta/1.0/index-system.7.asc").body;
                    pairs.lock().unwrap().insert((index, signature));
                }));
            });
        }
        scope.spawn(|| {
            until_over(Box::new(|| {
                assert_listed_files_are_there(&server, &server.get("//meta/1.0/index-system.7").text());
                assert_products_fit_their_index(&server);
            }));
        });
        for minute in 1..=20 {
            world.import(&image(minute));
            world.run(&["publish"]).succeeds();
        }
        while !server
            .get("/streams/v1/index.json")
            .text()
            .contains(world.current().file_name().unwrap().to_str().unwrap())
        {
            thread::sleep(Duration::from_millis(50));
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(server.get("/meta/1.0/index-system.7").text().contains("20261123_0020"));
    let pairs = pairs.into_inner().unwrap();
    assert!(pairs.len() > 2, "readers saw {} generations", pairs.len());
    let (index, signature) = (world.path("index"), world.path("index.asc"));
    for (index_bytes, signature_bytes) in pairs {
        fs::write(&index, index_bytes).unwrap();
        fs::write(&signature, signature_bytes).unwrap();
        run(Command::new("gpgv").arg("--keyring").arg(&keyring).arg(&signature).arg(&index)).succeeds();
    }
}

fn assert_listed_files_are_there(server: &Server, index: &str) {
    let (index, skipped) = Index::parse(index);
    assert_eq!((index.entries.len(), skipped), (1, 0));
    for entry in index.entries {
        for file in ["rootfs.tar.xz", "meta.tar.xz", "rootfs.tar.xz.asc", "meta.tar.xz.asc"] {
            let path = format!("/{}/{file}", entry.path.as_str());
            assert_eq!(server.get(&path).status, 200, "{path}");
        }
    }
}

fn assert_products_fit_their_index(server: &Server) {
    let index: StreamsIndex = serde_json::from_slice(&server.get("/streams/v1/index.json").body).unwrap();
    for entry in index.index.values() {
        let products = server.get(&format!("/{}", entry.path));
        assert_eq!(FileDigest::of(&products.body), entry.digest, "{}", entry.path);
        let products: Products = serde_json::from_slice(&products.body).unwrap();
        for item in
            products.products.values().flat_map(|product| product.versions.values()).flat_map(|v| v.items.values())
        {
            assert_eq!(FileDigest::of(&server.get(&format!("/{}", item.path)).body), item.digest, "{}", item.path);
        }
    }
}
