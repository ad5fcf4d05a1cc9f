//! Linux capabilities, by name and as a set.

use serde::{Deserialize, Serialize};

/// A set of capabilities: bit `n` is capability `n`. Starts as all there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Capabilities(u64);

impl Default for Capabilities {
    fn default() -> Self {
        Self((1 << NAMES.len()) - 1)
    }
}

impl Capabilities {
    /// Applies a value of `lxc.cap.drop`: names to drop. An empty one brings everything back.
    pub(crate) fn drop(&mut self, names: &str) -> Result<(), ()> {
        if names.is_empty() {
            *self = Self::default();
        } else {
            self.0 &= !set(names)?;
        }
        Ok(())
    }

    /// Applies a value of `lxc.cap.keep`: names to keep, or `none`. An empty one keeps everything.
    pub(crate) fn keep(&mut self, names: &str) -> Result<(), ()> {
        *self = match names {
            "" => Self::default(),
            "none" => Self(0),
            names => Self(set(names)?),
        };
        Ok(())
    }

    /// Those the running kernel knows.
    pub(crate) fn known_here(self) -> Self {
        let last = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").ok();
        let last: u32 = last.and_then(|text| text.trim().parse().ok()).unwrap_or(37);
        Self(self.0 & 1_u64.checked_shl(last + 1).map_or(u64::MAX, |bit| bit - 1))
    }

    /// Those the calling process may give away: root has not always all.
    pub(crate) fn available(self) -> std::io::Result<Self> {
        Ok(Self(self.0 & rustix::thread::capabilities(None)?.permitted.bits()))
    }

    /// As bits.
    pub(crate) fn bits(self) -> u64 {
        self.0
    }
}

fn set(names: &str) -> Result<u64, ()> {
    names.split_whitespace().try_fold(0, |bits, name| {
        let name = name.to_ascii_lowercase();
        let name = name.strip_prefix("cap_").unwrap_or(&name);
        let number = NAMES.iter().position(|known| *known == name).ok_or(())?;
        Ok(bits | 1 << number)
    })
}

/// capabilities(7), in the order of `include/uapi/linux/capability.h`.
const NAMES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_add_up_until_an_empty_one() {
        let mut capabilities = Capabilities::default();
        capabilities.drop("sys_time sys_module").unwrap();
        capabilities.drop("CAP_MKNOD").unwrap();
        assert_eq!(capabilities.bits().count_ones(), 38);
        capabilities.drop("").unwrap();
        assert_eq!(capabilities, Capabilities::default());
    }

    #[test]
    fn keep_leaves_only_what_it_names() {
        let mut capabilities = Capabilities::default();
        capabilities.keep("chown sys_admin").unwrap();
        assert_eq!(capabilities.bits(), 1 | 1 << 21);
        capabilities.keep("none").unwrap();
        assert_eq!(capabilities.bits(), 0);
    }

    #[test]
    fn an_unknown_name_is_refused() {
        assert!(Capabilities::default().drop("sys_everything").is_err());
    }
}
