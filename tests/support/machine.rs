//! A machine with another Debian on it: programs of a release that this host does not run.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use formats::digest::Sha256;
use tempfile::TempDir;

use super::TestServer;
use super::program::{self, Outcome, Program, source};

/// A tree of Debian in mount, network and PID namespaces of its own, with the bridge `lxcbr0` for containers. All of it
/// ends with this value.
pub(crate) struct Machine {
    /// What waits for the first process in the namespaces, seen from outside.
    namespaces: Child,
    scratch: TempDir,
}

impl Machine {
    /// The namespaces with their network. Their first process is `script`, which runs once the machine [trusts](Self::trust)
    /// a server, with the directory `memory` of the tree as a file system of its own.
    pub(crate) fn new(tree: &Path, memory: &str, script: &str) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let log = fs::File::create(scratch.path().join("log")).unwrap();
        let mountpoint = scratch.path().join("memory");
        fs::create_dir(&mountpoint).unwrap();
        // Killed with the thread of the test, should it end without this value being dropped.
        let mut command = Program::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare", "-n", "-m", "-p", "-f", "--kill-child"])
            .args(["--propagation", "private", "sh"])
            .arg(source().join("tests/support/machine.sh"))
            .arg(tree)
            .arg(mountpoint)
            .args([memory, script])
            .into_command();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut namespaces = command.spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(namespaces.stdout.as_mut().unwrap()).read_line(&mut ready).unwrap();
        let this = Self { namespaces, scratch };
        assert_eq!(ready, "ready\n", "the network did not come up: {}", this.log());
        this
    }

    /// A server on the loopback of this machine.
    pub(crate) fn server(&self, builds: &[&Path]) -> TestServer {
        let server = Program::new("nsenter").args(["-t", &self.namespaces.id().to_string(), "-n", "--"]);
        TestServer::publishing_with(builds, server.arg(program::ours("rootcellar-server")))
    }

    /// Has the machine trust a server's authority, and waits until it is up, which the command line `is_up` says.
    pub(crate) fn trust(&mut self, server: &TestServer, is_up: &str) {
        writeln!(self.namespaces.stdin.as_mut().unwrap(), "{}", server.ca().display()).unwrap();
        let deadline = Instant::now() + Duration::from_mins(2);
        while !self.first_process().is_some_and(|_| self.run(is_up).is_success()) {
            assert!(Instant::now() < deadline, "it did not come up: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Runs a command line on it.
    pub(crate) fn run(&self, line: &str) -> Outcome {
        self.program().args(line.split(' ')).run()
    }

    /// Runs a shell script on it.
    pub(crate) fn sh(&self, script: &str) -> Outcome {
        self.program().args(["sh", "-euc", script]).run()
    }

    /// A program on it, to be named.
    fn program(&self) -> Program {
        let process = self.first_process().unwrap_or_else(|| panic!("the namespaces are over: {}", self.log()));
        Program::new("nsenter").args(["-t", &process, "-m", "-p", "-n", "-r", "-w", "--", "env", "-i"]).args([
            "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME=/root",
            "LANG=C.UTF-8",
        ])
    }

    /// Puts a file of the host on it.
    pub(crate) fn copy(&self, from: &Path, to: &str) {
        let mut command = self.program().args(["install", "-D", "-m", "755", "/dev/stdin", to]).into_command();
        let status = command.stdin(fs::File::open(from).unwrap()).status().unwrap();
        assert!(status.success(), "cannot copy to {to}");
    }

    /// Whether its first process is there: else nothing can be run on it.
    pub(crate) fn is_up(&self) -> bool {
        self.first_process().is_some()
    }

    /// Ends every process on it, and waits until the last one has.
    pub(crate) fn end(&mut self) {
        let ended = match self.first_process() {
            Some(process) => Program::new("kill").args(["-KILL", &process]).run().is_success(),
            None => self.namespaces.kill().is_ok(),
        };
        if ended {
            let _ = self.namespaces.wait();
        }
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

impl Drop for Machine {
    fn drop(&mut self) {
        self.end();
    }
}

/// A tree of a Debian release with these packages, made by our builder. It is made once and kept in the target directory,
/// under the digest of what is in it. `None`, said as a skip, where the mirror has no such release.
pub(crate) fn debian_tree(suite: &str, packages: &str) -> Option<PathBuf> {
    let name = format!("{suite}-{}", Sha256::of(packages.as_bytes()).short());
    let kept = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("trees").join(name);
    fs::create_dir_all(kept.parent().unwrap()).unwrap();
    let lock = fs::File::create(kept.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    if kept.is_dir() {
        return Some(kept);
    }
    let scratch = tempfile::tempdir_in(kept.parent().unwrap()).unwrap();
    let new = scratch.path().join("tree");
    // A mirror that stands still for a while must not end the tests: its signatures stay good.
    let outcome = Program::ours("rootcellar-builder")
        .args(["bootstrap", "--accept-expired-lists", "--include", packages, "--cache"])
        .arg(scratch.path().join("cache"))
        .arg(suite)
        .arg(&new)
        .run();
    if let Some(reason) = unavailable(&outcome.stderr()) {
        testkit::skip(format_args!("no tree of {suite} can be had: {reason}"));
        return None;
    }
    outcome.succeeds();
    fs::rename(&new, &kept).unwrap();
    Some(kept)
}

/// What apt says when there is no such release, or when its packages do not go together now.
fn unavailable(said: &str) -> Option<&str> {
    let is_choice = ["fetching the package lists failed", "choosing packages failed"];
    let failed = is_choice.iter().any(|step| said.contains(&format!("error: {step}")));
    said.lines().rev().find(|line| line.trim_start().starts_with("E: ")).map(str::trim).filter(|_| failed)
}
