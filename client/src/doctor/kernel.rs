//! What the kernel offers.

use std::process::Command;

use super::{Check, Machine, Verdict};
use crate::runtime::hierarchy::Hierarchies;

pub(super) fn checks(machine: &Machine) -> Vec<Check> {
    let mut checks = vec![namespaces(machine), user_namespaces(machine), control_groups(machine)];
    checks.extend(options(machine));
    checks.extend([seccomp(machine), overlay(machine), idmapped_mounts(machine)]);
    checks
}

fn namespaces(machine: &Machine) -> Check {
    let name = "namespaces";
    let missing: Vec<&str> =
        NAMESPACES.into_iter().filter(|kind| !machine.exists(&format!("proc/self/ns/{kind}"))).collect();
    if missing.is_empty() {
        return Check::ok(name, NAMESPACES.join(" "));
    }
    let fix = format!("boot a kernel with CONFIG_NAMESPACES=y and those for {}", missing.join(", "));
    Check::new(name, Verdict::Missing, format!("no namespaces of {}", missing.join(", ")), fix)
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

fn control_groups(machine: &Machine) -> Check {
    let name = "control groups";
    let hierarchies = Hierarchies::parse(&machine.read("proc/self/mountinfo").unwrap_or_default());
    let count = hierarchies.iter().count();
    if count == 0 {
        let fix = "mount -t cgroup2 cgroup2 /sys/fs/cgroup";
        return Check::new(name, Verdict::Missing, "no hierarchy is mounted", fix);
    }
    let controllers = machine.read("sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    let has = |controller: &str| {
        controllers.split_ascii_whitespace().any(|known| known == controller)
            || hierarchies.controller(controller).is_some()
    };
    let missing: Vec<&str> = CONTROLLERS.into_iter().filter(|controller| !has(controller)).collect();
    if missing.is_empty() {
        let layout = if hierarchies.unified().is_none() {
            "version 1"
        } else if count == 1 {
            "version 2"
        } else {
            "hybrid"
        };
        return Check::ok(name, format!("{layout}, {}", CONTROLLERS.join(" ")));
    }
    let fix = "add `cgroup_enable=memory` to the kernel's command line and boot again";
    Check::new(name, Verdict::Advised, format!("no controller {}", missing.join(", ")), fix)
}

/// The options that lxc-checkconfig(1) looks for, where the kernel's configuration can be read.
fn options(machine: &Machine) -> Option<Check> {
    let name = "kernel options";
    let config = configuration(machine)?;
    let has = |option: &str| {
        config.lines().any(|line| line.strip_prefix(option).is_some_and(|rest| rest == "=y" || rest == "=m"))
    };
    let missing: Vec<&str> = OPTIONS.into_iter().filter(|option| !has(option)).collect();
    if missing.is_empty() {
        return Some(Check::ok(name, format!("all {} of them", OPTIONS.len())));
    }
    let fix =
        format!("boot a kernel with {}", missing.iter().map(|one| format!("{one}=y")).collect::<Vec<_>>().join(" "));
    Some(Check::new(name, Verdict::Advised, format!("without {}", missing.join(" ")), fix))
}

fn configuration(machine: &Machine) -> Option<String> {
    let release = machine.read("proc/sys/kernel/osrelease")?;
    let plain = ["boot/config-", "usr/lib/kernel/config-"].map(|start| format!("{start}{}", release.trim()));
    let plain = plain.iter().chain([&format!("lib/modules/{}/config", release.trim())]).find_map(|at| machine.read(at));
    plain.or_else(|| {
        let packed = machine.at("proc/config.gz");
        let output = Command::new("gzip").arg("-dc").arg(packed).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    })
}

fn seccomp(machine: &Machine) -> Check {
    let status = machine.read("proc/self/status").unwrap_or_default();
    if status.lines().any(|line| line.starts_with("Seccomp:")) {
        return Check::ok("seccomp", "system calls can be filtered");
    }
    Check::new(
        "seccomp",
        Verdict::Missing,
        "system calls cannot be filtered",
        "boot a kernel with CONFIG_SECCOMP_FILTER=y",
    )
}

fn overlay(machine: &Machine) -> Check {
    let known = machine.read("proc/filesystems").unwrap_or_default();
    if known.lines().any(|line| line.ends_with("\toverlay")) {
        return Check::ok("overlay", "clones and snapshots can share their base");
    }
    Check::new("overlay", Verdict::Advised, "the file system is not there", "modprobe overlay")
}

fn idmapped_mounts(machine: &Machine) -> Check {
    let name = "idmapped mounts";
    let release = machine.read("proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split('.').map(|part| part.trim().parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= (5, 12) {
        return Check::ok(name, format!("Linux {}", release.trim()));
    }
    Check::new(name, Verdict::Advised, format!("Linux {}", release.trim()), "boot Linux 5.12 or newer")
}

const NAMESPACES: [&str; 7] = ["mnt", "pid", "net", "ipc", "uts", "user", "cgroup"];
const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];
const OPTIONS: [&str; 22] = [
    "CONFIG_NAMESPACES",
    "CONFIG_UTS_NS",
    "CONFIG_IPC_NS",
    "CONFIG_PID_NS",
    "CONFIG_USER_NS",
    "CONFIG_NET_NS",
    "CONFIG_CGROUPS",
    "CONFIG_CGROUP_DEVICE",
    "CONFIG_CGROUP_SCHED",
    "CONFIG_CGROUP_CPUACCT",
    "CONFIG_MEMCG",
    "CONFIG_CPUSETS",
    "CONFIG_VETH",
    "CONFIG_MACVLAN",
    "CONFIG_BRIDGE",
    "CONFIG_NF_NAT",
    "CONFIG_FHANDLE",
    "CONFIG_EVENTFD",
    "CONFIG_EPOLL",
    "CONFIG_UNIX98_PTYS",
    "CONFIG_SECCOMP_FILTER",
    "CONFIG_OVERLAY_FS",
];

#[cfg(test)]
mod tests {
    use super::super::tests::{machine, verdict};
    use super::*;

    const UNIFIED: (&str, &str) =
        ("proc/self/mountinfo", "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n");

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
    fn controllers_are_found_in_one_hierarchy_and_a_missing_one_is_named() {
        let (_directory, whole) =
            machine(0, &[UNIFIED, ("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n")]);
        assert_eq!(control_groups(&whole).found, "version 2, memory pids cpu");
        let (_directory, part) = machine(0, &[UNIFIED, ("sys/fs/cgroup/cgroup.controllers", "cpu pids\n")]);
        assert_eq!(
            (control_groups(&part).verdict, control_groups(&part).found.as_str()),
            (Verdict::Advised, "no controller memory")
        );
        assert_eq!(control_groups(&machine(0, &[]).1).verdict, Verdict::Missing);
    }

    #[test]
    fn options_of_the_kernel_are_read_where_distributions_put_them() {
        let all = OPTIONS.join("=m\n") + "=m\n";
        let (_directory, whole) =
            machine(0, &[("proc/sys/kernel/osrelease", "6.1.0-1-amd64\n"), ("boot/config-6.1.0-1-amd64", &all)]);
        assert_eq!(verdict(&checks(&whole), "kernel options"), Verdict::Ok);
        assert_eq!(idmapped_mounts(&whole).verdict, Verdict::Ok);
        let part = all.replace("CONFIG_VETH=m", "# CONFIG_VETH is not set");
        let (_directory, old) =
            machine(0, &[("proc/sys/kernel/osrelease", "4.19.0\n"), ("lib/modules/4.19.0/config", &part)]);
        assert_eq!(options(&old).unwrap().fix.unwrap(), "boot a kernel with CONFIG_VETH=y");
        assert_eq!(idmapped_mounts(&old).verdict, Verdict::Advised);
    }
}
