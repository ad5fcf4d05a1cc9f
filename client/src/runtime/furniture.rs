//! What every container finds in its root file system: file systems of the kernel, devices, terminals, and what its
//! configuration mounts.

use std::path::Path;

use super::auto_mount::Access;
use super::error::{Error, failed};
use super::hooks::Moment;
use super::mount::Mount;
use super::plan::Plan;
use super::room::Room;
use super::root;
use super::ttys::Laid;

/// Furnishes the root of the room. In the container's namespaces, with the host's files still in reach.
pub(crate) fn furnish(plan: &Plan, room: &Room, ttys: &Laid) -> Result<(), Error> {
    let tree = &room.root;
    let null = root::hold(Path::new("/dev/null")).map_err(failed("open", "/dev/null"))?;
    for mount in own_mounts(plan, &room.view, &ttys.devpts) {
        tree.add(&mount)?;
    }
    for (name, numbers) in DEVICES {
        tree.add_device(&Path::new("/dev").join(name), numbers, plan.idmap.is_empty())?;
    }
    for (name, target) in LINKS {
        tree.add_link(&Path::new("/dev").join(name), target)?;
    }
    for (file, places) in &ttys.files {
        for place in places {
            tree.add(&Mount::new(file, place, "bind", &["bind", "nosuid", "noexec"]))?;
        }
    }
    for mount in &room.mounts {
        match tree.add(mount) {
            Err(error) if mount.is_optional => {
                tracing::debug!(%error, "`{}` is not mounted", mount.target.display());
            }
            result => result?,
        }
    }
    let mounted = [("LXC_ROOTFS_MOUNT", room.rootfs.display().to_string())];
    for moment in [Moment::Mount, Moment::Autodev] {
        plan.hooks
            .run_inside(&plan.subject(), moment, &mounted)
            .map_err(|reason| Error::Start { name: plan.name.clone(), reason })?;
    }
    for (key, value) in &plan.sysctl {
        let path = Path::new("/proc/sys").join(key.replace('.', "/"));
        tree.write(&path, value).map_err(failed("write", path))?;
    }
    if plan.rootfs_options.is_readonly {
        tree.make_all_read_only()?;
    }
    if plan.auto_mounts.proc != Access::ReadWrite {
        READ_ONLY.iter().try_for_each(|path| tree.make_read_only(Path::new(path)))?;
    }
    MASKED.iter().try_for_each(|path| tree.mask(Path::new(path), &null))
}

/// In the order in which they are mounted.
fn own_mounts(plan: &Plan, view: &Path, devpts: &Path) -> Vec<Mount> {
    let mut sys = vec!["nosuid", "noexec", "nodev"];
    if plan.auto_mounts.sys != Access::ReadWrite {
        sys.push("ro");
    }
    let mut cgroup = vec!["rbind", "rnosuid", "rnoexec", "rnodev"];
    if plan.auto_mounts.cgroup == Access::ReadOnly {
        cgroup.push("rro");
    }
    // Only who owns the network may mount a file system that shows it.
    let sys = if plan.idmap.is_empty() || plan.network.is_own() {
        Mount::new("sysfs", "/sys", "sysfs", &sys)
    } else {
        Mount::new("/sys", "/sys", "bind", &["rbind", "nosuid", "noexec", "nodev", "ro"])
    };
    let mut mounts = vec![
        Mount::new("proc", "/proc", "proc", &["nosuid", "noexec", "nodev"]),
        sys,
        Mount::new(view, "/sys/fs/cgroup", "bind", &cgroup),
        Mount::new("tmpfs", "/dev", "tmpfs", &["nosuid", "noexec", "strictatime", "mode=755", "size=500k"]),
        Mount::new(devpts, "/dev/pts", "bind", &["bind", "nosuid", "noexec"]),
        Mount::new("shm", "/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777"]),
        Mount::new("mqueue", "/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        Mount::new("tmpfs", "/run", "tmpfs", &["nosuid", "nodev", "mode=755"]),
    ];
    if plan.auto_mounts.proc == Access::Mixed && plan.network.is_own() {
        // The settings of the container's own network are its own. `/proc/sys` is bound onto itself later, with what is
        // mounted below.
        mounts.push(Mount::new("/proc/sys/net", "/proc/sys/net", "bind", &["bind", "nosuid", "noexec", "nodev"]));
    }
    mounts
}

/// How the container's `/dev/pts` is mounted.
pub(crate) fn devpts(plan: &Plan) -> String {
    let group = if plan.idmap.is_empty() || plan.idmap.has_group(TTY_GROUP) { ",gid=5" } else { "" };
    format!("newinstance,ptmxmode=0666,mode=0620,max={}{group}", plan.pty_max)
}

/// Names in `/dev` with major and minor numbers (Linux `Documentation/admin-guide/devices.txt`).
const DEVICES: [(&str, (u32, u32)); 6] =
    [("null", (1, 3)), ("zero", (1, 5)), ("full", (1, 7)), ("tty", (5, 0)), ("urandom", (1, 9)), ("random", (1, 8))];
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];
/// What tells of the host, or of other containers on it.
const MASKED: [&str; 10] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
/// What changes the machine when written to.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
const TTY_GROUP: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::backing::Backing;
    use crate::runtime::settings::Settings;

    fn options(change: &str, target: &str) -> Vec<String> {
        let mut settings = Settings { rootfs: Some(Backing::Directory("/".into())), ..Settings::default() };
        settings.auto_mounts.apply(change, &mut Vec::new());
        let plan = Plan::new("web1", Path::new("/lxc/web1/config"), settings, Vec::new(), Vec::new()).unwrap();
        let mounts = own_mounts(&plan, Path::new("/view"), Path::new("/pts"));
        mounts
            .into_iter()
            .find(|mount| mount.target == Path::new(target))
            .map(|mount| mount.options)
            .unwrap_or_default()
    }

    #[test]
    fn kernel_settings_are_writable_only_when_asked_for() {
        let has = |change, target, option: &str| options(change, target).iter().any(|known| known == option);
        assert!(has("", "/sys", "ro") && !has("sys:rw", "/sys", "ro"));
        assert!(has("cgroup:ro", "/sys/fs/cgroup", "rro") && !has("", "/sys/fs/cgroup", "rro"));
        assert!(!options("", "/proc/sys/net").is_empty() && options("proc:rw", "/proc/sys/net").is_empty());
    }

    #[test]
    fn nothing_but_proc_and_sys_shows_the_host() {
        for target in ["/dev", "/dev/shm", "/run"] {
            assert!(!options("", target).iter().any(|option| option.contains("bind")), "{target}");
        }
    }
}
