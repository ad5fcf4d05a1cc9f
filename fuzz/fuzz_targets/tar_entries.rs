//! No archive makes anything outside of the directory it is unpacked into.
#![no_main]

use archive::unpack::{DevicePolicy, UnpackLimits, UnpackOptions, unpack};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let outside = tempfile::tempdir().expect("a directory");
    let inside = outside.path().join("rootfs");
    std::fs::create_dir(&inside).expect("a directory");
    let mut options = UnpackOptions::for_this_process().expect("the ids of this process");
    options.devices = DevicePolicy::Skip;
    options.limits = UnpackLimits { unpacked_bytes: 1 << 20, entries: 1000, ..UnpackLimits::default() };
    let _ = unpack(bytes, &inside, &options);
    let beside = std::fs::read_dir(outside.path()).expect("it is still there").count();
    assert_eq!(beside, 1);
});
