//! The words that stand for a container's own values in an image's files.

use std::path::Path;

/// The five placeholders of the stock template and what they stand for here.
#[derive(Clone, Debug)]
pub struct Placeholders {
    values: [(&'static str, String); 5],
}

impl Placeholders {
    /// The placeholders of a container: its name, its directory, its root file system.
    pub fn new(name: &str, directory: &Path, rootfs: &Path) -> Self {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        Self {
            values: [
                ("LXC_NAME", name.to_owned()),
                ("LXC_PATH", text(directory)),
                ("LXC_ROOTFS", text(rootfs)),
                ("LXC_TEMPLATE_CONFIG", TEMPLATE_CONFIG.to_owned()),
                ("LXC_HOOK_DIR", HOOK_DIR.to_owned()),
            ],
        }
    }

    /// The text with every placeholder replaced.
    ///
    /// One pass: a value is never looked at again, and no character in it means anything. The stock template runs
    /// five `sed` commands, in which `&`, `#` and `\` of a value do, and values that contain later placeholders are
    /// expanded once more.
    pub fn replace(&self, text: &[u8]) -> Vec<u8> {
        let mut replaced = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some((first, tail)) = rest.split_first() {
            let found = self.values.iter().find_map(|(key, value)| Some((rest.strip_prefix(key.as_bytes())?, value)));
            if let Some((after, value)) = found {
                replaced.extend_from_slice(value.as_bytes());
                rest = after;
            } else {
                replaced.push(*first);
                rest = tail;
            }
        }
        replaced
    }

    /// The same for text that is known to be UTF-8: the values are, too.
    pub fn replace_str(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.replace(text.as_bytes())).into_owned()
    }
}

/// Where LXC installs the files that configurations include.
pub const TEMPLATE_CONFIG: &str = "/usr/share/lxc/config";
/// Where LXC installs hooks.
const HOOK_DIR: &str = "/usr/share/lxc/hooks";

#[cfg(test)]
mod tests {
    use super::*;

    fn placeholders(name: &str) -> Placeholders {
        Placeholders::new(name, Path::new("/var/lib/lxc/p1"), Path::new("/var/lib/lxc/p1/rootfs"))
    }

    #[test]
    fn each_placeholder_is_replaced_wherever_it_stands() {
        let text =
            "LXC_NAME xLXC_NAMEx LXC_PATH/fstab LXC_ROOTFS LXC_TEMPLATE_CONFIG/common.conf LXC_HOOK_DIR LXC_OTHER";
        assert_eq!(
            placeholders("p1").replace_str(text),
            "p1 xp1x /var/lib/lxc/p1/fstab /var/lib/lxc/p1/rootfs /usr/share/lxc/config/common.conf \
             /usr/share/lxc/hooks LXC_OTHER"
        );
    }

    #[test]
    fn a_name_that_means_something_to_sed_is_taken_as_it_is() {
        let name = r"a&b#c\d\1LXC_PATH";
        assert_eq!(placeholders(name).replace_str("<LXC_NAME>"), format!("<{name}>"));
    }

    #[test]
    fn bytes_that_are_no_text_stay_as_they_are() {
        assert_eq!(placeholders("p1").replace(b"\xffLXC_NAME\xfe"), b"\xffp1\xfe");
    }
}
