//! Any text is a configuration; its items survive being written.
#![no_main]

use formats::lxc_config::LxcConfig;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let config = LxcConfig::parse(text);
    let again = LxcConfig::parse(&config.to_string());
    assert_eq!(config.items().count(), again.items().count());
});
