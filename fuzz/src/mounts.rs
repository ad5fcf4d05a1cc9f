//! How others read the lines of an image's configuration that we accepted. This knows nothing of our own parsers.

/// Reads every mount of a text as getmntent(3) does, and ends where one shows a part of the host.
pub fn assert_harmless(text: &str) {
    text.split('\n').for_each(assert_line);
}

/// The same for one line.
pub fn assert_line(line: &str) {
    let line = line.trim_start_matches([' ', '\t']);
    if line.is_empty() || line.starts_with('#') {
        return;
    }
    let mut fields = line.split([' ', '\t']).filter(|field| !field.is_empty()).map(unescaped);
    let mut next = || fields.next().unwrap_or_default();
    let (source, target, kind, options) = (next(), next(), next(), next());
    assert!(["devpts", "mqueue", "tmpfs"].contains(&kind.as_str()), "{line:?}");
    assert!(!source.contains('/') && !source.starts_with('.'), "{line:?}");
    assert!(!target.starts_with('/') && !target.split('/').any(|part| part == ".."), "{line:?}");
    // liblxc cuts out `optional` wherever it is, and takes an option for a flag that only begins like one.
    for options in [options.replace("optional", ""), options] {
        for option in options.split(',') {
            for bad in ["bind", "rbind", "move", "remount", "idmap", "lowerdir", "upperdir", "x-"] {
                assert!(!option.starts_with(bad), "{line:?}");
            }
        }
    }
}

/// `\040` and the like.
fn unescaped(field: &str) -> String {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    escapes.iter().fold(field.to_owned(), |field, (escape, meant)| field.replace(escape, meant))
}
