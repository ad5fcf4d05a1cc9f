//! The control groups: controllers, and the hierarchies of version 1.

use std::process::Command;

use super::options::rebuild;
use super::{Check, Machine, Verdict};
use crate::runtime::hierarchy::Hierarchies;

pub(super) fn checks(machine: &Machine) -> Vec<Check> {
    let hierarchies = Hierarchies::parse(&machine.read("proc/self/mountinfo").unwrap_or_default());
    let mut checks = vec![controllers(machine, &hierarchies)];
    checks.extend(first_version(machine, &hierarchies, lxc_release(machine)));
    checks
}

fn controllers(machine: &Machine, hierarchies: &Hierarchies) -> Check {
    let name = "control groups";
    let count = hierarchies.iter().count();
    if count == 0 {
        let fix = "mount -t cgroup2 cgroup2 /sys/fs/cgroup";
        return Check::new(name, Verdict::Missing, "no hierarchy is mounted", fix);
    }
    let unified = hierarchies.unified().map(|unified| unified.base.join("cgroup.controllers"));
    let unified = unified.and_then(|path| machine.read(path.to_str()?)).unwrap_or_default();
    let has = |controller: &str| {
        unified.split_ascii_whitespace().any(|known| known == controller)
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
    let fixes: Vec<String> = missing.iter().map(|controller| fix(machine, hierarchies, controller)).collect();
    Check::new(name, Verdict::Advised, format!("no controller {}", missing.join(", ")), fixes.join("; "))
}

/// Why a controller is not there, `/proc/cgroups` says (cgroups(7)): the kernel has not got it, was told to leave it
/// out, or nobody mounted it or passed it on.
fn fix(machine: &Machine, hierarchies: &Hierarchies, controller: &str) -> String {
    let known = machine.read("proc/cgroups").unwrap_or_default();
    let fields = known.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    match fields.into_iter().find(|fields| fields.first() == Some(&controller)).as_deref() {
        Some([_, _, _, "0"]) => with_argument(machine, &format!("cgroup_enable={controller}")),
        Some(_) if hierarchies.unified().is_some() => {
            format!("echo +{controller} > /sys/fs/cgroup/cgroup.subtree_control")
        }
        Some(_) => mount(controller, controller),
        None => rebuild(&[match controller {
            "memory" => "MEMCG",
            "pids" => "CGROUP_PIDS",
            _ => "CGROUP_SCHED",
        }]),
    }
}

/// The command that boots with one more argument of the kernel.
fn with_argument(machine: &Machine, argument: &str) -> String {
    let change = if machine.exists("boot/firmware/cmdline.txt") {
        format!("sed -i '1s/$/ {argument}/' /boot/firmware/cmdline.txt")
    } else if machine.program("grubby").is_some() {
        format!("grubby --update-kernel=ALL --args={argument}")
    } else if machine.program("update-grub").is_some() {
        format!("sed -i 's/^GRUB_CMDLINE_LINUX=\"/&{argument} /' /etc/default/grub && update-grub")
    } else {
        format!(
            "sed -i 's/^GRUB_CMDLINE_LINUX=\"/&{argument} /' /etc/default/grub && grub-mkconfig -o /boot/grub/grub.cfg"
        )
    };
    format!("{change} && reboot")
}

/// LXC wants two hierarchies of version 1 wherever version 2 is not the host's own, at `/sys/fs/cgroup`; from LXC 7 on it
/// wants it to be (pull request 4671 of lxc/lxc).
fn first_version(machine: &Machine, hierarchies: &Hierarchies, lxc: Option<u32>) -> Option<Check> {
    let name = "control groups v1";
    let is_own = hierarchies.unified().is_some_and(|unified| unified.base == *"/sys/fs/cgroup");
    if is_own || hierarchies.iter().count() == 0 {
        return None;
    }
    if lxc.is_some_and(|lxc| lxc >= WITH_VERSION_2_ALONE) {
        let fix = if machine.exists("run/systemd/system") {
            with_argument(machine, "systemd.unified_cgroup_hierarchy=1")
        } else {
            "umount -R /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup".to_owned()
        };
        return Some(Check::new(name, Verdict::Advised, "LXC has no use for them since LXC 7, and runs nothing", fix));
    }
    let wanted = [("name=systemd", "systemd", "none,name=systemd"), ("freezer", "freezer", "freezer")];
    let missing = wanted.into_iter().filter(|(controller, ..)| hierarchies.controller(controller).is_none());
    let (names, fixes): (Vec<&str>, Vec<String>) =
        missing.map(|(_, directory, options)| (directory, mount(directory, options))).unzip();
    if names.is_empty() {
        return Some(Check::ok(name, "systemd freezer"));
    }
    Some(Check::new(name, Verdict::Advised, format!("no hierarchy {}", names.join(", ")), fixes.join(" && ")))
}

/// The first number of its version.
fn lxc_release(machine: &Machine) -> Option<u32> {
    let output = Command::new(machine.program("lxc-start")?).arg("--version").output().ok()?;
    let version = String::from_utf8(output.stdout).ok()?;
    version.split('.').next()?.parse().ok()
}

fn mount(directory: &str, options: &str) -> String {
    let path = format!("/sys/fs/cgroup/{directory}");
    format!("mkdir -p {path} && mount -t cgroup -o {options} cgroup {path}")
}

const WITH_VERSION_2_ALONE: u32 = 7;
const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];

#[cfg(test)]
mod tests {
    use super::super::tests::{machine, verdict};
    use super::*;

    const UNIFIED: (&str, &str) =
        ("proc/self/mountinfo", "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n");
    const FIRST: &str = "31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                         32 30 0:28 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
                         33 30 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";

    fn of(files: &[(&str, &str)]) -> Vec<Check> {
        let (_directory, machine) = machine(0, files);
        checks(&machine)
    }

    #[test]
    fn controllers_are_found_in_one_hierarchy_and_a_missing_one_is_named() {
        let whole = of(&[UNIFIED, ("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n")]);
        assert_eq!(whole[0].found, "version 2, memory pids cpu");
        let part = of(&[UNIFIED, ("sys/fs/cgroup/cgroup.controllers", "cpu pids\n")]);
        assert_eq!((part[0].verdict, part[0].found.as_str()), (Verdict::Advised, "no controller memory"));
        assert_eq!(of(&[])[0].verdict, Verdict::Missing);
    }

    #[test]
    fn on_a_hybrid_host_the_controllers_of_version_2_are_where_it_is_mounted() {
        let mounts = "31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      32 30 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let hybrid = of(&[("proc/self/mountinfo", mounts), ("sys/fs/cgroup/unified/cgroup.controllers", "cpu pids\n")]);
        assert_eq!(hybrid[0].found, "hybrid, memory pids cpu");
    }

    #[test]
    fn each_missing_controller_is_answered_with_what_brings_that_one() {
        let fix = |more: &[(&str, &str)]| of(&[&[UNIFIED], more].concat())[0].fix.clone().unwrap();
        let without_memory = ("sys/fs/cgroup/cgroup.controllers", "cpu pids\n");
        let switched_off = ("proc/cgroups", "#subsys_name\thierarchy\tnum_cgroups\tenabled\nmemory\t0\t1\t0\n");
        assert_eq!(
            fix(&[without_memory, switched_off, ("usr/sbin/update-grub", "")]),
            "sed -i 's/^GRUB_CMDLINE_LINUX=\"/&cgroup_enable=memory /' /etc/default/grub && update-grub && reboot"
        );
        assert_eq!(
            fix(&[without_memory, switched_off, ("usr/sbin/grubby", "")]),
            "grubby --update-kernel=ALL --args=cgroup_enable=memory && reboot"
        );
        let without_pids = ("sys/fs/cgroup/cgroup.controllers", "cpu memory\n");
        assert!(fix(&[without_pids]).contains("scripts/config -e CGROUP_PIDS "));
        let without_cpu = ("sys/fs/cgroup/cgroup.controllers", "memory pids\n");
        assert!(fix(&[without_cpu]).contains("scripts/config -e CGROUP_SCHED "));
        let there = ("proc/cgroups", "pids\t0\t1\t1\n");
        assert_eq!(fix(&[without_pids, there]), "echo +pids > /sys/fs/cgroup/cgroup.subtree_control");
        let mounts = FIRST.lines().filter(|line| !line.contains("pids")).collect::<Vec<_>>().join("\n");
        assert_eq!(
            of(&[("proc/self/mountinfo", &mounts), there])[0].fix.as_deref(),
            Some("mkdir -p /sys/fs/cgroup/pids && mount -t cgroup -o pids cgroup /sys/fs/cgroup/pids")
        );
    }

    #[test]
    fn version_1_needs_the_hierarchies_of_systemd_and_the_freezer() {
        let bare = of(&[("proc/self/mountinfo", FIRST)]);
        assert_eq!((bare[1].verdict, bare[1].found.as_str()), (Verdict::Advised, "no hierarchy systemd, freezer"));
        assert_eq!(
            bare[1].fix.as_deref(),
            Some(
                "mkdir -p /sys/fs/cgroup/systemd && mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd && \
                 mkdir -p /sys/fs/cgroup/freezer && mount -t cgroup -o freezer cgroup /sys/fs/cgroup/freezer"
            )
        );
        let more = "34 30 0:30 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
                    35 30 0:31 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n";
        let whole = of(&[("proc/self/mountinfo", &format!("{FIRST}{more}"))]);
        assert_eq!(verdict(&whole, "control groups v1"), Verdict::Ok);
        assert!(of(&[UNIFIED]).iter().all(|check| check.name != "control groups v1"));
    }
    #[test]
    fn lxc_7_wants_version_2_and_nothing_else() {
        let (_directory, machine) = machine(0, &[("run/systemd/system/x", ""), ("usr/sbin/grubby", "")]);
        let said = |mounts, lxc| first_version(&machine, &Hierarchies::parse(mounts), Some(lxc));
        assert_eq!(said(FIRST, 6).unwrap().found, "no hierarchy systemd, freezer");
        assert_eq!(
            said(FIRST, 7).unwrap().fix.as_deref(),
            Some("grubby --update-kernel=ALL --args=systemd.unified_cgroup_hierarchy=1 && reboot")
        );
        assert!(said(UNIFIED.1, 7).is_none());
    }
}
