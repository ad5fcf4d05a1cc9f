//! What keys and certificates promise.

use super::*;

const NOW: i64 = 1_795_411_320;

fn repository() -> SigningKey {
    SigningKey::generate_repository("test", Timestamp::from_unix(NOW), Span::from_days(90)).unwrap()
}

#[test]
fn a_signing_key_survives_its_own_armor_and_a_certificate_holds_no_secret() {
    let key = repository();
    let read = SigningKey::from_bytes(&key.to_armored_secret().unwrap()).unwrap();
    assert_eq!(read.fingerprint(), key.fingerprint());
    let public = key.certificate().to_armored().unwrap();
    assert!(matches!(SigningKey::from_bytes(&public), Err(KeyError::NoSecret { .. })));
    assert_eq!(Certificate::from_bytes(&key.to_armored_secret().unwrap()).unwrap(), key.certificate());
}

#[test]
fn the_primary_key_of_a_repository_cannot_sign_documents() {
    let key = repository();
    let primary = key.0.primary_key().key().fingerprint();
    let signer = key.keypair(Timestamp::from_unix(NOW)).unwrap();
    assert_ne!(signer.public().fingerprint(), primary);
}

#[test]
fn a_signing_subkey_past_its_validity_signs_nothing() {
    let late = Timestamp::from_unix(NOW) + Span::from_days(91);
    assert!(matches!(repository().keypair(late), Err(KeyError::NoSigningKey { .. })));
}

#[test]
fn it_is_known_until_when_a_key_signs() {
    let now = Timestamp::from_unix(NOW);
    let key = repository();
    assert_eq!(key.signs_until(now).unwrap(), Some(now + Span::from_days(90)));
    let signing = key.keypair(now).unwrap().public().fingerprint().to_hex();
    assert_eq!(key.certificate().validity_end(&signing[24..], now), Some(now + Span::from_days(90)));
    let later = now + Span::from_days(1);
    let rotated = key.rotate(later, Span::from_days(30), Span::from_days(2)).unwrap();
    assert_eq!(rotated.signs_until(later).unwrap(), Some(later + Span::from_days(30)));
    assert_eq!(rotated.certificate().validity_end(&signing, later), Some(later + Span::from_days(2)));
    assert_eq!(SigningKey::generate_compat("test", now).unwrap().signs_until(now).unwrap(), None);
}

#[test]
fn a_rotated_key_signs_with_its_new_subkey_and_the_old_one_expires() {
    let (now, later) = (Timestamp::from_unix(NOW), Timestamp::from_unix(NOW) + Span::from_days(30));
    let old = repository();
    let first = old.keypair(now).unwrap().public().fingerprint();
    let key = old.rotate(later, Span::from_days(90), Span::from_days(2)).unwrap();
    assert_eq!(key.fingerprint(), old.fingerprint());
    let second = key.keypair(later + Span::from_days(80)).unwrap().public().fingerprint();
    assert_ne!(second, first);
    let policy = StandardPolicy::new();
    let alive = |days| {
        let keys = key.0.keys().with_policy(&policy, SystemTime::from(later + Span::from_days(days)));
        keys.alive().for_signing().map(|key| key.key().fingerprint()).collect::<Vec<_>>()
    };
    assert_eq!((alive(1).len(), alive(3)), (2, vec![second]));
}

#[test]
fn an_older_copy_does_not_undo_a_revocation() {
    let now = Timestamp::from_unix(NOW);
    let old = repository();
    let revoked = old.revoke_subkeys(now).unwrap();
    assert!(matches!(revoked.keypair(now), Err(KeyError::NoSigningKey { .. })));
    let merged = revoked.certificate().merge(&old.certificate()).unwrap();
    assert_eq!(merged, old.certificate().merge(&revoked.certificate()).unwrap());
    let policy = StandardPolicy::new();
    let signing = merged.0.keys().with_policy(&policy, SystemTime::from(now)).revoked(false).for_signing().count();
    assert_eq!(signing, 0);
    assert!(revoked.rotate(now, Span::from_days(90), Span::from_days(2)).unwrap().keypair(now).is_ok());
}

#[test]
fn a_revoked_certificate_signs_nothing_again() {
    let now = Timestamp::from_unix(NOW);
    let revoked = repository().revoke(now).unwrap();
    assert!(revoked.certificate().is_revoked() && !repository().certificate().is_revoked());
    assert!(matches!(revoked.keypair(now), Err(KeyError::NoSigningKey { .. })));
}

#[test]
fn without_the_primary_secret_nothing_is_rotated_or_revoked() {
    let key = repository();
    let public: Vec<_> = key.certificate().0.into_packets().take(1).collect();
    let rest = key.0.as_tsk().into_packets().skip(1);
    let offline = SigningKey(Cert::from_packets(public.into_iter().chain(rest)).unwrap());
    let now = Timestamp::from_unix(NOW);
    assert!(offline.keypair(now).is_ok());
    let day = Span::from_days(1);
    let results = [offline.rotate(now, day, day), offline.revoke_subkeys(now), offline.revoke(now)];
    assert!(results.iter().all(|result| matches!(result, Err(KeyError::NoPrimary { .. }))));
}

#[test]
fn only_a_copy_of_the_same_certificate_can_renew_it() {
    let (ours, strangers) = (repository().certificate(), repository().certificate());
    assert!(ours.clone().merge(&ours).is_ok());
    assert!(matches!(ours.merge(&strangers), Err(KeyError::OtherCertificate { .. })));
}

#[test]
fn a_certificate_answers_to_its_ids_and_to_no_others() {
    let certificate = repository().certificate();
    let fingerprint = certificate.fingerprint().to_string();
    for id in [&fingerprint[..], &fingerprint[24..], &fingerprint[32..], &fingerprint.to_lowercase()] {
        assert!(certificate.answers_to(id) && certificate.answers_to(&format!("0x{id}")), "{id}");
    }
    for id in ["", "0x", &fingerprint[39..], "0xDEADBEEF", &fingerprint[..16]] {
        assert!(!certificate.answers_to(id), "{id}");
    }
    let subkey = certificate.0.keys().subkeys().next().unwrap().key().fingerprint().to_hex();
    assert!(certificate.answers_to(&subkey));
}

#[test]
fn a_fingerprint_is_read_as_people_copy_it() {
    let fingerprint = repository().fingerprint();
    assert_eq!(fingerprint.grouped().to_lowercase().parse(), Ok(fingerprint.clone()));
    assert_eq!(format!("0x{fingerprint}").parse(), Ok(fingerprint));
    assert!("DEADBEEF".parse::<Fingerprint>().is_err());
}

#[test]
fn a_keyring_is_read_to_its_end() {
    let (one, other) = (repository().certificate(), repository().certificate());
    let keyring = [one.to_binary().unwrap(), other.to_binary().unwrap()].concat();
    assert_eq!(Certificate::all_from_bytes(&keyring).unwrap(), [one, other]);
    assert!(Certificate::all_from_bytes(b"").is_err());
}

#[test]
fn bytes_that_are_no_certificate_are_an_error() {
    assert!(matches!(Certificate::from_bytes(b"-----BEGIN PGP"), Err(KeyError::Unreadable { .. })));
    assert!(Certificate::from_bytes(&[]).is_err());
}
