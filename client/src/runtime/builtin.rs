//! What stands in for the files LXC installs, on a host without LXC.

use std::path::Path;

/// Our equivalent of a file of LXC's configuration directory. `None` for any other path.
///
/// LXC has a `DISTRIBUTION.common.conf` and a `DISTRIBUTION.userns.conf` per distribution; what they add to the common
/// ones concerns hooks and old releases.
pub(crate) fn config(path: &Path) -> Option<&'static str> {
    let parent = path.parent()?;
    if !parent.ends_with("lxc/config") && !parent.ends_with("LXC_TEMPLATE_CONFIG") {
        return None;
    }
    let name = path.file_name()?.to_str()?;
    let is = |kind: &str| name == kind || name.strip_suffix(kind).is_some_and(|rest| rest.ends_with('.'));
    if is("common.conf") {
        Some(COMMON)
    } else if is("userns.conf") {
        Some(USERNS)
    } else if name == "common.conf.d" || name == "userns.conf.d" {
        Some("")
    } else {
        None
    }
}

/// The devices a container may use when its configuration says nothing: null, zero, full, random, urandom, tty,
/// console, ptmx, every pseudo terminal and fuse. Any node may be made, not opened.
pub(crate) const DEVICES: [&str; 12] = [
    "c *:* m",
    "b *:* m",
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:1 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
    "c 10:229 rwm",
];

/// Capabilities that would let root in a container without user namespace change the host: mandatory access control,
/// the clock, kernel modules, raw I/O ports.
const COMMON: &str = "\
lxc.pty.max = 1024
lxc.tty.max = 4
lxc.tty.dir = lxc
lxc.cap.drop = mac_admin mac_override sys_time sys_module sys_rawio
lxc.mount.auto = cgroup:mixed proc:mixed sys:mixed
lxc.mount.entry = /sys/fs/fuse/connections sys/fs/fuse/connections none bind,optional 0 0
";

/// In a user namespace the kernel keeps the capabilities in bounds.
const USERNS: &str = "\
lxc.cap.drop =
lxc.cap.keep =
lxc.mount.auto = sys:rw
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_common_files_of_every_distribution_have_an_equivalent() {
        for name in ["common.conf", "debian.common.conf", "ubuntu.userns.conf", "userns.conf"] {
            assert!(config(&Path::new("/usr/share/lxc/config").join(name)).is_some(), "{name}");
        }
    }

    #[test]
    fn other_files_have_none() {
        for path in ["/etc/common.conf", "/usr/share/lxc/config/nesting.conf", "/usr/share/lxc/config/uncommon.conf"] {
            assert!(config(Path::new(path)).is_none(), "{path}");
        }
    }
}
