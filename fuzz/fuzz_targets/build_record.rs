//! A record that is read is written back to a record that says the same.
#![no_main]

use formats::record::BuildRecord;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(record) = BuildRecord::from_json(bytes) {
        assert_eq!(BuildRecord::from_json(&record.to_json()).expect("our own JSON"), record);
    }
});
