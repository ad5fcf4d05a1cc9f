//! What getmntent(3) reads in an fstab that was accepted shows nothing of the host.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rootcellar_fuzz::fstab(bytes));
