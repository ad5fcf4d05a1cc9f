//! Pseudo terminals of a container's own `/dev/pts`.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};

/// A pseudo terminal.
pub(crate) struct Pty {
    pub(crate) master: OwnedFd,
    pub(crate) slave: OwnedFd,
}

impl Pty {
    /// Opens one, in the mount namespace of the container. Its root can put anything at the path: what is there must be
    /// a devpts and its multiplexer.
    pub(crate) fn open() -> io::Result<Self> {
        Self::open_in(Path::new("/dev/pts"))
    }

    /// Opens one in the devpts that is mounted on `directory`.
    pub(crate) fn open_in(directory: &Path) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let master = rustix::fs::open(directory.join("ptmx"), flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&master)?;
        let device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        if rustix::fs::fstatfs(&master)?.f_type != DEVPTS_MAGIC || device != PTMX {
            return Err(io::Error::other("`ptmx` of the container is no terminal multiplexer"));
        }
        unlockpt(&master)?;
        Self::of_master(master)
    }

    /// Opens the slave side of a master, wherever its devpts is mounted. As long as somebody has it open, reading the
    /// master does not fail while nobody in the container has.
    pub(crate) fn of_master(master: OwnedFd) -> io::Result<Self> {
        let slave = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        Ok(Self { master, slave })
    }
}

const DEVPTS_MAGIC: rustix::fs::FsWord = 0x1cd1;
const PTMX: (u32, u32) = (5, 2);
