//! What the kernel offers.

use super::options::rebuild;
use super::{Check, Machine, Verdict};

pub(super) fn checks(machine: &Machine) -> Vec<Check> {
    vec![version(machine), namespaces(machine), user_namespaces(machine), seccomp(machine), overlay(machine)]
}

/// LXC runs on older ones; the embedded runtime attaches every root file system with the calls of Linux 5.12.
fn version(machine: &Machine) -> Check {
    let release = machine.release();
    let mut numbers = release.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= (5, 12) {
        return Check::ok("Linux", release);
    }
    let debian = "linux-image-$(dpkg --print-architecture)";
    let install = machine.install([debian, "kernel", "linux-lts", "linux", "kernel-default"]);
    let found = format!("{release}: the embedded runtime needs 5.12 or newer");
    Check::new("Linux", Verdict::Missing, found, format!("{install} && reboot"))
}

fn namespaces(machine: &Machine) -> Check {
    let name = "namespaces";
    let missing = NAMESPACES.into_iter().filter(|(kind, _)| !machine.exists(&format!("proc/self/ns/{kind}")));
    let (missing, options): (Vec<&str>, Vec<&str>) = missing.unzip();
    if missing.is_empty() {
        return Check::ok(name, NAMESPACES.map(|(kind, _)| kind).join(" "));
    }
    Check::new(name, Verdict::Missing, format!("no namespaces of {}", missing.join(", ")), rebuild(&options))
}

/// What the kernel has, the administrator may have closed to plain users (`user_namespaces(7)`).
fn user_namespaces(machine: &Machine) -> Check {
    let name = "user namespaces";
    for (file, setting, open) in [
        ("proc/sys/user/max_user_namespaces", "user.max_user_namespaces", "65536"),
        ("proc/sys/kernel/unprivileged_userns_clone", "kernel.unprivileged_userns_clone", "1"),
        ("proc/sys/kernel/apparmor_restrict_unprivileged_userns", "kernel.apparmor_restrict_unprivileged_userns", "0"),
    ] {
        let Some(value) = machine.read(file) else { continue };
        let closes = if open == "0" { value.trim() != "0" } else { value.trim() == "0" };
        if closes {
            let found = format!("{setting} is {}", value.trim());
            return Check::new(name, machine.needed_by_users(), found, format!("sysctl -w {setting}={open}"));
        }
    }
    Check::ok(name, "open to plain users")
}

fn seccomp(machine: &Machine) -> Check {
    let status = machine.read("proc/self/status").unwrap_or_default();
    if status.lines().any(|line| line.starts_with("Seccomp:")) {
        return Check::ok("seccomp", "system calls can be filtered");
    }
    let fix = rebuild(&["SECCOMP", "SECCOMP_FILTER"]);
    Check::new("seccomp", Verdict::Missing, "system calls cannot be filtered", fix)
}

fn overlay(machine: &Machine) -> Check {
    let known = machine.read("proc/filesystems").unwrap_or_default();
    if known.lines().any(|line| line.ends_with("\toverlay")) {
        return Check::ok("overlay", "clones and snapshots can share their base");
    }
    Check::new("overlay", Verdict::Advised, "the file system is not there", "modprobe overlay")
}

/// The kinds of namespaces, as `/proc/self/ns` names them, each with the kernel's option.
const NAMESPACES: [(&str, &str); 7] = [
    ("mnt", "NAMESPACES"),
    ("pid", "PID_NS"),
    ("net", "NET_NS"),
    ("ipc", "IPC_NS"),
    ("uts", "UTS_NS"),
    ("user", "USER_NS"),
    ("cgroup", "CGROUPS"),
];

#[cfg(test)]
mod tests {
    use super::super::tests::machine;
    use super::*;

    #[test]
    fn a_setting_that_closes_user_namespaces_is_named_with_the_command_that_opens_them() {
        for (file, value, fix) in [
            ("proc/sys/user/max_user_namespaces", "0\n", "sysctl -w user.max_user_namespaces=65536"),
            ("proc/sys/kernel/unprivileged_userns_clone", "0\n", "sysctl -w kernel.unprivileged_userns_clone=1"),
            (
                "proc/sys/kernel/apparmor_restrict_unprivileged_userns",
                "1\n",
                "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
            ),
        ] {
            let (_directory, of_user) = machine(1000, &[(file, value)]);
            let check = user_namespaces(&of_user);
            assert_eq!((check.verdict, check.fix.as_deref()), (Verdict::Missing, Some(fix)));
            let (_directory, of_root) = machine(0, &[(file, value)]);
            assert_eq!(user_namespaces(&of_root).verdict, Verdict::Advised);
        }
    }

    #[test]
    fn a_kernel_that_the_embedded_runtime_cannot_use_is_a_failure_with_the_command_that_replaces_it() {
        let release = |text| [("proc/sys/kernel/osrelease", text), ("usr/bin/dnf", "")];
        for (text, verdict) in
            [("6.1.0-1-amd64\n", Verdict::Ok), ("5.12.0\n", Verdict::Ok), ("5.11.22-generic\n", Verdict::Missing)]
        {
            assert_eq!(version(&machine(0, &release(text)).1).verdict, verdict, "{text}");
        }
        let (_directory, old) = machine(0, &release("4.19.0\n"));
        let check = version(&old);
        assert_eq!(check.fix.as_deref(), Some("dnf install kernel && reboot"));
        assert!(check.found.contains("5.12"), "{}", check.found);
    }

    #[test]
    fn a_kind_of_namespace_that_is_missing_is_answered_with_its_option() {
        let there: Vec<(String, &str)> = ["mnt", "pid", "net", "ipc", "uts", "cgroup"]
            .map(|kind| (format!("proc/self/ns/{kind}"), ""))
            .into_iter()
            .collect();
        let files: Vec<(&str, &str)> = there.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        let (_directory, machine) = machine(0, &files);
        let check = namespaces(&machine);
        assert_eq!(check.found, "no namespaces of user");
        assert!(check.fix.unwrap().contains("scripts/config -e USER_NS "));
    }
}
