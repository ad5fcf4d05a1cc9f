//! The real Incus, daemon and command line, of the Debian release that has it.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use formats::digest::Sha256;
use tempfile::TempDir;

use super::TestServer;
use super::program::{self, Outcome, Program, source};

/// A host that runs Incus: a tree of that release in mount, network and PID namespaces of its own, with a bridge for
/// containers. All of it ends with this value.
pub(crate) struct IncusHost {
    /// The first process of the namespaces, seen from outside.
    namespaces: Child,
    scratch: TempDir,
}

impl IncusHost {
    /// The namespaces with their network. The daemon starts with [`trusting`](Self::trusting).
    pub(crate) fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let log = fs::File::create(scratch.path().join("log")).unwrap();
        let mountpoint = scratch.path().join("memory");
        fs::create_dir(&mountpoint).unwrap();
        // Killed with the thread of the test, should it end without this value being dropped.
        let mut command = Program::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare", "-n", "-m", "-p", "-f", "--kill-child"])
            .args(["--propagation", "private", "sh"])
            .arg(source().join("tests/support/incus.sh"))
            .arg(tree())
            .arg(mountpoint)
            .into_command();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut namespaces = command.spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(namespaces.stdout.as_mut().unwrap()).read_line(&mut ready).unwrap();
        let this = Self { namespaces, scratch };
        assert_eq!(ready, "ready\n", "the network did not come up: {}", this.log());
        this
    }

    /// A server on the loopback of this host.
    pub(crate) fn server(&self, builds: &[&Path]) -> TestServer {
        let server = Program::new("nsenter").args(["-t", &self.namespaces.id().to_string(), "-n", "--"]);
        TestServer::publishing_with(builds, server.arg(program::ours("rootcellar-server")))
    }

    /// Starts the daemon on a host that trusts a server's authority, and gives containers a disk and the bridge.
    pub(crate) fn trusting(mut self, server: &TestServer) -> Self {
        writeln!(self.namespaces.stdin.as_mut().unwrap(), "{}", server.ca().display()).unwrap();
        let deadline = Instant::now() + Duration::from_mins(2);
        while !self.first_process().is_some_and(|_| self.run("incus admin waitready --timeout 60").is_success()) {
            assert!(Instant::now() < deadline, "Incus did not come up: {}", self.log());
            std::thread::sleep(Duration::from_millis(200));
        }
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
        let process = self.first_process().unwrap_or_else(|| panic!("the namespaces are over: {}", self.log()));
        Program::new("nsenter")
            .args(["-t", &process, "-m", "-p", "-n", "-r", "-w", "--", "env", "-i"])
            .args(["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"])
            .args(line.split(' '))
            .run()
    }

    fn first_process(&self) -> Option<String> {
        let id = self.namespaces.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        children.split_whitespace().next().map(str::to_owned)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.scratch.path().join("log")).unwrap_or_default()
    }
}

impl Drop for IncusHost {
    /// The control groups of containers would stay, so they are deleted first.
    fn drop(&mut self) {
        if self.first_process().is_some() {
            let names = self.run("incus list --format csv --columns n").stdout();
            for name in names.lines() {
                let _ = self.run(&format!("incus delete --force {name}"));
            }
        }
        let _ = self.namespaces.kill();
        let _ = self.namespaces.wait();
    }
}

/// The tree with Incus in it. It is made once and kept in the target directory, under the digest of what is in it.
fn tree() -> PathBuf {
    let name = format!("incus-{}", Sha256::of(format!("{SUITE} {PACKAGES}").as_bytes()).short());
    let kept = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let lock = fs::File::create(kept.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    if !kept.is_dir() {
        let new = kept.with_extension("new");
        let _ = fs::remove_dir_all(&new);
        let without = ["doc", "locale", "man"].map(|name| format!("--dpkgopt=path-exclude=/usr/share/{name}/*"));
        Program::new("mmdebstrap")
            .args(["--quiet", "--variant=minbase", "--include", PACKAGES])
            .args(without)
            .arg(SUITE)
            .arg(&new)
            .run()
            .succeeds();
        fs::rename(&new, &kept).unwrap();
    }
    kept
}

const SUITE: &str = "trixie";
const PACKAGES: &str = "incus-base,incus-client,ca-certificates,squashfs-tools,xdelta3,xz-utils";
