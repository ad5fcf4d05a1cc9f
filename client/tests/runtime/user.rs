//! A plain user with subordinate ids, for as long as a test runs.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use crate::support::{Host, Ran, skip};

/// The user, whose home holds our program. It goes with this value, with its containers.
pub(crate) struct User {
    name: String,
    pub(crate) home: PathBuf,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The first subordinate id.
    pub(crate) first: u32,
}

impl User {
    pub(crate) fn or_skip(purpose: &str) -> Option<Self> {
        Host::or_skip()?;
        for program in ["newuidmap", "runuser", "useradd"] {
            if !["/usr/bin", "/usr/sbin", "/sbin"].iter().any(|directory| Path::new(directory).join(program).exists()) {
                return skip(&format!("there is no {program}: apt install uidmap util-linux passwd"));
            }
        }
        let _lock = ONE_AT_A_TIME.lock();
        let name = format!("rc-{purpose}-{}", std::process::id());
        let home = PathBuf::from("/var/tmp").join(&name);
        let made = Command::new("useradd").args(["-m", "-s", "/bin/sh", "-d"]).arg(&home).arg(&name).status().unwrap();
        assert!(made.success());
        let id = |flag: &str| {
            let output = Command::new("id").args([flag, &name]).output().unwrap();
            String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
        };
        let (uid, gid) = (id("-u"), id("-g"));
        let ranges = fs::read_to_string("/etc/subuid").unwrap();
        let range = ranges.lines().find_map(|line| line.strip_prefix(&format!("{name}:"))).unwrap();
        let first = range.split(':').next().unwrap().parse().unwrap();
        fs::set_permissions(&home, fs::Permissions::from_mode(0o755)).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_rootcellar"), home.join("rootcellar")).unwrap();
        Some(Self { name, home, uid, gid, first })
    }

    /// The command line that runs a script as the user, as at a login.
    pub(crate) fn words(&self, script: &str) -> Vec<String> {
        let script = format!("PATH=$HOME:$PATH; {script}");
        ["runuser", "-l", &self.name, "-c", &script].map(str::to_owned).to_vec()
    }

    /// Runs a script as the user, `rootcellar` by its name.
    pub(crate) fn sh(&self, script: &str) -> Ran {
        let words = self.words(script);
        Ran::of(Command::new(&words[0]).args(&words[1..]).output().unwrap())
    }

    /// Where the user's containers are.
    pub(crate) fn containers(&self) -> PathBuf {
        self.home.join(".local/share/lxc")
    }

    /// The directory of a container, with a root file system that belongs to the mapped ids, and this configuration.
    /// `owner` says whose a file is, by whose it is in the container.
    pub(crate) fn container(&self, name: &str, fill: impl FnOnce(&Path), owner: impl Fn(u32) -> u32, lines: &str) {
        self.sh(&format!("mkdir -p .local/share/lxc/{name}")).succeeds();
        let container = self.containers().join(name);
        let rootfs = container.join("rootfs");
        fs::create_dir_all(&rootfs).unwrap();
        fill(&rootfs);
        shift(&rootfs, &owner);
        let config = format!(
            "lxc.include = /nowhere/share/lxc/config/common.conf\nlxc.include = /nowhere/share/lxc/config/userns.conf\n\
             lxc.uts.name = {name}\nlxc.rootfs.path = dir:{}\n{lines}",
            rootfs.display()
        );
        fs::write(container.join("config"), config).unwrap();
        chown(container.join("config"), Some(self.uid), Some(self.gid)).unwrap();
    }

    /// The map that gives a container all of the user's subordinate ids.
    pub(crate) fn map(&self) -> String {
        format!("lxc.idmap = u 0 {0} 65536\nlxc.idmap = g 0 {0} 65536\n", self.first)
    }

    /// What `ls` says of a container.
    pub(crate) fn listed(&self, name: &str) -> serde_json::Value {
        let listing: serde_json::Value =
            serde_json::from_str(&self.sh("rootcellar --format json ls").succeeds()).unwrap();
        listing.as_array().unwrap().iter().find(|row| row["name"] == name).unwrap().clone()
    }
}

fn shift(path: &Path, owner: &impl Fn(u32) -> u32) {
    use std::os::unix::fs::MetadataExt;
    let data = path.symlink_metadata().unwrap();
    std::os::unix::fs::lchown(path, Some(owner(data.uid())), Some(owner(data.gid()))).unwrap();
    if !data.is_symlink() {
        // A change of the owner takes set-uid bits away.
        fs::set_permissions(path, data.permissions()).unwrap();
    }
    if data.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            shift(&entry.unwrap().path(), owner);
        }
    }
}

impl Drop for User {
    fn drop(&mut self) {
        for entry in fs::read_dir(self.containers()).into_iter().flatten().flatten() {
            self.sh(&format!("rootcellar stop -k {}", entry.file_name().to_str().unwrap_or_default()));
        }
        let _ = Command::new("userdel").args(["-r", "-f", &self.name]).output();
        let _ = fs::remove_dir_all(&self.home);
        let _ = fs::remove_dir_all(format!("/run/user/{}", self.uid));
    }
}

/// The files of users are locked by useradd, which does not wait.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
