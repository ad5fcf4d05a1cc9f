//! LXC's own programs, where they are installed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::support::{Ran, skip};

/// LXC with a containers directory. What it started there ends with it.
pub(crate) struct Lxc<'a> {
    containers: &'a Path,
    started: Vec<String>,
}

impl<'a> Lxc<'a> {
    pub(crate) fn or_skip(containers: &'a Path) -> Option<Self> {
        match Command::new("lxc-start").arg("--version").output() {
            Ok(output) if output.status.success() => {
                // Root of a container LXC runs is a stranger, and has to reach its root file system.
                fs::set_permissions(containers.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
                Some(Self { containers, started: Vec::new() })
            }
            _ => skip("there is no lxc-start: apt install lxc"),
        }
    }

    /// `lxc-VERB -P CONTAINERS -n NAME …`.
    pub(crate) fn run(&self, verb: &str, name: &str, words: &[&str]) -> Ran {
        let subordinates = self.containers.join("../subordinates");
        fs::write(&subordinates, format!("root:{MAPPED}:65536\n")).unwrap();
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "slave", "sh", "-ec", WITH_SUBORDINATES]).arg(subordinates);
        command.arg(format!("lxc-{verb}")).arg("-P").arg(self.containers).args(["-n", name]).args(words);
        Ran::of(command.output().unwrap())
    }

    /// Lets the container's configuration include LXC's own files.
    pub(crate) fn adapt(&self, name: &str) {
        let config = self.containers.join(name).join("config");
        let text = fs::read_to_string(&config).unwrap().replace("/nowhere/share", "/usr/share");
        fs::write(config, text).unwrap();
    }

    pub(crate) fn start(&mut self, name: &str) {
        self.started.push(name.to_owned());
        self.adapt(name);
        self.run("start", name, &["--", "/bin/sleep", "1000"]).succeeds();
    }

    /// Runs a shell script in a container that LXC runs.
    pub(crate) fn script(&self, name: &str, script: &str) -> Ran {
        self.run("attach", name, &["--clear-env", "--", "/bin/sh", "-c", script])
    }

    pub(crate) fn stop(&self, name: &str) {
        self.run("stop", name, &["-k"]).succeeds();
    }
}

impl Drop for Lxc<'_> {
    fn drop(&mut self) {
        for name in &self.started {
            let _ = self.run("stop", name, &["-k"]);
        }
    }
}

/// The user of the host that root of a mapped container is.
pub(crate) const MAPPED: u32 = 2_000_000;
/// LXC asks newuidmap(1) for mapped ids even as root, who usually has no subordinate ids.
const WITH_SUBORDINATES: &str = r#"mount --bind "$0" /etc/subuid; mount --bind "$0" /etc/subgid; exec "$@""#;
