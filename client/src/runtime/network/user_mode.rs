//! The network of a plain user's container: a program of the user's takes the container's packets and makes
//! connections of its own of them. It needs no rights, and no bridge.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::io::{FdFlags, fcntl_setfd};

use super::Interface;
use crate::runtime::error::chain;
use crate::runtime::process::Process;
use crate::runtime::sys;

/// The programs that can carry a network, the better first: pasta copies the host's addresses and routes, and is faster.
pub(crate) const PROGRAMS: [&str; 2] = [PASTA, SLIRP];

/// Those of the programs that the `PATH` leads to, the better first.
pub(crate) fn installed() -> Vec<&'static str> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
    let is_there = |program: &&str| std::env::split_paths(&path).any(|directory| directory.join(program).is_file());
    PROGRAMS.into_iter().filter(is_there).collect()
}

/// Starts the first program that serves the namespace, and returns when the interface is up. `None` when there is no
/// program.
pub(crate) fn start(interface: &Interface, net: &OwnedFd, user: &OwnedFd) -> Result<Option<Process>, String> {
    let mut reasons = Vec::new();
    for program in installed() {
        let started = if program == PASTA { pasta(interface, net, user) } else { slirp(interface, net, user) };
        match started {
            Ok(process) => return Ok(Some(process)),
            Err(error) => reasons.push(format!("{program}: {}", chain(&error))),
        }
    }
    if reasons.is_empty() { Ok(None) } else { Err(format!("the network did not come up ({})", reasons.join("; "))) }
}

/// pasta goes to the background when it is ready. Nothing listens on the host, and the host's loopback is out of the
/// container's reach.
fn pasta(interface: &Interface, net: &OwnedFd, user: &OwnedFd) -> io::Result<Process> {
    let directory = tempfile::tempdir()?;
    let pid = directory.path().join("pid");
    let mut command = Command::new(PASTA);
    command.args(["--config-net", "--quiet", "--no-map-gw", "-t", "none", "-u", "none", "-T", "none", "-U", "none"]);
    command.args(["--ns-ifname", interface.name.as_str()]);
    command.args(interface.mtu.map(|mtu| format!("--mtu={mtu}")));
    let (user, net) = (rustix::io::dup(user)?, rustix::io::dup(net)?);
    command.arg("--pid").arg(&pid).arg("--userns").arg(inherited(&user)).arg("--netns").arg(inherited(&net));
    sys::unblock_signals(&mut command);
    let output = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(said.lines().last().unwrap_or("it failed without a word").to_owned()));
    }
    let pid = std::fs::read_to_string(pid)?.trim().parse().map_err(io::Error::other)?;
    Process::find(pid).ok_or_else(|| io::Error::other("it ended at once"))
}

/// slirp4netns stays in the foreground and writes a digit when it is ready.
fn slirp(interface: &Interface, net: &OwnedFd, user: &OwnedFd) -> io::Result<Process> {
    let (mut ready, readiness) = io::pipe()?;
    let readiness = OwnedFd::from(readiness);
    fcntl_setfd(&readiness, FdFlags::empty())?;
    let mtu = interface.mtu.unwrap_or(MTU);
    let mut command = Command::new(SLIRP);
    command.args(["--configure", "--disable-host-loopback", &format!("--mtu={mtu}")]);
    command.arg(format!("--ready-fd={}", readiness.as_raw_fd()));
    let (user, net) = (rustix::io::dup(user)?, rustix::io::dup(net)?);
    command.arg("--userns-path").arg(inherited(&user)).arg("--netns-type=path").arg(inherited(&net));
    command.arg(interface.name.as_str());
    let log = tempfile::tempfile()?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.try_clone()?);
    sys::unblock_signals(&mut command);
    let mut child = command.spawn()?;
    drop(readiness);
    let mut word = [0; 1];
    if ready.read_exact(&mut word).is_err() {
        let _ = child.kill();
        let _ = child.wait();
        return Err(io::Error::other(last_line(log).unwrap_or_else(|| "it failed without a word".to_owned())));
    }
    Process::find(child.id().cast_signed()).ok_or_else(|| io::Error::other("it ended at once"))
}

/// A descriptor that survives exec, as the program finds it. It may not look into this process from the namespace.
fn inherited(fd: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", fd.as_raw_fd()).into()
}

fn last_line(mut log: File) -> Option<String> {
    let mut text = String::new();
    io::Seek::rewind(&mut log).ok()?;
    log.read_to_string(&mut text).ok()?;
    text.lines().last().map(str::to_owned)
}

const PASTA: &str = "pasta";
const SLIRP: &str = "slirp4netns";
/// What slirp4netns(1) recommends.
const MTU: u32 = 65520;
