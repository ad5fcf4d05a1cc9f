//! A record that is read is written back to a record that says the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rootcellar_fuzz::build_record(bytes));
