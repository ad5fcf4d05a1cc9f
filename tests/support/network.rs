//! A network as Debian's lxc-net makes it, in namespaces of its own.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use super::program::{self, Program};
use super::server::TestServer;
use super::{TestHost, program::source};

/// A host's own view of the machine: a network with the bridge `lxcbr0` and DHCP on it, our program in the place of the
/// stock template, and the host's containers as `/var/lib/lxc`. Nothing of it is visible outside of its namespaces,
/// which end with this value.
pub(crate) struct TestNetwork {
    /// Gives out addresses, and holds the namespaces.
    dhcp: Child,
}

impl TestNetwork {
    pub(crate) fn of(host: &TestHost) -> Self {
        for directory in [host.containers(), host.path("cgroup")] {
            fs::create_dir_all(directory).unwrap();
        }
        fs::write(host.path("default.conf"), DEFAULT_CONF).unwrap();
        fs::write(host.path("leases"), "").unwrap();
        let path = |name| host.path(name).display().to_string();
        let dhcp = format!("lease_file {}\npidfile {}\n{DHCP}", path("leases"), path("udhcpd.pid"));
        fs::write(host.path("udhcpd.conf"), dhcp).unwrap();
        // Killed with the thread of the test, should it end without this value being dropped.
        let mut command = Program::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare", "-n", "-m", "--propagation", "private", "sh"])
            .arg(source().join("tests/support/network.sh"))
            .arg(host.path(""))
            .arg(program::ours("rootcellar"))
            .into_command();
        let mut dhcp = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(dhcp.stdout.as_mut().unwrap()).read_line(&mut ready).unwrap();
        assert_eq!(ready, "ready\n", "the network did not come up: {command:?}");
        Self { dhcp }
    }

    /// A server on the loopback of this network.
    pub(crate) fn server(&self, build: &std::path::Path) -> TestServer {
        TestServer::publishing_with(&[build], self.program(program::ours("rootcellar-server")))
    }

    /// A program that runs in the namespaces.
    pub(crate) fn program(&self, name: impl AsRef<std::ffi::OsStr>) -> Program {
        Program::new("nsenter").args(["-t", &self.dhcp.id().to_string(), "-n", "-m", "--"]).arg(name)
    }
}

impl Drop for TestNetwork {
    fn drop(&mut self) {
        let _ = self.dhcp.kill();
        let _ = self.dhcp.wait();
    }
}

const DEFAULT_CONF: &str = "lxc.net.0.type = veth\nlxc.net.0.link = lxcbr0\nlxc.net.0.flags = up\n";
const DHCP: &str = "interface lxcbr0\nstart 10.0.3.10\nend 10.0.3.60\noption subnet 255.255.255.0\n";
