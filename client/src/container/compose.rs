//! The text of a container's `config`.

use std::path::Path;

use formats::compat::CompatLevel;
use formats::lxc_config::{Dialect, LxcConfig};

/// What a container's configuration is made of.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// What is there before the image is: the root file system and the user's `default.conf`.
    pub existing: &'a str,
    /// What the image brings, with its placeholders replaced.
    pub distribution: &'a str,
    /// The container's `fstab`, if the image has one.
    pub fstab: Option<&'a Path>,
    /// The container's name.
    pub name: &'a str,
}

/// The configuration in the order of the stock template: what is no item, the image's own lines, the items that were
/// there before, the network's last. For ordinary input it is the stock result, byte for byte.
///
/// Where the stock template moves every line in which `lxc.` occurs, comments included, and knows no network but
/// `lxc.net.0`, a line is judged here by its key. And what the user wrote is left as it is: no placeholders are
/// replaced in it.
pub fn compose(parts: Parts<'_>) -> String {
    let keys = Keys::of(dialect(parts.existing));
    let [mut rest, mut items, mut network] = [String::new(), String::new(), String::new()];
    for line in parts.existing.lines() {
        let section = match line.trim_start() {
            line if line.starts_with(keys.network) => &mut network,
            line if line.starts_with("lxc.") => &mut items,
            _ => &mut rest,
        };
        section.push_str(line);
        section.push('\n');
    }
    if let Some(fstab) = parts.fstab {
        for part in [keys.fstab, " = ", &fstab.display().to_string(), "\n"] {
            items.push_str(part);
        }
    }
    let (distribution, Keys { name, .. }) = (parts.distribution, keys);
    format!(
        "{rest}\n# Distribution configuration\n{distribution}\n# Container specific configuration\n{items}\
         {name} = {}\n\n# Network configuration\n{network}",
        parts.name
    )
}

/// The dialect of a configuration that liblxc began. LXC before 2.1 writes `lxc.rootfs`.
pub fn dialect(existing: &str) -> Dialect {
    LxcConfig::parse(existing).dialect().unwrap_or(Dialect::Current)
}

/// The compat level whose files of the LXC metadata speak this dialect. What came before LXC 2.1 cannot be told apart;
/// the last of them is what is still in use.
pub fn level(dialect: Dialect) -> CompatLevel {
    match dialect {
        Dialect::Current => CompatLevel::NEWEST,
        Dialect::Legacy => {
            CompatLevel::all().take_while(|level| *level < CompatLevel::NEW_KEYS).last().unwrap_or(CompatLevel::OLDEST)
        }
    }
}

#[derive(Clone, Copy)]
struct Keys {
    network: &'static str,
    fstab: &'static str,
    name: &'static str,
}

impl Keys {
    fn of(dialect: Dialect) -> Self {
        match dialect {
            Dialect::Current => Self { network: "lxc.net.", fstab: "lxc.mount.fstab", name: "lxc.uts.name" },
            Dialect::Legacy => Self { network: "lxc.network.", fstab: "lxc.mount", name: "lxc.utsname" },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn composed(existing: &str) -> String {
        compose(Parts { existing, distribution: "lxc.arch = linux64\n", fstab: None, name: "p1" })
    }

    #[test]
    fn sections_come_in_the_stock_order() {
        let existing = "lxc.net.0.type = veth\nlxc.net.0.link = lxcbr0\nlxc.rootfs.path = dir:/r\n# mine\n";
        assert_eq!(
            composed(existing),
            "# mine\n\n# Distribution configuration\nlxc.arch = linux64\n\n# Container specific configuration\n\
             lxc.rootfs.path = dir:/r\nlxc.uts.name = p1\n\n# Network configuration\nlxc.net.0.type = veth\n\
             lxc.net.0.link = lxcbr0\n"
        );
    }

    #[test]
    fn every_network_is_in_the_network_section_and_comments_stay() {
        let text = composed("lxc.rootfs.path = /r\nlxc.net.10.type = none\n#lxc.net.0.type = x\nlxcXnetX0 = y\n");
        assert!(text.ends_with("# Network configuration\nlxc.net.10.type = none\n"), "{text}");
        assert!(text.starts_with("#lxc.net.0.type = x\nlxcXnetX0 = y\n"), "{text}");
    }

    #[test]
    fn placeholders_in_the_users_lines_are_left_alone() {
        assert!(composed("lxc.environment = A=LXC_NAME\n").contains("A=LXC_NAME\n"));
    }

    #[test]
    fn the_old_dialect_is_kept() {
        let existing = "lxc.rootfs = /r\nlxc.rootfs.backend = dir\nlxc.network.type = veth\n";
        let fstab = Some(Path::new("/p/fstab"));
        let text = compose(Parts { existing, distribution: "lxc.tty = 4\n", fstab, name: "p1" });
        assert!(text.contains("lxc.rootfs.backend = dir\nlxc.mount = /p/fstab\nlxc.utsname = p1\n"), "{text}");
        assert!(text.ends_with("# Network configuration\nlxc.network.type = veth\n"), "{text}");
        assert_eq!(level(dialect(existing)).number(), 3);
        assert_eq!(level(dialect("lxc.rootfs.path = /r")), CompatLevel::NEWEST);
    }

    #[test]
    fn a_user_configuration_without_a_final_newline_keeps_its_last_line() {
        assert!(composed("lxc.rootfs.path = /r").contains("lxc.rootfs.path = /r\nlxc.uts.name"));
    }
}
