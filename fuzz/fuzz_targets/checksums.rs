//! A list of checksums says of a file what stands in the list, and a page names nothing that leads elsewhere.
#![no_main]

use formats::checksum::{Algorithm, listed};
use formats::links;

libfuzzer_sys::fuzz_target!(|text: &str| {
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        if let Ok(checksum) = listed(text, "rootfs.tar.xz", algorithm) {
            assert!(text.to_ascii_lowercase().contains(checksum.digits()));
        }
    }
    for name in links::names(text) {
        assert!(!name.is_empty() && !name.contains('/') && !name.starts_with('.'));
    }
});
