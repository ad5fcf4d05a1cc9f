//! The real Incus, daemon and command line, of the Debian release that has it.

use super::TestServer;
use super::machine::{Machine, debian_tree};
use super::program::Outcome;

/// A host that runs Incus: a machine of that release. All of it ends with this value.
pub(crate) struct IncusHost {
    machine: Machine,
}

impl IncusHost {
    /// The machine with its network; `None`, said as a skip, where the release cannot be had. The daemon starts with
    /// [`trusting`](Self::trusting).
    pub(crate) fn new() -> Option<Self> {
        let tree = debian_tree("trixie", PACKAGES)?;
        Some(Self { machine: Machine::new(&tree, "var/lib/incus", DAEMON) })
    }

    /// A server on the loopback of this host.
    pub(crate) fn server(&self, builds: &[&std::path::Path]) -> TestServer {
        self.machine.server(builds)
    }

    /// Starts the daemon on a host that trusts a server's authority, and gives containers a disk and the bridge.
    pub(crate) fn trusting(mut self, server: &TestServer) -> Self {
        self.machine.trust(server, "incus admin waitready --timeout 60");
        for line in [
            "incus storage create default dir",
            "incus profile device add default root disk path=/ pool=default",
            "incus profile device add default eth0 nic nictype=bridged parent=lxcbr0",
        ] {
            self.run(line).succeeds();
        }
        self
    }

    /// Runs a command line on the host.
    pub(crate) fn run(&self, line: &str) -> Outcome {
        self.machine.run(line)
    }
}

impl Drop for IncusHost {
    /// The control groups of containers would stay, so they are deleted first.
    fn drop(&mut self) {
        if self.machine.is_up() {
            let names = self.run("incus list --format csv --columns n").stdout();
            for name in names.lines() {
                let _ = self.run(&format!("incus delete --force {name}"));
            }
        }
    }
}

const PACKAGES: &str = "incus-base,incus-client,ca-certificates,squashfs-tools,xdelta3,xz-utils";
const DAEMON: &str = "mkdir -p /run/incus /var/log/incus
PATH=/usr/libexec/incus:$PATH exec incusd --group root --logfile=/var/log/incus/incus.log";
