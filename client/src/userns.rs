//! Where the template runs: on the host, or in which kind of user namespace.

use std::io;

use formats::compat::Mode;
use fs_err as fs;

/// Where this process runs, as stock templates tell it (lxc `templates/lxc-download.in`, `in_userns`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Outside of any user namespace.
    Host,
    /// In a user namespace that the host's root made, or as the root of a container: it shares the system's cache.
    RootNamespace,
    /// In a user namespace that a user made.
    UserNamespace,
}

impl Placement {
    /// Where this process runs.
    pub fn of_this_process() -> io::Result<Self> {
        let Ok(own) = fs::read_to_string("/proc/self/uid_map") else { return Ok(Self::Host) };
        let init = fs::read_to_string("/proc/1/uid_map").ok();
        Ok(Self::of(&own, init.as_deref()))
    }

    /// What the uid maps of this process and of process 1 mean.
    pub fn of(own: &str, init: Option<&str>) -> Self {
        for line in own.lines() {
            match line.split_ascii_whitespace().collect::<Vec<_>>()[..] {
                ["0", "0", "4294967295"] => return Self::Host,
                [_, "0", "1"] => return Self::RootNamespace,
                _ => {}
            }
        }
        if init == Some(own) { Self::RootNamespace } else { Self::UserNamespace }
    }

    /// Which editions of index and metadata apply.
    pub fn mode(self) -> Mode {
        match self {
            Self::Host => Mode::System,
            Self::RootNamespace | Self::UserNamespace => Mode::User,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "         0          0 4294967295\n";
    const USER: &str = "         0     100000      65536\n     65536       1000          1\n";
    const ROOT: &str = "         0     100000      65536\n     65536          0          1\n";

    #[test]
    fn the_maps_tell_who_made_the_namespace() {
        assert_eq!(Placement::of(HOST, Some(HOST)), Placement::Host);
        assert_eq!(Placement::of(USER, Some(HOST)), Placement::UserNamespace);
        assert_eq!(Placement::of(ROOT, Some(HOST)), Placement::RootNamespace);
        let container = "0 100000 65536\n";
        assert_eq!(Placement::of(container, Some(container)), Placement::RootNamespace);
        assert_eq!(Placement::of(container, None), Placement::UserNamespace);
    }

    #[test]
    fn only_the_host_is_in_system_mode() {
        assert_eq!(Placement::Host.mode(), Mode::System);
        assert_eq!(Placement::RootNamespace.mode(), Mode::User);
    }
}
