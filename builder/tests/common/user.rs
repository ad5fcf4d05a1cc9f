//! A plain user, for as long as a test runs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::sync::atomic::{AtomicU32, Ordering};

use assert_cmd::Command;

/// A user with a home, and with subordinate ids unless a test takes them away. It is removed with this value.
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) home: PathBuf,
    uid: u32,
    gid: u32,
    program: PathBuf,
}

impl User {
    /// `None`, said on stderr, where no user can be made.
    pub(crate) fn new() -> Option<Self> {
        Self::with(&[])
    }

    /// The same, with other options of useradd.
    pub(crate) fn with(options: &[&str]) -> Option<Self> {
        if !super::is_root() {
            return None;
        }
        for (program, package) in [("useradd", "passwd"), ("newuidmap", "uidmap")] {
            if !["/usr/sbin", "/usr/bin"].iter().any(|directory| Path::new(directory).join(program).exists()) {
                testkit::skip(format_args!("no {program}: install the package `{package}`"));
                return None;
            }
        }
        let name = format!("rc-b{}-{}", std::process::id(), USERS.fetch_add(1, Ordering::Relaxed));
        let home = PathBuf::from(format!("/var/tmp/{name}"));
        let mut add = Program::new("useradd");
        let done = add.args(["-m", "-s", "/bin/sh", "-d"]).arg(&home).args(options).arg(&name).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        let id = |flag: &str| {
            let output = Program::new("id").args([flag, name.as_str()]).output().unwrap();
            String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
        };
        let (uid, gid) = (id("-u"), id("-g"));
        // Ours may lie in a directory that is closed to others.
        let program = home.join("rootcellar-builder");
        fs::copy(env!("CARGO_BIN_EXE_rootcellar-builder"), &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&home, fs::Permissions::from_mode(0o755)).unwrap();
        Some(Self { name, home, uid, gid, program })
    }

    pub(crate) fn uid(&self) -> u32 {
        self.uid
    }

    pub(crate) fn gid(&self) -> u32 {
        self.gid
    }

    /// The program, run by this user in an environment of its own.
    pub(crate) fn builder(&self) -> Command {
        Command::from_std(self.command())
    }

    /// The same, for a caller that starts it in the background.
    pub(crate) fn command(&self) -> Program {
        let mut command = Program::new(&self.program);
        command.uid(self.uid).gid(self.gid).env_clear().current_dir(&self.home);
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", &self.home);
        command
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = Program::new("userdel").args(["-r", "-f", &self.name]).output();
        let _ = fs::remove_dir_all(&self.home);
    }
}

/// How many users this process has made.
static USERS: AtomicU32 = AtomicU32::new(0);
