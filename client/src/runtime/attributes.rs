//! Options of mounts, as fstab(5) and the OCI runtime specification write them, in the words of `mount_setattr(2)`.

use std::io;
use std::os::fd::AsFd;

use super::sys;

/// What the options of a mount come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    own: Change,
    /// For the mount and all that are mounted below.
    deep: Change,
    propagation: Option<Propagation>,
    /// Left for the file system.
    pub(crate) data: Vec<String>,
}

/// Attributes to set and to clear.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Change {
    set: u64,
    clear: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Propagation {
    kind: u64,
    is_deep: bool,
}

impl Attributes {
    pub(crate) fn parse<'a>(options: impl IntoIterator<Item = &'a str>) -> Self {
        let mut attributes = Self::default();
        for option in options {
            let (deep, word) = match option.strip_prefix('r') {
                Some(word) if !NOT_DEEP.contains(&option) && is_known(word) => (true, word),
                _ => (false, option),
            };
            if let Some((_, set, clear)) = WORDS.iter().find(|(known, ..)| *known == word) {
                (if deep { &mut attributes.deep } else { &mut attributes.own }).add(*set, *clear);
            } else if let Some((_, kind)) = PROPAGATION.iter().find(|(known, _)| *known == word) {
                attributes.propagation = Some(Propagation { kind: *kind, is_deep: deep });
            } else if !IGNORED.contains(&option) && !option.starts_with("x-") {
                attributes.data.push(option.to_owned());
            }
        }
        attributes
    }

    /// Nothing but reading, for the mount alone.
    pub(crate) fn read_only() -> Self {
        Self::parse(["ro"])
    }

    /// Learns of no other mounts and tells of none, with all that are mounted below.
    pub(crate) fn private() -> Self {
        Self::parse(["rprivate"])
    }

    /// For fsmount(2).
    pub(crate) fn of_new_mount(&self) -> u64 {
        self.own.set | self.deep.set
    }

    /// Applies them to a mount that has no place yet, or that is the calling process's own.
    pub(crate) fn apply(&self, mount: impl AsFd) -> io::Result<()> {
        let propagation = |is_deep| self.propagation.filter(|one| one.is_deep == is_deep).map_or(0, |one| one.kind);
        for (change, is_deep) in [(self.own, false), (self.deep, true)] {
            if change != Change::default() || propagation(is_deep) != 0 {
                sys::set_mount_attributes(mount.as_fd(), change.set, change.clear, propagation(is_deep), is_deep)?;
            }
        }
        Ok(())
    }
}

impl Change {
    /// The last word counts.
    fn add(&mut self, set: u64, clear: u64) {
        self.set = self.set & !clear | set;
        self.clear = self.clear & !set | clear;
    }
}

fn is_known(word: &str) -> bool {
    WORDS.iter().any(|(known, ..)| *known == word) || PROPAGATION.iter().any(|(known, _)| *known == word)
}

/// They begin with the letter that makes others deep.
const NOT_DEEP: [&str; 5] = ["ro", "rw", "relatime", "rbind", "remount"];
/// Not for the kernel: how a mount is made, or what mount(8) makes of a line of fstab(5).
const IGNORED: [&str; 11] =
    ["bind", "rbind", "defaults", "auto", "noauto", "user", "nouser", "users", "owner", "group", "nofail"];
/// `mount_setattr(2)`. How access times are kept is one value of several, which has to be cleared first.
const WORDS: [(&str, u64, u64); 16] = [
    ("ro", libc::MOUNT_ATTR_RDONLY, 0),
    ("rw", 0, libc::MOUNT_ATTR_RDONLY),
    ("nosuid", libc::MOUNT_ATTR_NOSUID, 0),
    ("suid", 0, libc::MOUNT_ATTR_NOSUID),
    ("nodev", libc::MOUNT_ATTR_NODEV, 0),
    ("dev", 0, libc::MOUNT_ATTR_NODEV),
    ("noexec", libc::MOUNT_ATTR_NOEXEC, 0),
    ("exec", 0, libc::MOUNT_ATTR_NOEXEC),
    ("noatime", libc::MOUNT_ATTR_NOATIME, libc::MOUNT_ATTR__ATIME),
    ("atime", 0, libc::MOUNT_ATTR__ATIME),
    ("relatime", libc::MOUNT_ATTR_RELATIME, libc::MOUNT_ATTR__ATIME),
    ("strictatime", libc::MOUNT_ATTR_STRICTATIME, libc::MOUNT_ATTR__ATIME),
    ("nodiratime", libc::MOUNT_ATTR_NODIRATIME, 0),
    ("diratime", 0, libc::MOUNT_ATTR_NODIRATIME),
    ("nosymfollow", libc::MOUNT_ATTR_NOSYMFOLLOW, 0),
    ("symfollow", 0, libc::MOUNT_ATTR_NOSYMFOLLOW),
];
const PROPAGATION: [(&str, u64); 4] = [
    ("private", libc::MS_PRIVATE),
    ("slave", libc::MS_SLAVE),
    ("shared", libc::MS_SHARED),
    ("unbindable", libc::MS_UNBINDABLE),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_file_system_are_left_to_it() {
        let attributes = Attributes::parse(["nosuid", "mode=755", "bind", "ro", "sync"]);
        assert_eq!(attributes.data, ["mode=755", "sync"]);
        assert_eq!(attributes.of_new_mount(), libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID);
    }

    #[test]
    fn a_letter_makes_a_word_count_for_all_that_is_mounted_below() {
        let attributes = Attributes::parse(["rro", "rnosuid", "ro", "rprivate", "relatime"]);
        assert_eq!(attributes.deep.set, libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID);
        assert_eq!(attributes.own, Change { set: libc::MOUNT_ATTR_RDONLY, clear: libc::MOUNT_ATTR__ATIME });
        assert_eq!(attributes.propagation, Some(Propagation { kind: libc::MS_PRIVATE, is_deep: true }));
    }

    #[test]
    fn the_last_word_counts() {
        let attributes = Attributes::parse(["ro", "rw", "noatime", "strictatime"]);
        assert_eq!(attributes.own.set, libc::MOUNT_ATTR_STRICTATIME);
        assert_eq!(attributes.own.clear, libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR__ATIME);
    }
}
