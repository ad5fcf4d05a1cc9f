//! What liblxc reads in a configuration that was accepted reaches nothing of the host.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rootcellar_fuzz::container_config(bytes));
