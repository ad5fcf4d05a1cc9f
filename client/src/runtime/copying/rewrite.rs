//! The configuration of a copy: that of the original with the copy's own name, addresses and paths.

use std::fmt::Write as _;
use std::io::{self, Read};
use std::path::Path;

/// What is different in the copy.
#[derive(Debug)]
pub(crate) struct Rewrite<'a> {
    /// The original's directory, and the copy's.
    pub(crate) directories: (&'a Path, &'a Path),
    /// What of the original's directory the copy has, too. Paths to other things stay as they are.
    pub(crate) files: &'a [String],
    /// The copy's `lxc.rootfs.path`.
    pub(crate) rootfs: &'a str,
    /// Whether an overlay must keep its notes in user attributes.
    pub(crate) needs_user_xattrs: bool,
    /// The copy's name in its network; without one it keeps that of the original, and its hardware addresses.
    pub(crate) name: Option<&'a str>,
}

impl Rewrite<'_> {
    /// Rewrites a configuration line by line, in the dialect it has; comments and order stay.
    pub(crate) fn apply(&self, config: &str) -> io::Result<String> {
        let mut text = String::with_capacity(config.len() + 128);
        let (mut has_name, mut has_options) = (false, false);
        let is_old = config.lines().any(|line| split(line).is_some_and(|(key, _)| key == "lxc.rootfs"));
        for line in config.lines() {
            let Some((key, value)) = split(line) else {
                text += line;
                text.push('\n');
                continue;
            };
            let value = match (key, self.name) {
                ("lxc.rootfs.path" | "lxc.rootfs", _) => self.rootfs.to_owned(),
                ("lxc.rootfs.backend", _) => continue,
                ("lxc.rootfs.options", _) => {
                    has_options = true;
                    self.options(value)
                }
                ("lxc.uts.name" | "lxc.utsname", Some(name)) => {
                    has_name = true;
                    name.to_owned()
                }
                (key, Some(_)) if is_hardware_address(key) && !value.contains(['x', 'X']) && !value.is_empty() => {
                    hardware_address()?
                }
                _ => self.paths(value),
            };
            let _ = writeln!(text, "{key} = {value}");
        }
        if self.needs_user_xattrs && !has_options {
            text += "lxc.rootfs.options = userxattr\n";
        }
        if let Some(name) = self.name.filter(|_| !has_name) {
            let _ = writeln!(text, "{} = {name}", if is_old { "lxc.utsname" } else { "lxc.uts.name" });
        }
        Ok(text)
    }

    /// A text with paths into the original's directory leading into the copy's.
    pub(crate) fn paths(&self, text: &str) -> String {
        let (from, to) = self.directories;
        let mut text = text.to_owned();
        for file in self.files {
            let (old, new) = (format!("{}/{file}", from.display()), format!("{}/{file}", to.display()));
            let mut rewritten = String::with_capacity(text.len());
            let mut rest = text.as_str();
            while let Some((before, after)) = rest.split_once(&old) {
                // `hook.sh` is not `hook.sh.old`, nor one of another directory whose path ends the same.
                let begins = !before.ends_with(|last: char| !last.is_whitespace() && !"=:,".contains(last));
                let ends = !after.starts_with(|next: char| !next.is_whitespace() && !"/:,".contains(next));
                rewritten += before;
                rewritten += if begins && ends { &new } else { &old };
                rest = after;
            }
            text = rewritten + rest;
        }
        text
    }

    fn options(&self, value: &str) -> String {
        let has_it = value.split(',').any(|option| option.trim() == "userxattr");
        match (self.needs_user_xattrs && !has_it, value) {
            (true, "") => "userxattr".to_owned(),
            (true, value) => format!("{value},userxattr"),
            (false, value) => value.to_owned(),
        }
    }
}

/// The key and the value of a line that has them.
fn split(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once('=')?;
    let key = key.trim();
    (key.starts_with("lxc.")).then(|| (key, value.trim()))
}

fn is_hardware_address(key: &str) -> bool {
    (key.starts_with("lxc.net.") || key.starts_with("lxc.network.")) && key.ends_with(".hwaddr")
}

/// An address of the range that LXC takes its own from.
fn hardware_address() -> io::Result<String> {
    let mut bytes = [0; 3];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let [one, two, three] = bytes;
    Ok(format!("00:16:3e:{one:02x}:{two:02x}:{three:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewrite(config: &str, name: Option<&str>, needs_user_xattrs: bool) -> String {
        Rewrite {
            directories: (Path::new("/lxc/web"), Path::new("/lxc/new")),
            files: &["fstab", "hook.sh", "overlay", "rootfs"].map(str::to_owned),
            rootfs: "dir:/lxc/new/rootfs",
            needs_user_xattrs,
            name,
        }
        .apply(config)
        .unwrap()
    }

    #[test]
    fn name_root_file_system_and_paths_are_the_copys_own() {
        let config = "# kept\nlxc.rootfs.path = dir:/lxc/web/rootfs\nlxc.uts.name=web\n\
                      lxc.mount.fstab = /lxc/web/fstab\nlxc.hook.pre-start = /lxc/web/hook.sh web\n\
                      lxc.mount.entry = overlay srv overlay lowerdir=/usr,upperdir=/lxc/web/overlay/srv,create=dir\n\
                      lxc.mount.entry = /lxc/web/data srv none bind\n";
        assert_eq!(
            rewrite(config, Some("new"), false),
            "# kept\nlxc.rootfs.path = dir:/lxc/new/rootfs\nlxc.uts.name = new\n\
             lxc.mount.fstab = /lxc/new/fstab\nlxc.hook.pre-start = /lxc/new/hook.sh web\n\
             lxc.mount.entry = overlay srv overlay lowerdir=/usr,upperdir=/lxc/new/overlay/srv,create=dir\n\
             lxc.mount.entry = /lxc/web/data srv none bind\n"
        );
    }

    #[test]
    fn a_path_is_rewritten_only_where_all_of_it_is_meant() {
        let kept = "lxc.hook.pre-start = /lxc/web/hook.sh.old /srv/lxc/web/hook.sh\n";
        assert!(rewrite(kept, None, false).contains(kept));
    }

    #[test]
    fn hardware_addresses_are_new_unless_the_copy_is_the_same_container() {
        let config = "lxc.net.0.hwaddr = 00:16:3e:11:22:33\nlxc.net.1.hwaddr = 00:16:3e:xx:xx:xx\n";
        let copy = rewrite(config, Some("new"), false);
        assert!(!copy.contains("11:22:33") && copy.contains("lxc.net.0.hwaddr = 00:16:3e:"), "{copy}");
        assert!(copy.contains("lxc.net.1.hwaddr = 00:16:3e:xx:xx:xx\n"), "{copy}");
        assert_eq!(rewrite(config, None, false), config);
    }

    #[test]
    fn the_old_dialect_stays_and_a_missing_name_is_added_in_it() {
        let config = "lxc.rootfs = /lxc/web/rootfs\nlxc.rootfs.backend = dir\nlxc.network.hwaddr = 00:16:3e:11:22:33\n";
        let copy = rewrite(config, Some("new"), false);
        assert!(copy.starts_with("lxc.rootfs = dir:/lxc/new/rootfs\nlxc.network.hwaddr = "), "{copy}");
        assert!(copy.ends_with("lxc.utsname = new\n") && !copy.contains("backend"), "{copy}");
    }

    #[test]
    fn an_overlay_of_mapped_users_says_so_once() {
        let plain = rewrite("lxc.rootfs.path = /x\n", None, true);
        assert!(plain.ends_with("lxc.rootfs.options = userxattr\n"));
        assert_eq!(rewrite("lxc.rootfs.options = ro\n", None, true), "lxc.rootfs.options = ro,userxattr\n");
        assert_eq!(rewrite("lxc.rootfs.options = userxattr\n", None, true), "lxc.rootfs.options = userxattr\n");
    }
}
