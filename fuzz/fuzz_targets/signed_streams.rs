//! What the pinned key signed, and what a signed index names, is read or refused.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rootcellar_fuzz::signed_streams(bytes));
