//! Any bytes are an xz file that decodes within its limits, or an error.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rootcellar_fuzz::xz_archive(bytes));
