//! Any bytes are a certificate or an error.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rootcellar_fuzz::certificate(bytes));
