//! A list of checksums says of a file what stands in the list, and a page names nothing that leads elsewhere.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rootcellar_fuzz::checksums(bytes));
