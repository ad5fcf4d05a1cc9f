//! The system calls a container may not make.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::Path;

use libseccomp::error::SeccompError;
use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use rustix::fs::{MemfdFlags, memfd_create};

use super::sys;

/// The profile as a program for the kernel. Compiling it takes longer than entering a container, so the launcher leaves
/// it in the state directory.
#[derive(Debug)]
pub(crate) struct Filter(Vec<u8>);

impl Filter {
    pub(crate) fn compile() -> io::Result<Self> {
        let mut memory = File::from(memfd_create("seccomp", MemfdFlags::CLOEXEC)?);
        let profile = profile().map_err(io::Error::other)?;
        profile.export_bpf(&memory).map_err(io::Error::other)?;
        memory.rewind()?;
        let mut program = Vec::new();
        memory.read_to_end(&mut program)?;
        Ok(Self(program))
    }

    /// One that [`Filter::save`] wrote, or a new one.
    pub(crate) fn read(file: &Path) -> io::Result<Self> {
        match std::fs::read(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::compile(),
            program => program.map(Self),
        }
    }

    pub(crate) fn save(&self, file: &Path) -> io::Result<()> {
        std::fs::write(file, &self.0)
    }

    /// Binds the calling process, and all it becomes and bears. That takes `no_new_privs` or `CAP_SYS_ADMIN`.
    pub(crate) fn load(&self) -> io::Result<()> {
        sys::load_seccomp_filter(&self.0)
    }
}

/// The default profile: everything but calls that reach past a container without user namespace, to which the kernel
/// answers "not permitted". Whole init systems run in our containers: a list of what is allowed would break them.
fn profile() -> Result<ScmpFilterContext, SeccompError> {
    let denied = ScmpAction::Errno(libc::EPERM);
    let mut profile = ScmpFilterContext::new(ScmpAction::Allow)?;
    for architecture in architectures() {
        profile.add_arch(*architecture)?;
    }
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
/// In the state directory.
pub(crate) const FILE: &str = "seccomp.bpf";

#[cfg(test)]
mod tests {
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
    }

    #[test]
    fn a_filter_that_was_saved_is_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("seccomp.bpf");
        let filter = Filter::compile().unwrap();
        assert!(!filter.0.is_empty() && filter.0.len().is_multiple_of(8));
        assert_eq!(Filter::read(&file).unwrap().0, filter.0, "a missing one is made");
        std::fs::write(&file, "").unwrap();
        assert!(Filter::read(&file).unwrap().load().is_err(), "a torn one is no free pass");
        filter.save(&file).unwrap();
        assert_eq!(Filter::read(&file).unwrap().0, filter.0);
    }
}
