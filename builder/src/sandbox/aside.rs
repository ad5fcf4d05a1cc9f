//! Process 1 steps aside: its root directory is another than that of the steps.
//!
//! By that, maintainer scripts and init systems tell a tree that is being built from a machine that runs (`ischroot(1)`
//! and systemd compare `/` with `/proc/1/root`). The others who build trees call `chroot`, and scripts behave for them:
//! they restart nothing and wait for nobody. We change the root for good, so that nothing of the host can be reached,
//! and are told apart by this.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::process::{chroot, fchdir};

/// The root directory of the steps, and the one that process 1 has while they run.
#[derive(Debug)]
pub(super) struct Aside {
    root: OwnedFd,
    elsewhere: OwnedFd,
}

impl Aside {
    /// Takes hold of both. Process 1 goes to `elsewhere`, a directory that is about to be covered by a mount: nobody
    /// looks for it there, and no mount is busy with it.
    pub(super) fn before_covering(elsewhere: &str) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |path| openat(CWD, path, flags, Mode::empty());
        Ok(Self { root: open("/")?, elsewhere: open(elsewhere)? })
    }

    /// Process 1 steps aside.
    pub(super) fn step(&self) -> io::Result<()> {
        enter(&self.elsewhere)
    }

    /// It comes back.
    pub(super) fn back(&self) -> io::Result<()> {
        enter(&self.root)
    }

    /// Has the program begin in the root directory of the steps.
    #[allow(unsafe_code, reason = "what runs between fork and exec is unsafe to choose")]
    pub(super) fn leave_behind(&self, command: &mut Command) -> io::Result<()> {
        let root = self.root.try_clone()?;
        // SAFETY: between fork and exec this makes two system calls and touches no memory of others.
        unsafe { command.pre_exec(move || enter(&root)) };
        Ok(())
    }
}

fn enter(directory: &OwnedFd) -> io::Result<()> {
    fchdir(directory)?;
    Ok(chroot(".")?)
}
