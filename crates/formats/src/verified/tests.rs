//! Every attack on an index has its own refusal.

mod keys;

use super::*;
use crate::certificate::SigningKey;
use crate::signature::{RepositoryKey, SignInline as _};
use crate::streams::ProductsEntry;

const NOW: i64 = 1_795_411_320;

fn now() -> Timestamp {
    Timestamp::from_unix(NOW)
}

fn stable() -> Name {
    "stable".parse().unwrap()
}

fn key() -> RepositoryKey {
    RepositoryKey(SigningKey::generate_repository("test", now() - Span::from_days(1), Span::from_days(90)).unwrap())
}

fn keyring(key: &RepositoryKey) -> Keyring {
    let mut keyring = Keyring::default();
    keyring.pin(&key.certificate().fingerprint(), key.certificate()).unwrap();
    keyring
}

fn index(serial: u64) -> StreamsIndex {
    let products = ProductsEntry {
        datatype: Products::DATATYPE.into(),
        format: Products::FORMAT.into(),
        path: "streams/v1/debian.json".into(),
        updated: String::new(),
        products: vec!["debian:trixie:amd64:default".into()],
        digest: FileDigest::of(PRODUCTS.as_bytes()),
    };
    StreamsIndex {
        format: StreamsIndex::FORMAT.into(),
        updated: now().rfc2822(),
        serial,
        channel: stable(),
        published: now(),
        expires: now() + Span::from_days(2),
        index: BTreeMap::from([("debian".into(), products)]),
    }
}

fn sign(key: &RepositoryKey, index: &StreamsIndex) -> Vec<u8> {
    let json = serde_json::to_vec_pretty(index).unwrap();
    key.sign_inline(&json, index.published, index.expires).unwrap()
}

fn verify(
    signed: &[u8],
    key: &RepositoryKey,
    memory: &Memory,
    clock: Timestamp,
) -> Result<Verified<StreamsIndex>, Refusal> {
    verify_index(signed, &keyring(key), &stable(), memory, clock, PastValidity::Refuse)
}

#[test]
fn a_fresh_index_of_a_pinned_key_is_accepted_and_remembered() {
    let key = key();
    let verified = verify(&sign(&key, &index(7)), &key, &Memory::nothing(), now()).unwrap();
    assert_eq!(Memory::nothing().after(&verified), Memory { serial: 7, published: now() });
}

#[test]
fn one_flipped_byte_anywhere_in_the_document_is_refused() {
    let key = key();
    let signed = sign(&key, &index(7));
    for position in (0..signed.len()).step_by(17) {
        let mut forged = signed.clone();
        forged[position] ^= 1;
        let outcome = verify(&forged, &key, &Memory::nothing(), now());
        // Armor ignores some bytes, such as those of its comments; what is accepted must be what was signed.
        assert!(outcome.is_err() || *outcome.unwrap() == index(7), "byte {position}");
    }
    let forged = String::from_utf8(signed).unwrap().replace("\"serial\": 7", "\"serial\": 8");
    assert!(matches!(verify(forged.as_bytes(), &key, &Memory::nothing(), now()), Err(Refusal::Forged { .. })));
}

#[test]
fn a_strangers_signature_is_refused() {
    let outcome = verify(&sign(&key(), &index(7)), &key(), &Memory::nothing(), now());
    assert!(matches!(outcome, Err(Refusal::UnpinnedKey { .. })), "{outcome:?}");
}

#[test]
fn an_index_of_unknown_key_names_a_key_that_leads_to_the_certificate() {
    let key = key();
    let issuers = claimed_issuers(&sign(&key, &index(7))).unwrap();
    assert!(!issuers.is_empty() && issuers.iter().all(|issuer| key.certificate().answers_to(issuer)), "{issuers:?}");
    assert!(claimed_issuers(b"{}").is_err());
}

#[test]
fn an_unsigned_document_is_refused() {
    let json = serde_json::to_vec(&index(7)).unwrap();
    assert!(matches!(verify(&json, &key(), &Memory::nothing(), now()), Err(Refusal::NotSigned { .. })));
    assert!(matches!(verify(b"", &key(), &Memory::nothing(), now()), Err(Refusal::NotSigned { .. })));
}

#[test]
fn an_expired_index_is_refused_unless_that_was_typed_out() {
    let key = key();
    let (signed, late) = (sign(&key, &index(7)), now() + Span::from_days(3));
    assert!(matches!(verify(&signed, &key, &Memory::nothing(), late), Err(Refusal::Expired { .. })));
    let accept =
        |signed: &[u8]| verify_index(signed, &keyring(&key), &stable(), &Memory::nothing(), late, PastValidity::Accept);
    assert!(accept(&signed).is_ok());
    let forged = String::from_utf8(signed).unwrap().replace("\"serial\": 7", "\"serial\": 8");
    assert!(matches!(accept(forged.as_bytes()), Err(Refusal::Forged { .. })), "expired and forged");
}

#[test]
fn a_clock_set_back_does_not_revive_an_expired_index() {
    let key = key();
    let memory = Memory { serial: 1, published: now() + Span::from_days(3) };
    let outcome = verify(&sign(&key, &index(7)), &key, &memory, now());
    assert!(matches!(outcome, Err(Refusal::Expired { .. })), "{outcome:?}");
}

#[test]
fn a_replayed_older_index_is_refused() {
    let key = key();
    let memory = Memory { serial: 8, published: now() };
    let outcome = verify(&sign(&key, &index(7)), &key, &memory, now());
    assert!(matches!(outcome, Err(Refusal::RolledBack { found: 7, seen: 8, .. })), "{outcome:?}");
}

#[test]
fn an_index_from_the_future_is_refused() {
    let key = key();
    let mut future = index(7);
    future.published = now() + Span::from_days(2);
    let json = serde_json::to_vec_pretty(&future).unwrap();
    let signed = key.sign_inline(&json, now(), future.expires).unwrap();
    assert!(matches!(verify(&signed, &key, &Memory::nothing(), now()), Err(Refusal::FromTheFuture { .. })));
    let signed = key.sign_inline(&json, future.published, future.published + Span::from_days(1)).unwrap();
    assert!(matches!(verify(&signed, &key, &Memory::nothing(), now()), Err(Refusal::SignedLater { .. })));
    let fast_forward = sign(&key, &index(u64::MAX));
    assert!(matches!(verify(&fast_forward, &key, &Memory::nothing(), now()), Err(Refusal::FromTheFuture { .. })));
}

#[test]
fn an_index_of_another_channel_is_refused() {
    let key = key();
    let staging = StreamsIndex { channel: "staging".parse().unwrap(), ..index(7) };
    let outcome = verify(&sign(&key, &staging), &key, &Memory::nothing(), now());
    assert!(matches!(outcome, Err(Refusal::OtherChannel { .. })), "{outcome:?}");
}

#[test]
fn a_certificate_other_than_the_pinned_one_is_not_taken_into_the_keyring() {
    let (ours, strangers) = (key().certificate(), key().certificate());
    let outcome = Keyring::default().pin(&ours.fingerprint(), strangers);
    assert!(matches!(outcome, Err(Refusal::UnpinnedKey { .. })));
}

#[test]
fn products_are_taken_only_as_the_index_names_them() {
    let key = key();
    let index = verify(&sign(&key, &index(7)), &key, &Memory::nothing(), now()).unwrap();
    let path = "streams/v1/debian.json";
    assert!(verify_products(&index, path, PRODUCTS.as_bytes()).is_ok());
    let altered = PRODUCTS.replace("images\"", "images \"");
    assert!(matches!(verify_products(&index, path, altered.as_bytes()), Err(Refusal::Altered { .. })));
    let swapped = verify_products(&index, "streams/v1/ubuntu.json", PRODUCTS.as_bytes());
    assert!(matches!(swapped, Err(Refusal::Unlisted { .. })));
}

const PRODUCTS: &str = r#"{"content_id":"images","datatype":"image-downloads","format":"products:1.0","products":{}}"#;
