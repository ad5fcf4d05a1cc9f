//! Hierarchies that the host does not have mounted.
//!
//! An init system mounts them by itself, in its container. It then finds itself in their roots, which are the host's,
//! unless the container was put elsewhere before.

use std::os::unix::fs::PermissionsExt;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::cgroup::UNMOUNTED;
use super::error::{Error, failed};
use super::hierarchy::Hierarchies;
use super::settings::CgroupVersion;
use super::sys::SingleThread;

/// Mounts v2, and `name=systemd` on a host with v1, where the host has not: in a mount namespace of the calling process
/// alone, which is left as it is on hosts where nothing is missing. Only root can.
pub(crate) fn mount_here(_: SingleThread) -> Result<(), Error> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let hierarchies = Hierarchies::of_host().map_err(failed("read", "/proc/self/mountinfo"))?;
    let missing = missing(&hierarchies);
    if missing.is_empty() {
        return Ok(());
    }
    enter_own_mount_namespace(CloneFlags::empty())?;
    for (name, kind, options) in missing {
        let target = std::path::Path::new(UNMOUNTED).join(name);
        std::fs::create_dir_all(&target).map_err(failed("create", &target))?;
        // Root of a mapped container is a stranger, and has to come through to its own cgroups.
        std::fs::set_permissions(RUN, PermissionsExt::from_mode(0o711)).map_err(failed("open", RUN))?;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        if let Err(error) = mount(Some(kind), &target, Some(kind), flags, options) {
            tracing::debug!(%error, "The kernel has no `{name}` hierarchy");
        }
    }
    Ok(())
}

/// Gives the calling process a mount namespace that learns of the host's mounts and tells it of none, and other
/// namespaces of its own.
pub(crate) fn enter_own_mount_namespace(others: CloneFlags) -> Result<(), Error> {
    unshare(CloneFlags::CLONE_NEWNS | others).map_err(failed("make namespaces from those of", "/proc/self"))?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&str>)
        .map_err(failed("stop the propagation of mounts at", "/"))
}

fn missing(hierarchies: &Hierarchies) -> Vec<(&'static str, &'static str, Option<&'static str>)> {
    let mut missing = Vec::new();
    if hierarchies.unified().is_none() {
        missing.push(("unified", "cgroup2", None));
    }
    if hierarchies.has(CgroupVersion::V1) && hierarchies.controller("name=systemd").is_none() {
        missing.push(("systemd", "cgroup", Some("none,name=systemd")));
    }
    missing
}

/// What is private in it is in a directory of its own.
const RUN: &str = "/run/rootcellar";

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "31 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";
    const SYSTEMD: &str = "32 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n";
    const V2: &str = "33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    fn names(mountinfo: &[&str]) -> Vec<&'static str> {
        missing(&Hierarchies::parse(&mountinfo.concat())).iter().map(|(name, ..)| *name).collect()
    }

    #[test]
    fn what_an_init_system_would_mount_by_itself_is_missing() {
        assert_eq!(names(&[V1]), ["unified", "systemd"]);
        assert_eq!(names(&[V1, SYSTEMD]), ["unified"]);
        assert_eq!(names(&[V1, V2]), ["systemd"]);
    }

    #[test]
    fn nothing_is_missing_on_hybrid_and_on_pure_v2_hosts() {
        assert!(names(&[V1, SYSTEMD, V2]).is_empty());
        assert!(names(&[V2]).is_empty());
    }
}
