//! What a container's configuration asks for, as values the runtime acts on.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::auto_mount::AutoMounts;
use super::backing::{Backing, Options};
use super::builtin;
use super::capability::Capabilities;
use super::config::Item;
use super::error::ConfigProblem;
use super::hierarchy::Hierarchies;
use super::hooks::Hooks;
use super::idmap::IdMap;
use super::network::{Network, NetworkConfig};
use super::signal;
use super::ttys::Ttys;

/// One container's settings, and a notice for each key that is not done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) rootfs: Option<Backing>,
    pub(crate) rootfs_options: Options,
    pub(crate) hostname: Option<String>,
    pub(crate) is_32_bit: bool,
    pub(crate) environment: Vec<String>,
    /// Lines in the form of fstab(5), those of `lxc.mount.fstab` first.
    pub(crate) mounts: Vec<String>,
    pub(crate) auto_mounts: AutoMounts,
    pub(crate) capabilities: Capabilities,
    pub(crate) no_new_privileges: bool,
    pub(crate) init: Option<Vec<String>>,
    pub(crate) init_directory: Option<String>,
    pub(crate) halt_signal: Option<i32>,
    pub(crate) stop_signal: Option<i32>,
    pub(crate) network: Network,
    pub(crate) hooks: Hooks,
    pub(crate) pty_max: Option<u32>,
    pub(crate) ttys: Ttys,
    pub(crate) sysctl: Vec<(String, String)>,
    pub(crate) limits: Vec<Limit>,
    pub(crate) idmap: IdMap,
    /// Whether something is to be run in copies.
    pub(crate) has_clone_hook: bool,
    pub(crate) notices: Vec<Notice>,
}

/// A value for a file of a cgroup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Limit {
    pub(crate) key: String,
    pub(crate) version: CgroupVersion,
    /// The file, `memory.max`.
    pub(crate) file: String,
    pub(crate) value: String,
}

/// Which generation of cgroups a limit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum CgroupVersion {
    V1,
    V2,
}

/// Something the configuration asks for and the embedded runtime does otherwise or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The key, `lxc.hook.pre-start`.
    pub key: String,
    /// What happens instead, as a clause: `it is not done`.
    pub effect: String,
}

impl std::fmt::Display for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}`: {}", self.key, self.effect)
    }
}

impl Settings {
    /// Interprets a configuration, in order: as in liblxc, a later value replaces an earlier one, a list grows, and an
    /// empty value clears a list.
    pub(crate) fn new(items: &[Item]) -> Result<Self, ConfigProblem> {
        let mut settings = Self::default();
        let mut network = NetworkConfig::default();
        for item in items {
            if NetworkConfig::knows(&item.key) {
                network.add(&item.key, &item.value)?;
            } else {
                settings.apply(current_name(&item.key), &item.value)?;
            }
        }
        settings.network = network.finish(&mut settings.notices)?;
        settings.finish_rootfs()?;
        settings.notices.dedup();
        if !settings.idmap.is_empty() {
            settings.idmap.root()?;
        }
        Ok(settings)
    }

    fn apply(&mut self, key: &str, value: &str) -> Result<(), ConfigProblem> {
        let bad = |expected| ConfigProblem::Value { key: key.to_owned(), expected, found: value.to_owned() };
        match key {
            "lxc.rootfs.path" => self.rootfs = Some(value.parse()?),
            "lxc.rootfs.options" => self.rootfs_options = Options::parse(value),
            "lxc.uts.name" => self.hostname = Some(value.to_owned()),
            "lxc.arch" => self.is_32_bit = is_32_bit(value).ok_or_else(|| bad("an architecture"))?,
            "lxc.environment" => extend(&mut self.environment, value),
            "lxc.mount.entry" => extend(&mut self.mounts, value),
            "lxc.mount.fstab" => self.add_fstab(Path::new(value))?,
            "lxc.mount.auto" => self.auto_mounts.apply(value, &mut self.notices),
            "lxc.cap.drop" => self.capabilities.drop(value).map_err(|()| bad("names of capabilities"))?,
            "lxc.cap.keep" => self.capabilities.keep(value).map_err(|()| bad("names of capabilities or `none`"))?,
            "lxc.no_new_privs" => self.no_new_privileges = value == "1",
            "lxc.init.cmd" | "lxc.execute.cmd" => {
                let words: Vec<String> = value.split_whitespace().map(str::to_owned).collect();
                self.init = (!words.is_empty()).then_some(words);
            }
            "lxc.init.cwd" => self.init_directory = Some(value.to_owned()),
            "lxc.signal.halt" => self.halt_signal = Some(signal::parse(value).ok_or_else(|| bad("a signal"))?),
            "lxc.signal.stop" => self.stop_signal = Some(signal::parse(value).ok_or_else(|| bad("a signal"))?),
            "lxc.pty.max" => self.pty_max = Some(value.parse().map_err(|_| bad("a number"))?),
            "lxc.tty.max" => self.ttys.max = tty_max(value).ok_or_else(|| bad("a number up to 64"))?,
            "lxc.tty.dir" => self.ttys.directory = tty_directory(value).ok_or_else(|| bad("a path below `/dev`"))?,
            "lxc.idmap" => self.idmap.add(value)?,
            // The name of a copy is its own without that.
            "lxc.hook.clone" => self.has_clone_hook = !value.is_empty() && !value.ends_with("/clonehostname"),
            "lxc.hook" if value.is_empty() => self.hooks = Hooks::default(),
            _ if key.strip_prefix("lxc.hook.").is_some_and(|name| self.hooks.add(name, value)) => {}
            "lxc.seccomp.profile" if !is_usual_profile(value) => self.notice(key, "the default profile is used"),
            "lxc.autodev" if value == "0" => self.notice(key, "`/dev` is made all the same"),
            "lxc.ephemeral" if value == "1" => self.notice(key, "the container stays when it has ended"),
            "lxc.console.path" | "lxc.console.logfile" | "lxc.console.rotate" if !value.is_empty() => {
                self.notice(key, "it is not done; `rootcellar logs` shows what the console said");
            }
            "lxc.apparmor.profile" if Path::new("/sys/kernel/security/apparmor").exists() && value != "unconfined" => {
                self.notice(key, "no profile is applied");
            }
            _ if key.starts_with("lxc.sysctl.") => {
                self.sysctl.push((key.trim_start_matches("lxc.sysctl.").to_owned(), value.to_owned()));
            }
            _ if key.starts_with("lxc.cgroup.") || key.starts_with("lxc.cgroup2.") => self.apply_limit(key, value),
            _ if REPLACED.iter().any(|prefix| key.starts_with(prefix)) || value.is_empty() => {
                tracing::debug!(key, value, "`{key}` has no effect in the embedded runtime");
            }
            _ => self.notice(key, "it is not done"),
        }
        Ok(())
    }

    /// What a root file system of this kind does not do with its options, and what it must do with mapped ids.
    fn finish_rootfs(&mut self) -> Result<(), ConfigProblem> {
        match self.rootfs {
            None => return Err(ConfigProblem::NoRootfs),
            Some(Backing::Overlay(_)) => self.rootfs_options.has_user_xattrs |= !self.idmap.is_empty(),
            Some(Backing::Directory(_)) => {
                for option in std::mem::take(&mut self.rootfs_options.others) {
                    self.notice("lxc.rootfs.options", &format!("the option `{option}` is not done"));
                }
            }
        }
        Ok(())
    }

    fn notice(&mut self, key: &str, effect: &str) {
        self.notices.push(Notice { key: key.to_owned(), effect: effect.to_owned() });
    }

    fn add_fstab(&mut self, file: &Path) -> Result<(), ConfigProblem> {
        let text = std::fs::read_to_string(file).map_err(|_| ConfigProblem::MissingInclude(file.to_owned()))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        self.mounts.splice(0..0, lines.map(str::to_owned));
        Ok(())
    }

    fn apply_limit(&mut self, key: &str, value: &str) {
        let (version, file) = match key.strip_prefix("lxc.cgroup2.") {
            Some(file) => (CgroupVersion::V2, file),
            None => (CgroupVersion::V1, key.trim_start_matches("lxc.cgroup.")),
        };
        if !file.contains('.') || file.starts_with("dir.") {
            self.notice(key, "it is not done");
        } else if value.is_empty() {
            self.limits.retain(|limit| limit.key != key);
        } else {
            let (key, file, value) = (key.to_owned(), file.to_owned(), value.to_owned());
            self.limits.push(Limit { key, version, file, value });
        }
    }

    /// The limits this host can keep, and a notice for each that it cannot. A configuration usually has its limits
    /// twice, for both generations of cgroups: the one that the host has not is left out without a word.
    pub(crate) fn limits(&self, hierarchies: &Hierarchies) -> (Vec<Limit>, Vec<Notice>) {
        // A plain user's container cannot make device nodes, and the user cannot restrict the rest.
        let is_root = rustix::process::geteuid().is_root();
        let limits = self.limits.iter().filter(|limit| is_root || limit.controller() != "devices").cloned();
        let (mut kept, left): (Vec<Limit>, Vec<Limit>) = limits.partition(|limit| hierarchies.can_keep(limit));
        let notices = left.iter().filter(|limit| !kept.iter().any(|other| other.controller() == limit.controller()));
        let notices = notices.map(|limit| Notice {
            key: limit.key.clone(),
            effect: if is_root {
                "this host has no such controller; the limit is not kept".to_owned()
            } else {
                "no cgroup with this controller is delegated to you; the limit is not kept".to_owned()
            },
        });
        let notices = notices.collect();
        if is_root && !kept.iter().any(|limit| limit.controller() == "devices") {
            let version = hierarchies.device_version();
            let device = |file: &str, value: &str| Limit {
                key: "the default list of devices".to_owned(),
                version,
                file: file.to_owned(),
                value: value.to_owned(),
            };
            kept.push(device("devices.deny", "a"));
            kept.extend(builtin::DEVICES.map(|value| device("devices.allow", value)));
        }
        (kept, notices)
    }
}

impl Limit {
    /// What it limits, `memory`.
    pub(crate) fn controller(&self) -> &str {
        self.file.split_once('.').map_or(&self.file, |(controller, _)| controller)
    }
}

fn extend(list: &mut Vec<String>, value: &str) {
    if value.is_empty() {
        list.clear();
    } else {
        list.push(value.to_owned());
    }
}

/// Somebody has to keep them open: no more than what nobody needs.
fn tty_max(value: &str) -> Option<u32> {
    if value.is_empty() { Some(0) } else { value.parse().ok().filter(|number| *number <= 64) }
}

/// A relative path without `..`, or nothing.
fn tty_directory(value: &str) -> Option<String> {
    let is_inside = Path::new(value).components().all(|part| matches!(part, std::path::Component::Normal(_)));
    is_inside.then(|| value.to_owned())
}

fn is_32_bit(value: &str) -> Option<bool> {
    match value {
        "linux32" => Some(true),
        "linux64" => Some(false),
        _ => value.parse::<formats::arch::Arch>().ok().map(|arch| arch.personality() == "linux32"),
    }
}

/// The name a key has had since LXC 2.1 (compat level 4).
fn current_name(key: &str) -> &str {
    match key {
        "lxc.rootfs" => "lxc.rootfs.path",
        "lxc.utsname" => "lxc.uts.name",
        "lxc.pts" => "lxc.pty.max",
        "lxc.tty" => "lxc.tty.max",
        "lxc.mount" => "lxc.mount.fstab",
        "lxc.id_map" => "lxc.idmap",
        "lxc.init_cmd" => "lxc.init.cmd",
        "lxc.haltsignal" => "lxc.signal.halt",
        "lxc.stopsignal" => "lxc.signal.stop",
        "lxc.aa_profile" => "lxc.apparmor.profile",
        "lxc.seccomp" => "lxc.seccomp.profile",
        "lxc.environment.runtime" | "lxc.environment.hooks" => "lxc.environment",
        _ => key,
    }
}

/// The profile that LXC's own common configuration names, which ours is like.
fn is_usual_profile(value: &str) -> bool {
    value.is_empty() || value.ends_with("/common.seccomp")
}

/// Keys whose job the embedded runtime does in its own way, and keys for other programs than the one that starts a
/// container.
const REPLACED: [&str; 14] = [
    "lxc.apparmor.",
    "lxc.autodev",
    "lxc.console.",
    "lxc.ephemeral",
    "lxc.group",
    "lxc.log.",
    "lxc.monitor.",
    "lxc.rootfs.backend",
    "lxc.rootfs.managed",
    "lxc.rootfs.mount",
    "lxc.seccomp.",
    "lxc.signal.reboot",
    "lxc.start.",
    "lxc.uts.",
];

#[cfg(test)]
mod tests {
    use super::*;
    use formats::lxc_config::LxcConfig;

    fn settings(text: &str) -> Result<Settings, ConfigProblem> {
        let config = LxcConfig::parse(text);
        let item = |(key, value): (&str, &str)| Item { key: key.to_owned(), value: value.to_owned(), file: "c".into() };
        let mut items: Vec<Item> = config.items().map(item).collect();
        items.push(item(("lxc.rootfs.path", "dir:/srv/web1")));
        Settings::new(&items)
    }

    #[test]
    fn keys_that_are_not_done_are_named() {
        let keys = ["lxc.hook.nonesuch", "lxc.selinux.context", "lxc.prlimit.nofile", "lxc.seccomp.profile"];
        let settings = settings(&keys.map(|key| format!("{key} = x\n")).concat()).unwrap();
        assert_eq!(settings.notices.iter().map(|notice| notice.key.as_str()).collect::<Vec<_>>(), keys);
    }

    #[test]
    fn what_lxcs_own_common_configuration_says_needs_no_word() {
        let text = "lxc.seccomp.profile = /usr/share/lxc/config/common.seccomp\nlxc.autodev = 1\nlxc.ephemeral = 0\n\
                    lxc.hook.clone = /usr/share/lxc/hooks/clonehostname\nlxc.hook.pre-start = /bin/true\n";
        let settings = settings(text).unwrap();
        assert_eq!(settings.notices, []);
        assert!(!settings.has_clone_hook);
    }

    #[test]
    fn ids_are_mapped_in_both_dialects_and_the_container_needs_a_root() {
        let new = settings("lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\n").unwrap();
        let old = settings("lxc.id_map = u 0 100000 65536\nlxc.id_map = g 0 100000 65536\n").unwrap();
        assert_eq!(new.idmap, old.idmap);
        assert!(!new.idmap.is_empty() && new.notices.is_empty());
        assert!(matches!(settings("lxc.idmap = u 0 100000 65536").unwrap_err(), ConfigProblem::IdMap(_)));
        assert!(matches!(settings("lxc.idmap = nonsense").unwrap_err(), ConfigProblem::IdMap(_)));
    }

    #[test]
    fn the_names_of_old_lxc_are_understood() {
        let settings = settings("lxc.utsname = old\nlxc.network.type = none\nlxc.pts = 7\n").unwrap();
        assert_eq!(settings.hostname.as_deref(), Some("old"));
        assert_eq!((settings.network, settings.pty_max), (Network::Host, Some(7)));
        assert!(settings.notices.is_empty());
    }

    #[test]
    fn an_overlay_with_mapped_ids_keeps_its_notes_in_user_attributes() {
        let mapped = "lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\n";
        let options = |text: &str, rootfs: &str| {
            let config = LxcConfig::parse(text);
            let items = config.items().chain([("lxc.rootfs.path", rootfs)]);
            let item = |(key, value): (&str, &str)| Item { key: key.into(), value: value.into(), file: "c".into() };
            Settings::new(&items.map(item).collect::<Vec<_>>()).unwrap()
        };
        assert!(options(mapped, "overlay:/a:/b").rootfs_options.has_user_xattrs);
        assert!(!options("", "overlay:/a:/b").rootfs_options.has_user_xattrs);
        assert!(!options(mapped, "dir:/a").rootfs_options.has_user_xattrs);
        let unknown = "lxc.rootfs.options = volatile\n";
        assert!(options(unknown, "overlay:/a:/b").notices.is_empty());
        assert_eq!(options(unknown, "dir:/a").notices[0].key, "lxc.rootfs.options");
    }

    #[test]
    fn a_configuration_without_devices_gets_the_default_list() {
        if !rustix::process::geteuid().is_root() {
            testkit::skip("only root restricts devices");
            return;
        }
        let files = |text: &str, host: &str| -> Vec<String> {
            let (limits, _) = settings(text).unwrap().limits(&Hierarchies::parse(host));
            limits.into_iter().map(|limit| limit.file).collect()
        };
        assert_eq!(files("lxc.cgroup.memory.max = 1G", V1)[..2], ["memory.max", "devices.deny"]);
        assert_eq!(files("lxc.cgroup.devices.allow = a", V1), ["devices.allow"]);
        assert_eq!(files("lxc.cgroup2.devices.allow = a", V2), ["devices.allow"]);
        assert_eq!(files("lxc.cgroup2.devices.allow = a", V1)[0], "devices.deny");
    }

    #[test]
    fn a_limit_that_the_host_cannot_keep_is_named_unless_its_twin_is_kept() {
        let notices = |text: &str| settings(text).unwrap().limits(&Hierarchies::parse(V1)).1;
        assert!(notices("lxc.cgroup.memory.limit_in_bytes = 1G\nlxc.cgroup2.memory.max = 1G\n").is_empty());
        assert_eq!(notices("lxc.cgroup2.memory.max = 1G\n")[0].key, "lxc.cgroup2.memory.max");
        assert_eq!(notices("lxc.cgroup.hugetlb.2MB.limit_in_bytes = 1G\n").len(), 1);
    }

    const V1: &str = "31 30 0:27 / /sys/fs/cgroup/all rw - cgroup cgroup rw,memory,devices\n";
    const V2: &str = "33 30 0:29 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn an_empty_limit_clears_the_earlier_ones() {
        let settings = settings("lxc.cgroup.pids.max = 9\nlxc.cgroup.pids.max =\nlxc.cgroup.pids.max = 8\n").unwrap();
        assert_eq!(settings.limits.len(), 1);
        assert_eq!(settings.limits[0].value, "8");
    }

    #[test]
    fn signals_and_commands_are_read() {
        let settings = settings("lxc.signal.halt = SIGRTMIN+4\nlxc.init.cmd = /bin/init --fast\n").unwrap();
        assert_eq!(settings.halt_signal, Some(38));
        assert_eq!(settings.init.unwrap(), ["/bin/init", "--fast"]);
    }

    #[test]
    fn a_value_of_the_wrong_form_is_refused_with_its_key() {
        let problem = settings("lxc.signal.stop = SIGNOTHING").unwrap_err();
        assert!(matches!(problem, ConfigProblem::Value { key, .. } if key == "lxc.signal.stop"));
    }
}
