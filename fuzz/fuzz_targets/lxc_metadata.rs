//! Any tar archive is LXC metadata or an error, and what is metadata names only members a template knows.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rootcellar_fuzz::lxc_metadata(bytes));
