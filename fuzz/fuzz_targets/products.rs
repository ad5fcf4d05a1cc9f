//! Any bytes are a products file or an error; what it lists has safe names.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rootcellar_fuzz::products(bytes));
