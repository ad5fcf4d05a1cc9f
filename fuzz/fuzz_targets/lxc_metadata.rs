//! Any tar archive is LXC metadata or an error, and what is metadata names only members a template knows.
#![no_main]

use archive::members::{MemberLimits, read_members};
use formats::compat::{CompatLevel, Mode};
use formats::metadata::{LxcMetadata, MemberKind};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(members) = read_members(bytes, &MemberLimits::default()) else { return };
    let Ok(metadata) = LxcMetadata::from_members(members) else { return };
    for mode in Mode::ALL {
        for level in CompatLevel::all() {
            MemberKind::ALL.into_iter().for_each(|kind| drop(metadata.lines(kind, mode, level)));
        }
    }
});
