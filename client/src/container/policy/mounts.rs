//! Which mounts an image may ask for.

use std::path::Path;

/// Checks a line of fstab(5), as `lxc.mount.entry` has it too: a file system without a source on the host, mounted
/// inside the container.
///
/// Several programs read this line after us, each in its own way: liblxc's parsers take an option for a flag when it
/// only begins like one (`bindx`), or cut `optional` out of the middle of another option. So nothing is looked for that
/// would be dangerous; every field must be one that all of them understand alike.
pub(super) fn check(line: &str) -> Result<(), &'static str> {
    // As getmntent(3) does: blanks and tabs, and nothing else that is called white space elsewhere.
    let fields: Vec<&str> = line.split([' ', '\t']).filter(|field| !field.is_empty()).collect();
    let [source, target, kind, rest @ ..] = &fields[..] else { return Err("it is no mount entry") };
    let (options, numbers) = rest.split_first().map_or(("defaults", rest), |(options, numbers)| (*options, numbers));
    if numbers.len() > 2 || !numbers.iter().all(|number| is_number(number)) {
        return Err("it is no mount entry");
    }
    if !super::is_inside(target) {
        return Err("it mounts outside of the container");
    }
    if !KINDS.contains(kind) || !is_word(source) {
        return Err("it shows a part of the host to the container");
    }
    if !options.split(',').all(is_usual) {
        return Err("it has a mount option that is not among those an image may use");
    }
    Ok(())
}

fn is_usual(option: &str) -> bool {
    match option.split_once('=') {
        None => FLAGS.contains(&option),
        Some(("create", kind)) => kind == "dir",
        Some(("gid" | "mode" | "nr_inodes" | "ptmxmode" | "size" | "uid", value)) => {
            is_number(value.trim_end_matches(['k', 'K', 'm', 'M', 'g', 'G', '%']))
        }
        Some(_) => false,
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A name that stands for no file of the host: with an option for it, any source could be one.
fn is_word(source: &str) -> bool {
    source.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        && !Path::new(source).is_absolute()
}

/// File systems that show nothing of the host.
const KINDS: &[&str] = &["devpts", "mqueue", "tmpfs"];
/// Options without a value. None of them begins with the name of another that would show something.
const FLAGS: &[&str] = &[
    "defaults",
    "exec",
    "newinstance",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "nosuid",
    "optional",
    "relatime",
    "ro",
    "rw",
    "strictatime",
    "suid",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_common_configurations_mount_is_accepted() {
        for line in [
            "tmpfs run tmpfs rw 0 0",
            "none dev/shm tmpfs rw,nosuid,nodev,create=dir",
            "shm dev/shm tmpfs rw,nodev,noexec,nosuid,relatime,mode=1777,size=50%,create=dir 0 0",
            "mqueue\tdev/mqueue  mqueue rw,relatime,create=dir,optional 0 0",
            "devpts dev/pts devpts gid=5,mode=620,ptmxmode=0666,newinstance",
            "tmpfs tmp tmpfs",
        ] {
            assert_eq!(check(line), Ok(()), "{line}");
        }
    }

    #[test]
    fn what_another_reader_takes_for_a_bind_mount_is_refused() {
        for line in [
            "/etc etc tmpfs bind 0 0",
            "etc etc tmpfs bind 0 0",
            // liblxc compares as much of an option as its table has.
            "etc etc tmpfs bindx 0 0",
            "etc etc tmpfs rbind-or-so 0 0",
            // liblxc 5 cuts out `optional` wherever it is.
            "etc etc tmpfs bioptional,nd 0 0",
            "etc etc tmpfs rw,idmap=container 0 0",
            "etc etc tmpfs remount 0 0",
            "tmpfs etc tmpfs mode=0755bind 0 0",
            "overlay etc tmpfs lowerdir=/ 0 0",
            // What is one field for getmntent(3) and two for others.
            "/ srv\rtmpfs none bind 0 0",
            "/\u{c}srv tmpfs none bind 0 0",
            "/etc\u{a0}srv\u{a0}none\u{a0}bind tmpfs run tmpfs",
            // A path, with a file system that does not look at it.
            "/etc srv tmpfs rw 0 0",
            "./etc srv tmpfs rw 0 0",
            "tmpfs srv tmpfs rw 0 0 0",
            "tmpfs srv tmpfs rw x",
            "tmpfs srv",
        ] {
            assert!(check(line).is_err(), "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_has_no_option_that_begins_like_one_for_binding(
            options in "(b|r|i|n|d|op|tional|optional|bind|w|,|=|dir|create|mode|size|0|k){0,12}"
        ) {
            if check(&format!("tmpfs srv tmpfs {options} 0 0")).is_ok() {
                let cut = options.replace("optional", "");
                let begins_badly = |option: &str| ["bind", "move", "rbind", "remount"].iter().any(|bad| option.starts_with(bad));
                prop_assert!(![options, cut].iter().any(|options| options.split(',').any(begins_badly)));
            }
        }
    }
}
