//! No bytes are a verified index to a keyring that pinned nothing.
#![no_main]

use formats::time::Timestamp;
use formats::verified::{Keyring, Memory, PastValidity, verify_index};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let channel = "stable".parse().expect("a name");
    let now = Timestamp::from_unix(1_795_411_320);
    let index = verify_index(bytes, &Keyring::default(), &channel, &Memory::nothing(), now, PastValidity::Accept);
    assert!(index.is_err());
});
