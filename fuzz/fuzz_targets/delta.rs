//! Any delta makes no more than it may, or an error.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rootcellar_fuzz::delta(bytes));
