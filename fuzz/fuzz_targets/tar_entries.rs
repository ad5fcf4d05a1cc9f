//! No archive makes anything outside of the directory it is unpacked into.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rootcellar_fuzz::tar_entries(bytes));
