//! The system calls a container may not make.

use libseccomp::error::SeccompError;
use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};

/// The default profile: everything but calls that reach past a container without user namespace, to which the kernel
/// answers "not permitted". Whole init systems run in our containers: a list of what is allowed would break them.
///
/// Loading it leaves `no_new_privs` alone, so that it takes `CAP_SYS_ADMIN` where that is not set.
pub(crate) fn profile() -> Result<ScmpFilterContext, SeccompError> {
    let denied = ScmpAction::Errno(libc::EPERM);
    let mut profile = ScmpFilterContext::new(ScmpAction::Allow)?;
    for architecture in architectures() {
        profile.add_arch(*architecture)?;
    }
    profile.set_ctl_nnp(false)?;
    for name in DENIED {
        // A call that no kernel of this machine ever had cannot be made.
        if let Ok(call) = ScmpSyscall::from_name(name) {
            profile.add_rule(denied, call)?;
        }
    }
    // A forced unmount of a network file system hits everyone who has it mounted.
    let forced = ScmpArgCompare::new(1, ScmpCompareOp::MaskedEqual(FORCE), FORCE);
    profile.add_rule_conditional(denied, ScmpSyscall::from_name("umount2")?, &[forced])?;
    Ok(profile)
}

/// Every instruction set the machine's kernel takes system calls in: one left out would be a way around the list, or
/// would kill its programs.
fn architectures() -> &'static [ScmpArch] {
    match std::env::consts::ARCH {
        "x86_64" => &[ScmpArch::X8664, ScmpArch::X86, ScmpArch::X32],
        "aarch64" => &[ScmpArch::Aarch64, ScmpArch::Arm],
        "s390x" => &[ScmpArch::S390X, ScmpArch::S390],
        _ => &[ScmpArch::Native],
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
    use std::io::{Read, Seek};

    use super::*;

    #[test]
    fn the_profile_denies_what_it_names_in_every_instruction_set() {
        let profile = profile().unwrap();
        let mut text = tempfile::tempfile().unwrap();
        profile.export_pfc(&text).unwrap();
        text.rewind().unwrap();
        let mut rules = String::new();
        text.read_to_string(&mut rules).unwrap();
        for name in ["kexec_load", "bpf", "umount2", "open_by_handle_at"] {
            assert_eq!(rules.matches(&format!("\"{name}\"")).count(), architectures().len(), "{name} in {rules}");
        }
        assert!(!profile.get_ctl_nnp().unwrap());
    }
}
