//! Any bytes are a certificate or an error.
#![no_main]

use formats::certificate::{Certificate, SigningKey};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(certificate) = Certificate::from_bytes(bytes) {
        assert_eq!(certificate.fingerprint().as_str().len() % 8, 0);
    }
    let _ = SigningKey::from_bytes(bytes);
});
