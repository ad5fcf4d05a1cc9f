//! A user with subordinate ids, for as long as a test runs.

use std::path::{Path, PathBuf};

use super::program::Program;

/// A plain user made for one test. It is removed with this value, with its home, its processes and its ranges.
pub(crate) struct TestUser {
    name: String,
    home: PathBuf,
}

impl TestUser {
    pub(crate) fn new(purpose: &str) -> Self {
        let name = format!("rc-{purpose}-{}", std::process::id());
        let home = PathBuf::from(format!("/var/tmp/{name}"));
        Program::new("useradd").args(["-m", "-s", "/bin/sh", "-d"]).arg(&home).arg(&name).run().succeeds();
        let user = Self { name, home };
        Program::new("chmod").arg("0755").arg(&user.home).run().succeeds();
        user
    }

    /// Runs a shell script as the user, with a login environment.
    pub(crate) fn sh(&self, script: &str) -> super::Outcome {
        Program::new("runuser").args(["-l", &self.name, "-c", script]).run()
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// The first subordinate id and how many there are.
    pub(crate) fn subordinate_ids(&self) -> (u32, u32) {
        let ranges = std::fs::read_to_string("/etc/subuid").unwrap();
        let prefix = format!("{}:", self.name);
        let range = ranges.lines().find_map(|line| line.strip_prefix(&prefix)).expect("useradd gives a range");
        let (start, count) = range.split_once(':').unwrap();
        (start.parse().unwrap(), count.parse().unwrap())
    }

    /// Writes a file owned by the user.
    pub(crate) fn write(&self, name: &str, content: &str) {
        let path = self.home.join(name);
        let directory = path.parent().unwrap();
        self.sh(&format!("mkdir -p {}", directory.display())).succeeds();
        std::fs::write(&path, content).unwrap();
        Program::new("chown").arg(format!("{}:", self.name)).arg(&path).run().succeeds();
    }
}

impl Drop for TestUser {
    fn drop(&mut self) {
        let _ = Program::new("userdel").args(["-r", "-f", &self.name]).run();
        let _ = std::fs::remove_dir_all(&self.home);
        for hierarchy in hierarchies() {
            remove_control_group(&hierarchy.join(&self.name));
        }
    }
}

/// The roots of the control group hierarchies: one on a host with version 2 alone, else one for each controller.
pub(crate) fn hierarchies() -> Vec<PathBuf> {
    let root = PathBuf::from("/sys/fs/cgroup");
    if root.join("cgroup.controllers").exists() {
        return vec![root];
    }
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir() && !path.is_symlink()).collect()
}

/// Removes the control groups of a container's monitors, which liblxc leaves behind when a program other than
/// `lxc-start` started the container: one, and a numbered one for each further start.
pub(crate) fn remove_monitor_groups(container: &str) {
    let first = format!("lxc.monitor.{container}");
    for hierarchy in hierarchies() {
        for entry in std::fs::read_dir(&hierarchy).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(|name| name.starts_with(&first)) {
                remove_control_group(&entry.path());
            }
        }
    }
}

/// Removes a control group without processes, those inside it first.
pub(crate) fn remove_control_group(group: &Path) {
    for entry in std::fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove_control_group(&entry.path());
        }
    }
    let _ = std::fs::remove_dir(group);
}
