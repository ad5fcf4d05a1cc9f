//! The system calls that no library wraps safely.
#![allow(unsafe_code, reason = "each wraps one system call; the safety comment says what makes it sound")]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::sched::CloneFlags;
use nix::unistd::{ForkResult, Pid};

use super::error::Error;

/// The proof that the process has one thread. None of ours starts another.
#[derive(Clone, Copy)]
pub(crate) struct SingleThread(());

/// Refuses to go on in a process with threads: what follows forks, or changes what belongs to one thread.
pub(crate) fn require_single_thread() -> Result<SingleThread, Error> {
    let threads = std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    if threads == 1 { Ok(SingleThread(())) } else { Err(Error::Threads { threads }) }
}

/// Forks. `None` is the child.
pub(crate) fn fork(_: SingleThread) -> Result<Option<Pid>, Error> {
    // SAFETY: the process has one thread, so the child's memory is in no state that another thread left half done.
    match unsafe { nix::unistd::fork() } {
        Ok(ForkResult::Parent { child }) => Ok(Some(child)),
        Ok(ForkResult::Child) => Ok(None),
        Err(errno) => Err(Error::Io { action: "fork from", path: "/proc/self".into(), source: errno.into() }),
    }
}

/// Forks into new namespaces, those of the container's pids among them, and into a cgroup of v2. `None` is the child.
pub(crate) fn clone(
    _: SingleThread,
    namespaces: CloneFlags,
    cgroup: Option<BorrowedFd<'_>>,
) -> io::Result<Option<Pid>> {
    // SAFETY: zeros are a valid value: the structure holds integers.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = u64::from(namespaces.bits().cast_unsigned());
    arguments.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
    if let Some(cgroup) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = u64::try_from(cgroup.as_raw_fd()).map_err(io::Error::other)?;
    }
    // SAFETY: without CLONE_VM and a stack the call returns twice, like fork(2). The process has one thread, so the
    // child's memory is in no state that another thread left half done.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<libc::clone_args>()) };
    match pid {
        0 => Ok(None),
        pid if pid > 0 => Ok(Some(Pid::from_raw(i32::try_from(pid).map_err(io::Error::other)?))),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Ends a forked child at once, without running what its parent had registered for its own end.
pub(crate) fn exit_child(status: i32) -> ! {
    // SAFETY: the call does not return and touches no memory.
    unsafe { libc::_exit(status) }
}

/// Closes every file descriptor but the standard streams and `kept`, whoever owns it.
pub(crate) fn close_all_but(kept: &OwnedFd) -> io::Result<()> {
    let kept = u32::try_from(kept.as_raw_fd()).map_err(io::Error::other)?;
    for (first, last) in [(3, kept.saturating_sub(1)), (kept.max(2) + 1, u32::MAX)] {
        // SAFETY: only called in a forked child that ends with exec or without running a destructor: no owner runs again.
        let result = if first <= last { unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } } else { 0 };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Gives every signal its default effect and blocks none, as a program expects to be started. Rust ignores SIGPIPE.
pub(crate) fn reset_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: SIG_DFL is no function of ours; where a signal cannot be changed the call fails without effect.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let _ = nix::sys::signal::SigSet::empty().thread_set_mask();
}

/// Lets a program begin with no signal blocked, whatever the calling process blocks: a child inherits that.
pub(crate) fn unblock_signals(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    let unblock = || Ok(nix::sys::signal::SigSet::empty().thread_set_mask()?);
    // SAFETY: between fork and exec this makes one system call and touches no memory of others.
    unsafe { command.pre_exec(unblock) };
}

/// Loads a program for system calls, in the kernel's own form: `struct sock_filter` after `struct sock_filter`.
pub(crate) fn load_seccomp_filter(program: &[u8]) -> io::Result<()> {
    let (instructions, rest) = program.as_chunks::<8>();
    if instructions.is_empty() || !rest.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the system call filter is torn"));
    }
    let mut filter: Vec<libc::sock_filter> = instructions
        .iter()
        .map(|[c0, c1, jt, jf, k0, k1, k2, k3]| libc::sock_filter {
            code: u16::from_ne_bytes([*c0, *c1]),
            jt: *jt,
            jf: *jf,
            k: u32::from_ne_bytes([*k0, *k1, *k2, *k3]),
        })
        .collect();
    let length = u16::try_from(filter.len()).map_err(io::Error::other)?;
    let program = libc::sock_fprog { len: length, filter: filter.as_mut_ptr() };
    // SAFETY: the kernel reads the structure and as many instructions as it says, which live through the call.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives the calling process a session keyring of its own: the container must not see the keys of who started it.
pub(crate) fn join_new_session_keyring() -> io::Result<()> {
    // SAFETY: the name is null, which stands for an anonymous keyring.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<u8>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Makes the machine look like its 32-bit sister to the calling process.
pub(crate) fn set_linux32_personality() -> io::Result<()> {
    // SAFETY: the call takes an integer and touches no memory.
    let result = unsafe { libc::personality(PER_LINUX32) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Makes a snapshot of a btrfs subvolume, as a directory of this name in another.
pub(crate) fn snapshot_subvolume(subvolume: impl AsFd, parent: impl AsFd, name: &std::ffi::CStr) -> io::Result<()> {
    /// `struct btrfs_ioctl_vol_args_v2`.
    #[repr(C)]
    struct Arguments {
        fd: i64,
        transaction: u64,
        flags: u64,
        unused: [u64; 4],
        name: [u8; 4040],
    }
    let name = name.to_bytes_with_nul();
    let fd = i64::from(subvolume.as_fd().as_raw_fd());
    let mut arguments = Arguments { fd, transaction: 0, flags: 0, unused: [0; 4], name: [0; 4040] };
    arguments.name.get_mut(..name.len()).ok_or(io::ErrorKind::InvalidFilename)?.copy_from_slice(name);
    let parent = parent.as_fd().as_raw_fd();
    // SAFETY: the kernel reads one structure of this layout, which lives through the call.
    let result = unsafe { libc::ioctl(parent, BTRFS_IOC_SNAP_CREATE_V2, &raw const arguments) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes an empty btrfs subvolume, as a directory of this name in another.
pub(crate) fn create_subvolume(parent: impl AsFd, name: &std::ffi::CStr) -> io::Result<()> {
    /// `struct btrfs_ioctl_vol_args`.
    #[repr(C)]
    struct Arguments {
        fd: i64,
        name: [u8; 4088],
    }
    let name = name.to_bytes_with_nul();
    let mut arguments = Arguments { fd: 0, name: [0; 4088] };
    arguments.name.get_mut(..name.len()).ok_or(io::ErrorKind::InvalidFilename)?.copy_from_slice(name);
    let parent = parent.as_fd().as_raw_fd();
    // SAFETY: the kernel reads one structure of this layout, which lives through the call.
    let result = unsafe { libc::ioctl(parent, BTRFS_IOC_SUBVOL_CREATE, &raw const arguments) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Shows the owners of files on a mount that has no place yet as they are in a user namespace.
pub(crate) fn set_idmap(mount: impl AsFd, user_namespace: impl AsFd) -> io::Result<()> {
    let userns_fd = u64::try_from(user_namespace.as_fd().as_raw_fd()).map_err(io::Error::other)?;
    let attributes = libc::mount_attr { attr_set: libc::MOUNT_ATTR_IDMAP, attr_clr: 0, propagation: 0, userns_fd };
    mount_setattr(mount.as_fd(), 0, &attributes)
}

/// Changes attributes (`MOUNT_ATTR_…`) and, unless it is 0, the propagation (`MS_…`) of a mount, or of it and all that is
/// mounted below.
pub(crate) fn set_mount_attributes(
    mount: BorrowedFd<'_>,
    set: u64,
    clear: u64,
    propagation: u64,
    is_deep: bool,
) -> io::Result<()> {
    let attributes = libc::mount_attr { attr_set: set, attr_clr: clear, propagation, userns_fd: 0 };
    mount_setattr(mount, if is_deep { libc::AT_RECURSIVE } else { 0 }, &attributes)
}

fn mount_setattr(mount: BorrowedFd<'_>, flags: libc::c_int, attributes: &libc::mount_attr) -> io::Result<()> {
    let (mount, size) = (mount.as_raw_fd(), size_of::<libc::mount_attr>());
    let flags = flags | libc::AT_EMPTY_PATH;
    // SAFETY: the path is a static string, and the kernel reads one structure of this size, which lives through the call.
    let result =
        unsafe { libc::syscall(libc::SYS_mount_setattr, mount, c"".as_ptr(), flags, &raw const *attributes, size) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The time here and now in the form that strftime(3) describes. Nothing when the machine cannot tell.
pub(crate) fn local_time(form: &str) -> String {
    let Ok(form) = std::ffi::CString::new(form) else { return String::new() };
    // SAFETY: both structures live through the calls; `tm` of zeros is a valid value, and its zone name is static.
    unsafe {
        let now = libc::time(std::ptr::null_mut());
        let mut parts: libc::tm = std::mem::zeroed();
        let mut text = [0_u8; 64];
        if libc::localtime_r(&raw const now, &raw mut parts).is_null() {
            return String::new();
        }
        let length = libc::strftime(text.as_mut_ptr().cast(), text.len(), form.as_ptr(), &raw const parts);
        String::from_utf8_lossy(text.get(..length).unwrap_or_default()).into_owned()
    }
}

/// Brings up the loopback interface of the network namespace the calling process is in.
pub(crate) fn bring_up_loopback() -> io::Result<()> {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    // SAFETY: an `ifreq` of zeros is a valid value: it holds integers, bytes and unions of these.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(b"lo") {
        *place = byte.cast_signed();
    }
    request.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or(0);
    // SAFETY: the kernel reads one `ifreq`, which lives through the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The file descriptor this process was given by number on its command line.
pub(crate) fn inherited(number: i32) -> io::Result<File> {
    if number <= 2 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: the process that executed us opened it for us alone; nothing else here owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(fd.as_fd(), rustix::io::FdFlags::CLOEXEC)?;
    Ok(File::from(fd))
}

/// `include/uapi/linux/btrfs.h`: `_IOW(0x94, 23, struct btrfs_ioctl_vol_args_v2)`.
const BTRFS_IOC_SNAP_CREATE_V2: libc::Ioctl = 0x5000_9417;
/// The same: `_IOW(0x94, 14, struct btrfs_ioctl_vol_args)`.
const BTRFS_IOC_SUBVOL_CREATE: libc::Ioctl = 0x5000_940e;
/// `include/uapi/linux/sched.h`.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;
/// `include/uapi/linux/personality.h`.
const PER_LINUX32: libc::c_ulong = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_threads_cannot_fork() {
        // The test harness runs each test in a thread beside its own.
        assert!(matches!(require_single_thread(), Err(Error::Threads { threads }) if threads > 1));
    }

    #[test]
    fn the_standard_streams_are_not_taken_over() {
        assert!(inherited(1).is_err());
    }
}
