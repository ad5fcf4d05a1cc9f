//! A signature counts only as far as its key does: today, and by the word of the pinned primary key.

use std::io::Write as _;
use std::time::SystemTime;

use openpgp::cert::{CertRevocationBuilder, SubkeyRevocationBuilder};
use openpgp::crypto::KeyPair;
use openpgp::packet::signature::SignatureBuilder;
use openpgp::serialize::stream::{Message, Signer};
use openpgp::types::{HashAlgorithm, KeyFlags, ReasonForRevocation, SignatureType};
use openpgp::{Cert, Packet};
use sequoia_openpgp as openpgp;

use super::*;

/// A repository key made so many days ago, with a signing subkey that was valid for the first ten of them.
fn made(days_ago: u32) -> SigningKey {
    SigningKey::generate_repository("test", now() - Span::from_days(days_ago), Span::from_days(10)).unwrap()
}

fn primary(key: &SigningKey) -> KeyPair {
    key.0.primary_key().key().clone().parts_into_secret().unwrap().into_keypair().unwrap()
}

fn subkey(key: &SigningKey) -> KeyPair {
    let subkey = key.0.keys().subkeys().next().unwrap().key().clone();
    subkey.parts_into_secret().unwrap().into_keypair().unwrap()
}

/// An index of now, signed by any key, in the way of a thief: the time of the signature is what the thief likes.
fn signed_by(pair: KeyPair, made: Timestamp) -> Vec<u8> {
    let json = serde_json::to_vec_pretty(&index(7)).unwrap();
    let validity = (now() + Span::from_days(2)).unix() - made.unix();
    let template = SignatureBuilder::new(SignatureType::Text)
        .set_hash_algo(HashAlgorithm::SHA512)
        .set_signature_validity_period(std::time::Duration::from_secs(validity.unsigned_abs()))
        .unwrap();
    let mut signed = Vec::new();
    let message = Message::new(&mut signed);
    let writer = Signer::with_template(message, pair, template).unwrap();
    let mut writer = writer.creation_time(SystemTime::from(made)).cleartext().build().unwrap();
    writer.write_all(&json).unwrap();
    writer.finalize().unwrap();
    signed
}

/// What a client says that pinned this certificate.
fn outcome(
    signed: &[u8],
    certificate: Certificate,
    past_validity: PastValidity,
    clock: Timestamp,
) -> Result<(), Refusal> {
    let mut keyring = Keyring::default();
    keyring.pin(&certificate.fingerprint(), certificate)?;
    verify_index(signed, &keyring, &stable(), &Memory::nothing(), clock, past_validity).map(drop)
}

#[track_caller]
fn key_not_valid(signed: &[u8], certificate: &Certificate) {
    for past_validity in [PastValidity::Refuse, PastValidity::Accept] {
        let outcome = outcome(signed, certificate.clone(), past_validity, now());
        assert!(matches!(outcome, Err(Refusal::KeyNotValid { .. })), "{past_validity:?}: {outcome:?}");
    }
}

#[test]
fn a_subkey_past_its_validity_signs_nothing_whatever_time_it_says() {
    let key = made(100);
    key_not_valid(&signed_by(subkey(&key), now()), &key.certificate());
    key_not_valid(&signed_by(subkey(&key), now() - Span::from_days(95)), &key.certificate());
}

#[test]
fn a_subkey_that_was_rotated_away_signs_nothing_whatever_time_it_says() {
    let old = SigningKey::generate_repository("test", now() - Span::from_days(30), Span::from_days(730)).unwrap();
    let signed = signed_by(subkey(&old), now() - Span::from_days(25));
    assert_eq!(outcome(&signed, old.certificate(), PastValidity::Refuse, now()), Ok(()), "it is good until then");
    let new = old.rotate(now() - Span::from_days(20), Span::from_days(730), Span::from_days(2)).unwrap();
    key_not_valid(&signed, &new.certificate());
}

#[test]
fn what_a_subkey_signed_before_it_was_rotated_is_good_while_both_are() {
    let old = RepositoryKey(made(9));
    let new = old.0.rotate(now(), Span::from_days(90), Span::from_days(1)).unwrap();
    assert_eq!(outcome(&sign(&old, &index(7)), new.certificate(), PastValidity::Refuse, now()), Ok(()));
}

#[test]
fn the_primary_key_only_certifies() {
    let key = key().0;
    key_not_valid(&signed_by(primary(&key), now()), &key.certificate());
}

#[test]
fn a_subkey_of_a_stranger_stuck_to_the_pinned_certificate_is_none_of_its_keys() {
    let (ours, stranger) = (key().0, key().0);
    let packets = stranger.0.clone().strip_secret_key_material().into_packets();
    let strangers: Vec<Packet> = packets.skip_while(|packet| !matches!(packet, Packet::PublicSubkey(_))).collect();
    let all = ours.certificate().0.into_packets().chain(strangers);
    let certificate = Certificate(Cert::from_packets(all).unwrap());
    assert_eq!(certificate.fingerprint(), ours.fingerprint());
    key_not_valid(&signed_by(subkey(&stranger), now()), &certificate);
    assert_eq!(outcome(&sign(&RepositoryKey(ours), &index(7)), certificate, PastValidity::Refuse, now()), Ok(()));
}

#[test]
fn a_subkey_that_the_stolen_subkey_bound_is_none_of_its_keys() {
    let (ours, stranger) = (key().0, key().0);
    let theirs = stranger.0.keys().subkeys().next().unwrap().key().clone();
    let flags = KeyFlags::empty().set_signing();
    let binding = SignatureBuilder::new(SignatureType::SubkeyBinding).set_key_flags(flags).unwrap();
    let binding = binding.set_signature_creation_time(SystemTime::from(now())).unwrap();
    let binding = theirs.bind(&mut subkey(&ours), &ours.0, binding).unwrap();
    let added = [Packet::PublicSubkey(theirs.clone().parts_into_public().role_into_subordinate()), binding.into()];
    let certificate = Certificate(ours.certificate().0.insert_packets(added).unwrap().0);
    key_not_valid(&signed_by(subkey(&stranger), now()), &certificate);
}

#[test]
fn a_revocation_counts_for_every_signature_and_for_expired_indexes_too() {
    let key = made(5);
    let signed = signed_by(subkey(&key), now() - Span::from_days(4));
    let yesterday = now() - Span::from_days(1);
    let retired = SystemTime::from(yesterday);
    let subkey = key.0.keys().subkeys().next().unwrap();
    let subkey_retired = SubkeyRevocationBuilder::new()
        .set_signature_creation_time(retired)
        .and_then(|builder| builder.set_reason_for_revocation(ReasonForRevocation::KeyRetired, b""))
        .and_then(|builder| builder.build(&mut primary(&key), &key.0, subkey.key(), None));
    let key_retired = CertRevocationBuilder::new()
        .set_signature_creation_time(retired)
        .and_then(|builder| builder.set_reason_for_revocation(ReasonForRevocation::KeySuperseded, b""))
        .and_then(|builder| builder.build(&mut primary(&key), &key.0, None));
    let with = |revocation| SigningKey(key.0.clone().insert_packets(Packet::Signature(revocation)).unwrap().0);
    for (what, revoked) in [
        ("the subkey as compromised", key.revoke_subkeys(yesterday).unwrap()),
        ("the key as compromised", key.revoke(yesterday).unwrap()),
        ("the subkey as retired", with(subkey_retired.unwrap())),
        ("the key as superseded", with(key_retired.unwrap())),
    ] {
        for (clock, past_validity) in
            [(now(), PastValidity::Refuse), (now() + Span::from_days(3), PastValidity::Accept)]
        {
            let outcome = outcome(&signed, revoked.certificate(), past_validity, clock);
            assert!(matches!(outcome, Err(Refusal::Revoked { .. })), "{what}, {past_validity:?}: {outcome:?}");
        }
    }
}

#[test]
fn an_expired_index_of_an_expired_key_is_refused_although_the_first_was_typed_out() {
    let key = made(5);
    let signed = sign(&RepositoryKey(key.clone()), &index(7));
    let accept = |clock| outcome(&signed, key.certificate(), PastValidity::Accept, clock);
    assert_eq!(accept(now() + Span::from_days(3)), Ok(()), "the key is good for two more days");
    let refused = accept(now() + Span::from_days(6));
    assert!(matches!(refused, Err(Refusal::KeyNotValid { .. })), "{refused:?}");
    let refused = outcome(&signed, key.certificate(), PastValidity::Refuse, now() + Span::from_days(6));
    assert!(matches!(refused, Err(Refusal::Expired { .. })), "{refused:?}");
}
