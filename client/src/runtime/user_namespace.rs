//! User namespaces: made by the process that enters them, mapped by a child that stays outside.
//!
//! setgroups(2) stays allowed in it, as newgidmap(1) leaves it for subordinate ids.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use super::idmap::IdMap;
use super::sys::{self, SingleThread};

/// Moves the calling process into a new user namespace with this map. It keeps the ids it has, with every capability
/// in the namespace: [`become_root`] takes those of the namespace's root.
pub(crate) fn enter(alone: SingleThread, map: &IdMap) -> io::Result<()> {
    let (go_reader, go) = io::pipe()?;
    let (mut said, says) = io::pipe()?;
    let parent = nix::unistd::getpid();
    let Some(child) = sys::fork(alone).map_err(|error| io::Error::other(super::error::chain(&error)))? else {
        drop((go, said));
        sys::exit_child(i32::from(!write_when_told(parent, map, go_reader, says)));
    };
    drop((go_reader, says));
    let unshared = unshare(CloneFlags::CLONE_NEWUSER);
    if unshared.is_ok() {
        (&go).write_all(b"!")?;
    }
    drop(go);
    let mut reason = String::new();
    let _ = said.read_to_string(&mut reason);
    let end = waitpid(child, None)?;
    unshared?;
    if matches!(end, WaitStatus::Exited(_, 0)) { Ok(()) } else { Err(io::Error::other(reason.trim().to_owned())) }
}

/// A user namespace with this map, which is nobody's but for the descriptor.
pub(crate) fn descriptor(alone: SingleThread, map: &IdMap) -> io::Result<OwnedFd> {
    let (mut said, mut says) = io::pipe()?;
    let (until, end) = io::pipe()?;
    let Some(child) = sys::fork(alone).map_err(|error| io::Error::other(super::error::chain(&error)))? else {
        drop((said, end));
        let entered = enter(alone, map);
        let _ = says.write_all(entered.as_ref().map_or_else(ToString::to_string, |()| String::new()).as_bytes());
        drop(says);
        let _ = { until }.read(&mut [0; 1]);
        sys::exit_child(i32::from(entered.is_err()));
    };
    drop((says, until));
    let mut reason = String::new();
    let read = said.read_to_string(&mut reason);
    let namespace = File::open(format!("/proc/{child}/ns/user"));
    drop(end);
    let ended = waitpid(child, None)?;
    read?;
    if matches!(ended, WaitStatus::Exited(_, 0)) { Ok(namespace?.into()) } else { Err(io::Error::other(reason)) }
}

/// Takes the ids of the namespace's root, with no other groups.
pub(crate) fn become_root() -> io::Result<()> {
    nix::unistd::setgroups(&[])?;
    nix::unistd::setresgid(0.into(), 0.into(), 0.into())?;
    nix::unistd::setresuid(0.into(), 0.into(), 0.into())?;
    // Another user's `/proc/self` would belong to the host's root from here on.
    Ok(rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable)?)
}

fn write_when_told(parent: Pid, map: &IdMap, mut go: io::PipeReader, mut says: io::PipeWriter) -> bool {
    let mut word = [0; 1];
    if go.read_exact(&mut word).is_err() {
        return false;
    }
    let [users, groups] = map.lines();
    let written = write_map(parent, "gid_map", "newgidmap", &groups)
        .and_then(|()| write_map(parent, "uid_map", "newuidmap", &users));
    written.map_err(|error| says.write_all(error.to_string().as_bytes())).is_ok()
}

fn write_map(parent: Pid, file: &str, program: &str, lines: &[String]) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        return File::options()
            .write(true)
            .open(format!("/proc/{parent}/{file}"))?
            .write_all(lines.join("\n").as_bytes());
    }
    let numbers = lines.iter().flat_map(|line| line.split(' '));
    let output = Command::new(program).arg(parent.to_string()).args(numbers).output().map_err(|error| {
        io::Error::new(error.kind(), format!("cannot run `{program}`, which gives plain users their ids: {error}"))
    })?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}
