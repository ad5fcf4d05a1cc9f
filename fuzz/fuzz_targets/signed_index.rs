//! No bytes are a verified index to a keyring that pinned nothing.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rootcellar_fuzz::signed_index(bytes));
