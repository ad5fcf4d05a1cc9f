//! What was read of a classic index is written in lines of six fields and read again as the same.
#![no_main]

use formats::index::Index;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let (index, _) = Index::parse(text);
    assert!(index.to_string().lines().all(|line| line.split(';').count() == 6));
    assert_eq!(Index::parse(&index.to_string()), (index, 0));
});
