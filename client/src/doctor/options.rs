//! The options that the kernel was built with: those that lxc-checkconfig(1) looks at, where it looks for them.

use std::process::Command;

use super::{Check, Machine, Verdict};

/// Every option at once: a kernel has nearly all of them or is not made for containers.
pub(super) fn check(machine: &Machine) -> Check {
    let name = "kernel options";
    let Some(config) = configuration(machine) else { return unreadable(name, machine) };
    let has = |option: &str| {
        let value = |line: &str| {
            line.strip_prefix("CONFIG_")?
                .strip_prefix(option)?
                .strip_prefix('=')
                .map(|value| ["y", "m"].contains(&value))
        };
        config.lines().find_map(value).unwrap_or(false)
    };
    // A single processor needs no sets of processors, and its kernel cannot have them.
    let is_moot = |option: &str| option == "CPUSETS" && !has("SMP");
    let missing: Vec<&str> = OPTIONS.into_iter().filter(|option| !has(option) && !is_moot(option)).collect();
    if missing.is_empty() {
        return Check::ok(name, format!("all {} of them", OPTIONS.len()));
    }
    let is_needed = missing.iter().any(|option| REQUIRED.contains(option));
    let verdict = if is_needed { Verdict::Missing } else { Verdict::Advised };
    let named: Vec<String> = missing.iter().map(|option| format!("CONFIG_{option}")).collect();
    Check::new(name, verdict, format!("without {}", named.join(" ")), rebuild(&missing))
}

/// The command that makes a kernel with these options too.
pub(super) fn rebuild(options: &[&str]) -> String {
    let enabled = options.join(" -e ");
    format!(
        "cd /usr/src/linux && scripts/config -e {enabled} && make olddefconfig && make && make modules_install install && \
         reboot"
    )
}

/// What lxc-checkconfig reads; /proc/config.gz tells of the kernel that runs, the others of one with its name.
fn configuration(machine: &Machine) -> Option<String> {
    let unpacked = || {
        let packed = machine.at(PACKED);
        let output = packed.exists().then(|| Command::new("gzip").arg("-dc").arg(packed).output())?.ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    unpacked().or_else(|| places(machine).iter().find_map(|place| machine.read(place)))
}

fn places(machine: &Machine) -> [String; 4] {
    let release = machine.release();
    [
        format!("boot/config-{release}"),
        format!("usr/lib/kernel/config-{release}"),
        format!("lib/modules/{release}/config"),
        format!("lib/modules/{release}/build/.config"),
    ]
}

/// Nothing is known of the options then, which is not the same as that they are there.
fn unreadable(name: &'static str, machine: &Machine) -> Check {
    let (release, places) = (machine.release(), places(machine));
    if let Some(closed) = places.iter().find(|place| machine.exists(place)) {
        let found = format!("not looked at: `/{closed}` cannot be read by `{}`", machine.user);
        return Check::new(name, Verdict::Advised, found, "sudo rootcellar doctor");
    }
    let module = format!("lib/modules/{release}/kernel/kernel/configs.ko");
    let fix = if ["", ".gz", ".xz", ".zst"].iter().any(|packed| machine.exists(&format!("{module}{packed}"))) {
        "modprobe configs".to_owned()
    } else {
        let (headers, devel) = (format!("linux-headers-{release}"), format!("kernel-devel-{release}"));
        machine.install([&headers, &devel, "linux-lts-dev", "linux-headers", "kernel-default-devel"])
    };
    let found = format!("not looked at: neither `/{PACKED}` nor `/{}` can be read", places.join("`, `/"));
    Check::new(name, Verdict::Advised, found, fix)
}

const PACKED: &str = "proc/config.gz";
/// Those without which lxc-checkconfig sees no containers at all.
const REQUIRED: [&str; 3] = ["NAMESPACES", "IPC_NS", "PID_NS"];
/// Those of lxc-checkconfig(1) (lxc 5.0 to 7.0, `src/lxc/cmd/lxc-checkconfig.in`) for kernels that are new enough. The last four
/// our runtime uses besides: terminals, filters of system calls, shared trees, networks of plain users.
const OPTIONS: [&str; 35] = [
    "NAMESPACES",
    "UTS_NS",
    "IPC_NS",
    "PID_NS",
    "USER_NS",
    "NET_NS",
    "CGROUPS",
    "CGROUP_DEVICE",
    "CGROUP_SCHED",
    "CGROUP_CPUACCT",
    "MEMCG",
    "CPUSETS",
    "VETH",
    "MACVLAN",
    "VLAN_8021Q",
    "BRIDGE",
    "NETFILTER_ADVANCED",
    "NF_NAT",
    "IP_NF_TARGET_MASQUERADE",
    "IP6_NF_TARGET_MASQUERADE",
    "NETFILTER_XT_TARGET_CHECKSUM",
    "NETFILTER_XT_MATCH_COMMENT",
    "FUSE_FS",
    "CHECKPOINT_RESTORE",
    "FHANDLE",
    "EVENTFD",
    "EPOLL",
    "UNIX_DIAG",
    "INET_DIAG",
    "PACKET_DIAG",
    "NETLINK_DIAG",
    "UNIX98_PTYS",
    "SECCOMP_FILTER",
    "OVERLAY_FS",
    "TUN",
];

#[cfg(test)]
mod tests {
    use super::super::tests::machine;
    use super::*;

    const RELEASE: (&str, &str) = ("proc/sys/kernel/osrelease", "6.1.0-1-amd64\n");

    fn all() -> String {
        // The names of others begin like theirs.
        "CONFIG_BRIDGE_NETFILTER=y\nCONFIG_SMP=y\n".to_owned()
            + &OPTIONS.map(|option| format!("CONFIG_{option}=m\n")).concat()
    }

    #[test]
    fn options_of_the_kernel_are_read_where_distributions_and_headers_put_them() {
        for place in [
            "boot/config-6.1.0-1-amd64",
            "usr/lib/kernel/config-6.1.0-1-amd64",
            "lib/modules/6.1.0-1-amd64/config",
            "lib/modules/6.1.0-1-amd64/build/.config",
        ] {
            assert_eq!(check(&machine(0, &[RELEASE, (place, &all())]).1).verdict, Verdict::Ok, "{place}");
        }
    }

    #[test]
    fn every_option_of_lxc_checkconfig_is_looked_at() {
        let Ok(script) = std::fs::read_to_string("/usr/bin/lxc-checkconfig") else { return };
        let of_old_kernels = ["CGROUP_MEM_RES_CTLR", "SECURITY_FILE_CAPABILITIES", "NF_NAT_IPV4", "NF_NAT_IPV6", "SMP"];
        let options = script.split("is_enabled CONFIG_").chain(script.split("is_set CONFIG_")).filter_map(|rest| {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
            Some(&rest[..end]).filter(|name| !name.is_empty() && !name.contains(|c: char| c.is_ascii_lowercase()))
        });
        for option in options.filter(|option| !of_old_kernels.contains(option)) {
            assert!(OPTIONS.contains(&option), "{option}");
        }
    }

    #[test]
    fn a_missing_option_is_advised_unless_there_are_no_containers_without_it() {
        let without = |option: &str| {
            let text = all().replace(&format!("CONFIG_{option}=m"), &format!("# CONFIG_{option} is not set"));
            let (_directory, machine) = machine(0, &[RELEASE, ("boot/config-6.1.0-1-amd64", &text)]);
            check(&machine)
        };
        let vlan = without("VLAN_8021Q");
        assert_eq!((vlan.verdict, vlan.found.as_str()), (Verdict::Advised, "without CONFIG_VLAN_8021Q"));
        assert!(vlan.fix.unwrap().starts_with("cd /usr/src/linux && scripts/config -e VLAN_8021Q && make "));
        assert_eq!(without("PID_NS").verdict, Verdict::Missing);
        let one_processor = all().replace("CONFIG_SMP=y", "").replace("CONFIG_CPUSETS=m", "");
        assert_eq!(
            check(&machine(0, &[RELEASE, ("boot/config-6.1.0-1-amd64", &one_processor)]).1).verdict,
            Verdict::Ok
        );
    }

    #[test]
    fn options_that_cannot_be_read_are_said_with_the_command_that_brings_them() {
        let (_directory, nothing) = machine(0, &[RELEASE, ("usr/bin/apt-get", "")]);
        let said = check(&nothing);
        assert_eq!(said.verdict, Verdict::Advised);
        assert!(said.found.starts_with("not looked at: "), "{}", said.found);
        assert_eq!(said.fix.as_deref(), Some("apt-get install linux-headers-6.1.0-1-amd64"));
        let module = ("lib/modules/6.1.0-1-amd64/kernel/kernel/configs.ko.xz", "");
        assert_eq!(check(&machine(0, &[RELEASE, module]).1).fix.as_deref(), Some("modprobe configs"));
        let (_directory, damaged) = machine(0, &[RELEASE, ("proc/config.gz", "not gzip"), module]);
        assert_eq!(check(&damaged).verdict, Verdict::Advised);
    }
}
