//! What this host has and lacks for running containers.
//!
//! | module | what it looks at |
//! |---|---|
//! | `kernel` | its version, namespaces, filters of system calls, file systems |
//! | `options` | the options that lxc-checkconfig(1) checks |
//! | `cgroups` | the controllers and the hierarchies of control groups |
//! | `users` | what a plain user's containers need: subordinate ids, newuidmap(1), delegated control groups |
//! | `programs` | LXC, our template, the network, remotes, room |
//!
//! Everything is read through a [`Machine`], so that tests can show any machine.

mod cgroups;
mod kernel;
mod options;
mod programs;
mod users;

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::config::Config;
use crate::directories::Directories;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// The command that helps.
    pub fix: Option<String>,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Containers run without it, but not all of them or not as well.
    Advised,
    /// Containers do not run without it.
    Missing,
}

impl Verdict {
    /// The word for people, the same as in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Advised => "advised",
            Self::Missing => "missing",
        }
    }
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, found: found.into(), fix: None }
    }

    fn new(name: &'static str, verdict: Verdict, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, verdict, found: found.into(), fix: Some(fix.into()) }
    }
}

/// The machine that is looked at, as one of its users.
#[derive(Clone, Debug)]
pub struct Machine {
    /// `/`, but in tests.
    root: PathBuf,
    user: String,
    uid: u32,
}

impl Machine {
    /// This machine, as whoever runs this process.
    pub fn this() -> Self {
        let uid = rustix::process::geteuid().as_raw();
        let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let user = accounts.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            (fields.get(2)?.parse() == Ok(uid)).then(|| fields[0].to_owned())
        });
        Self { root: PathBuf::from("/"), user: user.unwrap_or_else(|| uid.to_string()), uid }
    }

    fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// What only containers of plain users cannot do without is advised to root.
    fn needed_by_users(&self) -> Verdict {
        if self.is_root() { Verdict::Advised } else { Verdict::Missing }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.at(path)).ok()
    }

    fn exists(&self, path: &str) -> bool {
        self.at(path).exists()
    }

    /// The version of the kernel, as uname(1) has it.
    fn release(&self) -> String {
        self.read("proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
    }

    /// Where a program is.
    fn program(&self, name: &str) -> Option<PathBuf> {
        let places = ["usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin"];
        places.iter().map(|place| self.root.join(place).join(name)).find(|path| path.is_file())
    }

    /// The command that installs a package, which has the given name in Debian, Fedora, Alpine, Arch and openSUSE.
    fn install(&self, names: [&str; 5]) -> String {
        let [debian, fedora, alpine, arch, suse] = names;
        let managers = [
            ("apt-get", "apt-get install", debian),
            ("dnf", "dnf install", fedora),
            ("apk", "apk add", alpine),
            ("pacman", "pacman -S", arch),
            ("zypper", "zypper install", suse),
        ];
        let found = managers.into_iter().find(|(program, ..)| self.program(program).is_some());
        found.map_or_else(|| format!("install `{debian}`"), |(_, command, package)| format!("{command} {package}"))
    }
}

/// Looks at everything.
pub fn examine(machine: &Machine, directories: &Directories, config: &Config) -> Vec<Check> {
    let mut checks = kernel::checks(machine);
    checks.extend(cgroups::checks(machine));
    checks.push(options::check(machine));
    checks.extend(users::checks(machine, &directories.containers));
    checks.extend(programs::checks(machine, &directories.cache, config.remotes.len()));
    checks
}

/// The part of a path that exists.
fn existing(path: &Path) -> &Path {
    path.ancestors().find(|part| part.exists()).unwrap_or(Path::new("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine with these files, looked at as this user.
    pub(super) fn machine(uid: u32, files: &[(&str, &str)]) -> (tempfile::TempDir, Machine) {
        let directory = tempfile::tempdir().unwrap();
        let machine = Machine { root: directory.path().to_owned(), user: "ana".to_owned(), uid };
        for (path, content) in files {
            fs::create_dir_all(machine.at(path).parent().unwrap()).unwrap();
            fs::write(machine.at(path), content).unwrap();
        }
        (directory, machine)
    }

    pub(super) fn verdict(checks: &[Check], name: &str) -> Verdict {
        checks.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("no `{name}` in {checks:?}")).verdict
    }

    const COMMANDS: [&str; 10] =
        ["apt-get", "cd", "chmod", "for", "modprobe", "mount", "rootcellar", "sudo", "sysctl", "usermod"];

    #[test]
    fn a_package_has_the_name_it_has_with_the_package_manager_that_is_there() {
        let names = ["uidmap", "shadow-utils", "shadow-uidmap", "shadow", "shadow"];
        for (manager, expected) in [
            ("usr/bin/apt-get", "apt-get install uidmap"),
            ("usr/bin/dnf", "dnf install shadow-utils"),
            ("sbin/apk", "apk add shadow-uidmap"),
            ("etc/none", "install `uidmap`"),
        ] {
            assert_eq!(machine(0, &[(manager, "")]).1.install(names), expected);
        }
    }

    #[test]
    fn whatever_is_not_ok_comes_with_what_helps() {
        let (_directory, machine) = machine(1000, &[("usr/bin/apt-get", "")]);
        let mut checks = kernel::checks(&machine);
        checks.extend(cgroups::checks(&machine));
        checks.push(options::check(&machine));
        checks.extend(users::checks(&machine, Path::new("/nowhere")));
        checks.extend(programs::checks(&machine, Path::new("/"), 0));
        assert!(checks.iter().filter(|check| check.verdict == Verdict::Missing).count() >= 4, "{checks:?}");
        for check in checks {
            assert_eq!(check.fix.is_some(), check.verdict != Verdict::Ok, "{check:?}");
            let Some(fix) = check.fix else { continue };
            let command = fix.split(' ').next().unwrap();
            assert!(COMMANDS.contains(&command), "{fix}");
        }
    }
}
