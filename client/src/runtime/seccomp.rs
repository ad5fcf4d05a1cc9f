//! The system calls a container may not make.

use libcontainer::oci_spec::OciSpecError;
use libcontainer::oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArgBuilder, LinuxSeccompBuilder, LinuxSeccompOperator,
    LinuxSyscallBuilder,
};

/// The default profile: everything but calls that reach past a container without user namespace, to which the kernel
/// answers "not permitted". Whole init systems run in our containers: a list of what is allowed would break them.
pub(crate) fn profile() -> Result<LinuxSeccomp, OciSpecError> {
    let denied = LinuxSyscallBuilder::default()
        .names(DENIED.map(str::to_owned).to_vec())
        .action(LinuxSeccompAction::ScmpActErrno)
        .build()?;
    // A forced unmount of a network file system hits everyone who has it mounted.
    let forced_unmount = LinuxSyscallBuilder::default()
        .names(vec!["umount2".to_owned()])
        .action(LinuxSeccompAction::ScmpActErrno)
        .args(vec![
            LinuxSeccompArgBuilder::default()
                .index(1_usize)
                .value(FORCE)
                .value_two(FORCE)
                .op(LinuxSeccompOperator::ScmpCmpMaskedEq)
                .build()?,
        ])
        .build()?;
    LinuxSeccompBuilder::default()
        .default_action(LinuxSeccompAction::ScmpActAllow)
        .architectures(architectures())
        .syscalls(vec![denied, forced_unmount])
        .build()
}

/// Every instruction set the machine's kernel takes system calls in: one left out would be a way around the list, or
/// would kill its programs.
fn architectures() -> Vec<Arch> {
    match std::env::consts::ARCH {
        "x86_64" => vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32],
        "aarch64" => vec![Arch::ScmpArchAarch64, Arch::ScmpArchArm],
        "s390x" => vec![Arch::ScmpArchS390x, Arch::ScmpArchS390],
        _ => vec![Arch::ScmpArchNative],
    }
}

/// Another kernel, kernel modules, handles of files that no mount shows, swap, accounting, programs in the kernel, and
/// the memory and speculation of others.
const DENIED: [&str; 19] = [
    "acct",
    "bpf",
    "delete_module",
    "finit_module",
    "init_module",
    "ioperm",
    "iopl",
    "kexec_file_load",
    "kexec_load",
    "lookup_dcookie",
    "nfsservctl",
    "open_by_handle_at",
    "perf_event_open",
    "quotactl",
    "quotactl_fd",
    "swapoff",
    "swapon",
    "userfaultfd",
    "vm86",
];
const FORCE: u64 = 1;

#[cfg(test)]
mod tests {
    use libcontainer::oci_spec::runtime::LinuxSyscall;

    use super::*;

    #[test]
    fn the_profile_can_be_built_and_denies_what_it_names() {
        let profile = profile().unwrap();
        assert_eq!(profile.default_action(), LinuxSeccompAction::ScmpActAllow);
        let names: Vec<&String> = profile.syscalls().iter().flatten().flat_map(LinuxSyscall::names).collect();
        assert!(names.iter().any(|name| *name == "kexec_load") && names.iter().any(|name| *name == "umount2"));
    }
}
