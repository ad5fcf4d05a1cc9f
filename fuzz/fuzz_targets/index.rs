//! What was read of a classic index is written in lines of six fields and read again as the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rootcellar_fuzz::index(bytes));
