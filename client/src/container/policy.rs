//! Which keys an image's own configuration may set.

mod mounts;

use std::path::{Component, Path};

use formats::lxc_config::{ConfigLine, LxcConfig};

use super::placeholders::TEMPLATE_CONFIG;

/// Checks the configuration an image brings, with its placeholders replaced. A configuration is code: `lxc.hook.*` runs
/// programs as root of the host, `lxc.mount.entry` shows host directories to the container, an empty `lxc.cap.drop`
/// gives back what the common configuration took away. So what is not on this list is refused, unless the user
/// names the key in `allowed`.
pub fn check_config(text: &str, allowed: &[String]) -> Result<(), PolicyError> {
    check_characters(text)?;
    for line in LxcConfig::parse(text).lines {
        match &line {
            ConfigLine::Item { key, value } => {
                if !allowed.contains(key) {
                    check_item(key, value).map_err(|reason| PolicyError::of(key, value, reason))?;
                }
            }
            ConfigLine::Other(other) if other.trim_start().starts_with("lxc.") => {
                return Err(PolicyError::Malformed { line: other.trim().to_owned() });
            }
            ConfigLine::Other(_) => {}
        }
    }
    Ok(())
}

/// Checks the mounts in an image's `fstab`, which are the same as those of `lxc.mount.entry`.
pub fn check_fstab(text: &str, allowed: &[String]) -> Result<(), PolicyError> {
    if allowed.iter().any(|key| key == FSTAB_KEY) {
        return Ok(());
    }
    check_characters(text)?;
    let entries = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    for entry in entries {
        mounts::check(entry).map_err(|reason| PolicyError::of(FSTAB_KEY, entry, reason))?;
    }
    Ok(())
}

/// Refuses what is a blank or the end of a line for some readers and not for others.
fn check_characters(text: &str) -> Result<(), PolicyError> {
    let is_foreign = |c: &char| (c.is_control() || c.is_whitespace()) && !"\n\t ".contains(*c);
    text.chars().find(is_foreign).map_or(Ok(()), |found| Err(PolicyError::Character { found }))
}

fn check_item(key: &str, value: &str) -> Result<(), &'static str> {
    match key {
        "lxc.include" => check_include(value),
        "lxc.cap.drop" if value.is_empty() => Err("it gives capabilities back"),
        "lxc.tty.dir" | "lxc.devttydir" if !is_inside(value) => Err("it leaves the container's /dev"),
        "lxc.mount.auto" => check_auto(value),
        "lxc.mount.entry" => mounts::check(value),
        // A name alone means the value that this variable has on the host.
        "lxc.environment" if !value.contains('=') => Err("it takes a variable from the host"),
        key if HARMLESS.contains(&key) => Ok(()),
        _ => Err("it is not among the keys an image may set"),
    }
}

fn check_include(value: &str) -> Result<(), &'static str> {
    let Ok(file) = Path::new(value).strip_prefix(TEMPLATE_CONFIG) else {
        return Err("it includes a file from elsewhere than LXC's own configuration");
    };
    let is_usual = is_plain(file) && INCLUDABLE.iter().any(|end| value.ends_with(end));
    if is_usual { Ok(()) } else { Err("it includes another file than a common configuration") }
}

fn check_auto(value: &str) -> Result<(), &'static str> {
    let known = value.split_ascii_whitespace().all(|mount| AUTOMATIC.contains(&mount));
    if known { Ok(()) } else { Err("it makes more of the host writable than is usual") }
}

/// A relative path without `..`.
fn is_inside(path: &str) -> bool {
    is_plain(Path::new(path)) && !path.contains('\\')
}

fn is_plain(path: &Path) -> bool {
    path.components().all(|component| matches!(component, Component::Normal(_) | Component::CurDir))
}

/// Why an image's configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A key that an image may not set, or not to this value.
    #[error("the image's configuration sets `{key}` to `{value}`: {reason}")]
    Key {
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// Why not.
        reason: &'static str,
    },
    /// A line that liblxc would take for an item and that is none.
    #[error("the image's configuration has the malformed line `{line}`")]
    Malformed {
        /// The line.
        line: String,
    },
    /// A character that liblxc and we could read differently.
    #[error("the image's configuration contains the control character or foreign blank {found:?}")]
    Character {
        /// The character.
        found: char,
    },
}

impl PolicyError {
    fn of(key: &str, value: &str, reason: &'static str) -> Self {
        Self::Key { key: key.to_owned(), value: value.to_owned(), reason }
    }

    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Key { key, .. } => Some(format!("if you trust this image with it, add `--allow-config-key {key}`")),
            Self::Malformed { .. } | Self::Character { .. } => None,
        }
    }
}

/// Keys that can only affect the container itself.
const HARMLESS: &[&str] = &[
    "lxc.arch",
    "lxc.autodev",
    "lxc.cap.drop",
    "lxc.devttydir",
    "lxc.environment",
    "lxc.haltsignal",
    "lxc.init.cmd",
    "lxc.init.cwd",
    "lxc.init_cmd",
    "lxc.kmsg",
    "lxc.pivotdir",
    "lxc.pts",
    "lxc.pty.max",
    "lxc.rebootsignal",
    "lxc.signal.halt",
    "lxc.signal.reboot",
    "lxc.signal.stop",
    "lxc.stopsignal",
    "lxc.tty",
    "lxc.tty.dir",
    "lxc.tty.max",
    "lxc.uts.name",
    "lxc.utsname",
];
/// Values of `lxc.mount.auto` that leave the host's settings read-only.
const AUTOMATIC: &[&str] = &["cgroup", "cgroup:mixed", "cgroup:ro", "proc", "proc:mixed", "sys", "sys:mixed", "sys:ro"];
/// Ends of the names of what distributions include: `debian.common.conf`, `userns.conf`. Others of the same directory
/// relax what these restrict, as `nesting.conf` does.
const INCLUDABLE: &[&str] = &["common.conf", "userns.conf"];
const FSTAB_KEY: &str = "lxc.mount.fstab";

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> PolicyError {
        check_config(text, &[]).expect_err(text)
    }

    #[test]
    fn what_images_of_this_world_set_is_accepted() {
        let text = "# Distribution configuration\n\
            lxc.include = /usr/share/lxc/config/common.conf\nlxc.include = /usr/share/lxc/config/debian.userns.conf\n\
            lxc.arch = linux64\nlxc.mount.auto = cgroup:mixed proc:mixed sys:mixed\nlxc.cap.drop = sys_time\n\
            lxc.mount.entry = tmpfs run tmpfs rw,nodev 0 0\nlxc.signal.halt = SIGPWR\nlxc.tty.dir = lxc\n";
        assert_eq!(check_config(text, &[]), Ok(()));
    }

    #[test]
    fn keys_that_reach_the_host_are_refused() {
        for line in [
            "lxc.hook.pre-start = /bin/sh -c evil",
            "lxc.hook.pre-start=/bin/true",
            "  lxc.hook.start = x",
            "lxc.include = /tmp/evil.conf",
            "lxc.include = /usr/share/lxc/config/../../../../tmp/evil.conf",
            "lxc.include = /usr/share/lxc/configuration/common.conf",
            "lxc.include = /usr/share/lxc/config/nesting.conf",
            "lxc.include = /usr/share/lxc/config/",
            "lxc.cap.drop =",
            "lxc.cap.keep = sys_admin",
            "lxc.mount.auto = sys:rw",
            "lxc.mount.entry = / mnt none bind 0 0",
            "lxc.mount.entry = tmpfs ../../../etc tmpfs rw 0 0",
            "lxc.mount.entry = tmpfs /etc tmpfs rw 0 0",
            "lxc.mount.entry = /etc etc tmpfs rbind 0 0",
            "lxc.mount.entry = sysfs sys sysfs rw 0 0",
            "lxc.rootfs.path = /",
            "lxc.apparmor.profile = unconfined",
            "lxc.tty.dir = ../../etc",
            "lxc.environment = SSH_AUTH_SOCK",
            "lxc.log.file = /etc/cron.d/x",
            "lxc.hook",
            "lxc.hook .pre-start = x",
        ] {
            refused(line);
        }
    }

    #[test]
    fn characters_that_two_parsers_could_read_differently_are_refused() {
        for text in [
            "lxc.arch = x\0",
            "# a\u{b}lxc.hook.start = x",
            "lxc.arch = \u{1b}[2J",
            "# a\rlxc.hook.start = x",
            "#\u{85}x",
        ] {
            assert!(matches!(refused(text), PolicyError::Character { .. }), "{text:?}");
        }
        for text in
            ["/ srv\rtmpfs none bind 0 0", "\u{c}# x overlay lowerdir=/,upperdir=/tmp", "# a\u{2028}/ srv none bind"]
        {
            assert!(matches!(check_fstab(text, &[]), Err(PolicyError::Character { .. })), "{text:?}");
        }
    }

    #[test]
    fn a_key_the_user_names_is_allowed_and_no_other() {
        let allowed = ["lxc.hook.start".to_owned()];
        assert_eq!(check_config("lxc.hook.start = /bin/true\n", &allowed), Ok(()));
        let error = check_config("lxc.hook.start = x\nlxc.hook.stop = y\n", &allowed).unwrap_err();
        assert!(error.hint().unwrap().ends_with("`--allow-config-key lxc.hook.stop`"), "{error:?}");
    }

    #[test]
    fn an_fstab_may_mount_what_a_config_may() {
        assert_eq!(check_fstab("# none\n\ntmpfs run tmpfs rw 0 0\n", &[]), Ok(()));
        assert!(check_fstab("/home home none bind 0 0\n", &[]).is_err());
        assert_eq!(check_fstab("/home home none bind 0 0\n", &["lxc.mount.fstab".to_owned()]), Ok(()));
    }
}
