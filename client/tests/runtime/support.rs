//! A containers directory with busybox containers, and the program that runs them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// A containers directory that disappears with everything that runs from it.
pub(crate) struct Host {
    directory: tempfile::TempDir,
}

impl Host {
    /// `None`, with the reason on stderr, where containers cannot be tried.
    pub(crate) fn or_skip() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return skip("the embedded runtime needs root");
        }
        let Ok(head) = fs::read(BUSYBOX) else { return skip("there is no busybox: apt install busybox-static") };
        if head.get(..4096).is_some_and(|head| head.windows(4).any(|bytes| bytes == b"/ld-")) {
            return skip("busybox is not static: apt install busybox-static");
        }
        Some(Self { directory: tempfile::tempdir().unwrap() })
    }

    /// The containers directory.
    pub(crate) fn containers(&self) -> PathBuf {
        self.directory.path().join("containers")
    }

    /// A container directory with busybox for everything, and these lines in its `config`.
    pub(crate) fn create(&self, name: &str, lines: &str) -> PathBuf {
        let container = self.containers().join(name);
        furnish(&container.join("rootfs"), name);
        self.configure(name, lines);
        container
    }

    /// Replaces the `config` of a container.
    pub(crate) fn configure(&self, name: &str, lines: &str) {
        let container = self.containers().join(name);
        let rootfs = container.join("rootfs");
        let common = "lxc.include = /nowhere/share/lxc/config/common.conf\nlxc.net.0.type = empty\n";
        let config = format!("{common}lxc.uts.name = {name}\nlxc.rootfs.path = dir:{}\n{lines}", rootfs.display());
        fs::write(container.join("config"), config).unwrap();
    }

    /// `rootcellar -P CONTAINERS …`, to be run.
    pub(crate) fn command<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rootcellar"));
        command.arg("-P").arg(self.containers()).args(words);
        command
    }

    /// Runs `rootcellar …` with words split at blanks.
    pub(crate) fn run(&self, words: &str) -> Ran {
        Ran::of(self.command(words.split(' ')).output().unwrap())
    }

    /// Runs a shell script in a container.
    pub(crate) fn script(&self, name: &str, script: &str) -> Ran {
        Ran::of(self.command(["exec", name, "--", "sh", "-c", script]).output().unwrap())
    }

    /// What `ls` says of a container.
    pub(crate) fn listed(&self, name: &str) -> serde_json::Value {
        let listing: serde_json::Value = serde_json::from_str(&self.run("--format json ls").stdout).unwrap();
        let found = listing.as_array().unwrap().iter().find(|row| row["name"] == name);
        found.unwrap_or_else(|| panic!("`{name}` is not in {listing}")).clone()
    }

    /// The state directory of a container, whether it is there or not.
    pub(crate) fn state(&self, name: &str) -> PathBuf {
        let containers = self.containers().canonicalize().unwrap();
        let digest = formats::digest::Sha256::of(containers.as_os_str().as_encoded_bytes()).to_string();
        Path::new("/run/rootcellar/runtime/v1").join(&digest[..16]).join(name)
    }

    /// The state file of a container that runs.
    pub(crate) fn record(&self, name: &str) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.state(name).join("state.json")).unwrap()).unwrap()
    }

    /// Every cgroup of containers of this directory.
    pub(crate) fn cgroups(&self) -> Vec<PathBuf> {
        let key = self.state("x").parent().unwrap().file_name().unwrap().to_owned();
        let mut found = Vec::new();
        let Ok(mounts) = fs::read_dir("/sys/fs/cgroup") else { return found };
        let mounts = mounts.map(|entry| entry.unwrap().path()).chain([PathBuf::from("/sys/fs/cgroup")]);
        found.extend(mounts.map(|mount| mount.join("rootcellar").join(&key)).filter(|path| path.exists()));
        found
    }
}

impl Host {
    /// Stops and destroys every container, those that others need last.
    pub(crate) fn clear(&self) {
        for _ in 0..3 {
            self.clear_once();
        }
    }

    fn clear_once(&self) {
        for entry in fs::read_dir(self.containers()).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let _ = self.command(["stop", "-k", name.to_str().unwrap_or_default()]).output();
            let _ = self.command(["destroy", "--snapshots", name.to_str().unwrap_or_default()]).output();
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.clear_once();
    }
}

/// Makes a root file system with busybox for everything.
pub(crate) fn furnish(rootfs: &Path, name: &str) {
    for directory in ["bin", "sbin", "etc", "proc", "sys", "dev", "run", "tmp", "root"] {
        fs::create_dir_all(rootfs.join(directory)).unwrap();
    }
    fs::copy(BUSYBOX, rootfs.join("bin/busybox")).unwrap();
    for applet in APPLETS {
        symlink("busybox", rootfs.join("bin").join(applet)).unwrap();
    }
    symlink("../bin/busybox", rootfs.join("sbin/init")).unwrap();
    fs::write(rootfs.join("etc/os-release"), format!("ID=busybox-{name}\n")).unwrap();
    fs::write(rootfs.join("etc/inittab"), "::sysinit:/bin/true\n::shutdown:/bin/true\n").unwrap();
}

/// How a program ended and what it said.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Asserts success and gives what was said on stdout.
    pub(crate) fn succeeds(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }

    /// Asserts the exit status and these words on stderr.
    pub(crate) fn fails(self, code: i32, words: &str) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.stderr.contains(words), "no `{words}` in {self:?}");
    }
}

/// Waits for something that takes a moment.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_mins(1);
    while !holds() {
        assert!(Instant::now() < patience, "{what} did not come about");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Says why a test did not run.
pub(crate) fn skip<T>(reason: &str) -> Option<T> {
    testkit::skip(reason);
    None
}

const BUSYBOX: &str = "/bin/busybox";
const APPLETS: [&str; 28] = [
    "cat", "chmod", "cp", "echo", "env", "false", "grep", "head", "hostname", "id", "kill", "ls", "mkdir", "mknod",
    "mount", "mv", "printf", "ps", "pwd", "readlink", "reboot", "rm", "sh", "sleep", "stty", "test", "true", "tty",
];
