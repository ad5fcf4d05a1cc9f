//! Any text is a configuration; its items survive being written.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rootcellar_fuzz::lxc_config(bytes));
