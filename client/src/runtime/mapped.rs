//! Work on what belongs to a container's users, done by a process of its own in a namespace where these are its own.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ExitStatus, Stdio};

use nix::sched::CloneFlags;
use serde::{Deserialize, Serialize};

use super::copying::trees::Trees;
use super::error::{Error, chain, failed};
use super::executable::{self, Executable};
use super::idmap::IdMap;
use super::snapshot::Restoration;
use super::{cgroup, removal, sys, unmounted, user_namespace};
use crate::container::overlie::Overlie;
use crate::container::populate::Populate;

/// One piece of work.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Work {
    /// Gives cgroups to the namespace's root, and leaves them to the caller's group.
    OwnCgroups(Vec<PathBuf>),
    /// Removes cgroups with those in them.
    RemoveCgroups(Vec<PathBuf>),
    /// Deletes the directory of this name in another.
    RemoveDirectory(PathBuf, String),
    /// Fills a root file system.
    Populate(Box<Populate>),
    /// Makes a root file system over another.
    Overlie(Box<Overlie>),
    /// Makes the directories of a copy.
    Copy(Box<Trees>),
    /// Goes back to a snapshot.
    Restore(Restoration),
}

#[derive(Serialize, Deserialize)]
struct Request {
    map: IdMap,
    work: Work,
}

/// Does the work in a namespace with this map, and returns what it has to say. The caller's own ids are there, too.
pub(crate) fn run(executable: &Executable, map: &IdMap, work: Work) -> Result<String, Error> {
    run_fed(executable, map, work, |_| ())
}

/// The same for work that reads its standard input, which `feed` writes.
pub(crate) fn run_fed(
    executable: &Executable,
    map: &IdMap,
    work: Work,
    feed: impl FnOnce(ChildStdin),
) -> Result<String, Error> {
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let request = Request { map: map.with_caller(uid, gid), work };
    let request = executable::pass(&request).map_err(failed("write", "the request"))?;
    let mut command = executable.command();
    command.arg("mapped").arg(request.as_raw_fd().to_string());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed("execute", "/proc/self/exe"))?;
    if let Some(stdin) = child.stdin.take() {
        feed(stdin);
    }
    let output = child.wait_with_output().map_err(failed("execute", "/proc/self/exe"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(failure(&String::from_utf8_lossy(&output.stderr), output.status))
}

/// What the process said in the end, as the printer writes it: a hint is the last line, and a line of its own.
fn failure(stderr: &str, status: ExitStatus) -> Error {
    let text = stderr.trim().trim_start_matches("error: ");
    let (said, hint) = match text.rsplit_once("\nhint: ") {
        Some((said, hint)) => (said.to_owned(), Some(hint.to_owned())),
        None if text.is_empty() => (format!("a process in a user namespace ended early: {status}"), None),
        None => (text.to_owned(), None),
    };
    Error::Mapped { said, hint, is_data: status.code() == Some(1) }
}

/// The process that does it.
pub(crate) fn work(request: i32) -> Result<terminal::ExitStatus, Error> {
    let request: Request = sys::inherited(request)
        .and_then(|mut file| executable::take(&mut file))
        .map_err(failed("read", "the request"))?;
    let alone = sys::require_single_thread()?;
    user_namespace::enter(alone, &request.map).and_then(|()| user_namespace::become_root()).map_err(|error| {
        Error::Mapped { said: format!("cannot map ids: {}", chain(&error)), hint: None, is_data: false }
    })?;
    match request.work {
        Work::OwnCgroups(paths) => {
            for path in paths {
                own(&path, 0, None).map_err(failed("give away the cgroup", path))?;
            }
        }
        Work::RemoveCgroups(paths) => {
            for path in paths {
                cgroup::remove_all(&path)?;
            }
        }
        Work::RemoveDirectory(parent, name) => {
            removal::remove(&parent, &name).map_err(failed("delete", parent.join(name)))?;
        }
        Work::Populate(populate) => return populate.carry_out(),
        Work::Overlie(overlie) => {
            unmounted::enter_own_mount_namespace(CloneFlags::empty())?;
            overlie.carry_out_mapped()?;
        }
        Work::Copy(trees) => {
            if trees.mounts() {
                unmounted::enter_own_mount_namespace(CloneFlags::empty())?;
            }
            trees.make()?;
        }
        Work::Restore(restoration) => restoration.finish()?,
    }
    Ok(terminal::ExitStatus::Done)
}

/// Gives a cgroup, and the files in it through which processes come and go, to a user; its group may use them, too.
pub(crate) fn own(cgroup: &Path, uid: u32, gid: Option<u32>) -> io::Result<()> {
    chown(cgroup, Some(uid), gid)?;
    std::fs::set_permissions(cgroup, PermissionsExt::from_mode(0o775))?;
    for name in ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control", "tasks"] {
        let file = cgroup.join(name);
        if file.exists() {
            chown(&file, Some(uid), gid)?;
            std::fs::set_permissions(file, PermissionsExt::from_mode(0o664))?;
        }
    }
    Ok(())
}
