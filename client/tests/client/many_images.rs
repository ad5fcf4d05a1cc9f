//! A large server: its signed documents are read whole.

use formats::digest::FileDigest;
use formats::layout;
use formats::signature::SignInline as _;
use formats::streams::{Product, Products, StreamsIndex};

use crate::world::{Host, Server, bookworm};

/// More than an early limit of the signed index had room for.
const MANY: usize = 26_000;

/// Adds images of the distribution `many` to what the server has published.
fn publish_many(server: &Server) {
    let signed = String::from_utf8(server.get(layout::SIGNED_INDEX)).unwrap();
    let (_, rest) = signed.split_once("\n\n").unwrap();
    let (json, _) = rest.split_once("\n-----BEGIN PGP SIGNATURE").unwrap();
    let mut index: StreamsIndex = serde_json::from_str(json).unwrap();
    let entry = index.index.get_mut("all").unwrap();
    let mut products: Products = serde_json::from_slice(&server.get(&entry.path)).unwrap();
    let one = products.products.values().next().unwrap().clone();
    for number in 0..MANY {
        let release = format!("r{number}");
        let product = Product { aliases: String::new(), release: release.clone(), ..one.clone() };
        products.products.insert(format!("many:{release}:amd64:default"), product);
    }
    let json = serde_json::to_vec(&products).unwrap();
    entry.digest = FileDigest::of(&json);
    entry.path = layout::products(&"all".parse().unwrap(), &entry.digest.sha256);
    entry.products = products.products.into_keys().collect();
    server.put(&entry.path, json);
    let json = serde_json::to_vec_pretty(&index).unwrap();
    server.put(layout::SIGNED_INDEX, server.key.sign_inline(&json, index.published, index.expires).unwrap());
}

#[test]
fn a_signed_repository_of_26_000_images_is_listed_and_each_is_found() {
    let server = Server::publishing(&[bookworm()]);
    publish_many(&server);
    let host = Host::trusting(&server);
    let listed = host.run("list --format json").succeeds();
    let images: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(images.as_array().unwrap().len(), MANY + 1);
    let found = host.run(&format!("info --image many/r{}/amd64", MANY - 1)).succeeds();
    assert!(found.stdout.contains("many/r25999/amd64/default"), "{}", found.stdout);
    host.run("fetch debian/12").succeeds();
}
