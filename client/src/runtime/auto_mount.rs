//! `lxc.mount.auto`: how much of `/proc`, `/sys` and `/sys/fs/cgroup` can be written.

use serde::{Deserialize, Serialize};

use super::settings::Notice;

/// The three file systems every container has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AutoMounts {
    pub(crate) proc: Access,
    pub(crate) sys: Access,
    pub(crate) cgroup: Access,
}

/// Who may write where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Access {
    /// Nothing can be written.
    ReadOnly,
    /// What belongs to the container can be written, what belongs to the machine cannot.
    #[default]
    Mixed,
    /// Everything can be written.
    ReadWrite,
}

impl AutoMounts {
    /// Applies one value, a list of `proc[:mixed|rw]`, `sys[:ro|mixed|rw]`, `cgroup[-full][:ro|mixed|rw][:force]`.
    pub(crate) fn apply(&mut self, value: &str, notices: &mut Vec<Notice>) {
        for word in value.split_whitespace() {
            let (name, rest) = word.split_once(':').unwrap_or((word, ""));
            let access = match rest.split(':').next() {
                Some("ro") => Access::ReadOnly,
                Some("rw") => Access::ReadWrite,
                _ => Access::Mixed,
            };
            match name {
                "proc" => self.proc = access,
                "sys" => self.sys = access,
                "cgroup" | "cgroup2" | "cgroup-full" => self.cgroup = access,
                _ => notices
                    .push(Notice { key: format!("lxc.mount.auto = {word}"), effect: "it is not done".to_owned() }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_system_has_its_own_access() {
        let mut mounts = AutoMounts::default();
        let mut notices = Vec::new();
        mounts.apply("cgroup:ro:force proc:rw sys", &mut notices);
        assert_eq!(mounts, AutoMounts { proc: Access::ReadWrite, sys: Access::Mixed, cgroup: Access::ReadOnly });
        assert!(notices.is_empty());
    }

    #[test]
    fn other_file_systems_are_named() {
        let mut notices = Vec::new();
        AutoMounts::default().apply("shmounts:/x", &mut notices);
        assert_eq!(notices[0].key, "lxc.mount.auto = shmounts:/x");
    }
}
