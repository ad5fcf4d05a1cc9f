//! The cgroup hierarchies of the host, as its mounts show them.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::Access;
use serde::{Deserialize, Serialize};

use super::cgroup::write;
use super::error::{Error, failed};
use super::settings::{CgroupVersion, Limit};

/// Every hierarchy once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hierarchies(Vec<Hierarchy>);

/// One hierarchy and where it is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hierarchy {
    mount: PathBuf,
    /// The cgroup below which containers have theirs: for root the one at the top.
    pub(crate) base: PathBuf,
    version: CgroupVersion,
    /// The controllers of a v1 hierarchy, or its `name=…`.
    controllers: Vec<String>,
    device: String,
}

impl Hierarchies {
    /// What is mounted now, in the mount namespace of the calling process.
    pub(crate) fn of_host() -> io::Result<Self> {
        Ok(Self::parse(&std::fs::read_to_string("/proc/self/mountinfo")?))
    }

    /// Those that the calling process may use: for root all of them, for everybody else those in which its own cgroup
    /// was delegated to it, and that cgroup.
    pub(crate) fn of_caller() -> io::Result<Self> {
        let hierarchies = Self::of_host()?;
        if rustix::process::geteuid().is_root() {
            return Ok(hierarchies);
        }
        let own = std::fs::read_to_string("/proc/self/cgroup")?;
        let may_write = |path: &Path| rustix::fs::access(path, Access::WRITE_OK).is_ok();
        let is_ours =
            |hierarchy: &Hierarchy| may_write(&hierarchy.base) && may_write(&hierarchy.base.join("cgroup.procs"));
        Ok(Self(hierarchies.below(&own).0.into_iter().filter(is_ours).collect()))
    }

    /// The same, beginning at the cgroups of a process (`/proc/PID/cgroup`, cgroups(7)).
    fn below(self, cgroups: &str) -> Self {
        let find = |hierarchy: &Hierarchy| {
            cgroups.lines().find_map(|line| {
                let mut fields = line.splitn(3, ':').skip(1);
                let (controllers, path) = (fields.next()?, fields.next()?);
                let is_it = match hierarchy.version {
                    CgroupVersion::V2 => controllers.is_empty(),
                    CgroupVersion::V1 => {
                        controllers.split(',').any(|name| hierarchy.controllers.iter().any(|own| own == name))
                    }
                };
                is_it.then(|| hierarchy.mount.join(path.trim_start_matches('/')))
            })
        };
        Self(self.0.into_iter().filter_map(|one| Some(Hierarchy { base: find(&one)?, ..one })).collect())
    }

    pub(crate) fn parse(mountinfo: &str) -> Self {
        let mut hierarchies: Vec<Hierarchy> = Vec::new();
        for hierarchy in mountinfo.lines().filter_map(Hierarchy::parse) {
            if !hierarchies.iter().any(|known| known.device == hierarchy.device) {
                hierarchies.push(hierarchy);
            }
        }
        Self(hierarchies)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Hierarchy> {
        self.0.iter()
    }

    /// Whether the host has hierarchies of this generation. A hybrid host has both.
    pub(crate) fn has(&self, version: CgroupVersion) -> bool {
        self.0.iter().any(|hierarchy| hierarchy.version == version)
    }

    /// The v2 hierarchy.
    pub(crate) fn unified(&self) -> Option<&Hierarchy> {
        self.0.iter().find(|hierarchy| hierarchy.version == CgroupVersion::V2)
    }

    /// The v1 hierarchy with this controller.
    pub(crate) fn controller(&self, name: &str) -> Option<&Hierarchy> {
        self.0.iter().find(|hierarchy| hierarchy.controllers.iter().any(|controller| controller == name))
    }

    /// The hierarchy that has the file a limit is for. Devices have no files in v2.
    pub(crate) fn of_limit(&self, limit: &Limit) -> Option<&Hierarchy> {
        match (limit.version, limit.controller()) {
            (CgroupVersion::V1, controller) => self.controller(controller),
            (CgroupVersion::V2, "devices") => None,
            (CgroupVersion::V2, controller) => {
                let unified = self.unified()?;
                let available = std::fs::read_to_string(unified.base.join("cgroup.controllers")).unwrap_or_default();
                let has = controller == "cgroup" || available.split_whitespace().any(|name| name == controller);
                has.then_some(unified)
            }
        }
    }

    /// Whether the host can keep a limit.
    pub(crate) fn can_keep(&self, limit: &Limit) -> bool {
        match limit.controller() {
            "devices" => limit.version == self.device_version(),
            _ => self.of_limit(limit).is_some(),
        }
    }

    /// Where devices are kept in bounds: by a v1 controller, or by a program in the kernel on a v2 cgroup.
    pub(crate) fn device_version(&self) -> CgroupVersion {
        if self.controller("devices").is_some() { CgroupVersion::V1 } else { CgroupVersion::V2 }
    }
}

impl Hierarchy {
    /// A line of `/proc/PID/mountinfo` (proc(5)): id, parent, device, root, mount point, options, optional fields, `-`,
    /// type, source, options of the file system.
    fn parse(line: &str) -> Option<Self> {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mount: Vec<&str> = mount.split(' ').collect();
        let filesystem: Vec<&str> = filesystem.split(' ').collect();
        let version = match *filesystem.first()? {
            "cgroup" => CgroupVersion::V1,
            "cgroup2" => CgroupVersion::V2,
            _ => return None,
        };
        let controllers = match version {
            CgroupVersion::V1 => filesystem.get(2)?.split(',').map(str::to_owned).collect(),
            CgroupVersion::V2 => Vec::new(),
        };
        let (device, mount) = ((*mount.get(2)?).to_owned(), PathBuf::from(unescape(mount.get(4)?)));
        Some(Self { base: mount.clone(), mount, version, controllers, device })
    }

    pub(crate) fn is(&self, version: CgroupVersion) -> bool {
        self.version == version
    }

    /// Moves the calling process, which has one thread, into a cgroup. In v1 as a thread: before the kernel moves a
    /// process by its number it waits until every processor has noticed, for many milliseconds (Linux
    /// `kernel/cgroup/cgroup.c`, `cgroup_procs_write_start`).
    pub(crate) fn join(&self, cgroup: &Path) -> io::Result<()> {
        let file = if self.is(CgroupVersion::V1) { "tasks" } else { "cgroup.procs" };
        write(&cgroup.join(file), "0")
    }

    /// Makes the cgroup at `path`, and its parents, fit to hold processes. Another container may remove an empty parent
    /// meanwhile.
    pub(crate) fn create(&self, path: &Path) -> Result<(), Error> {
        let mut attempts = 0;
        loop {
            match self.try_create(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && attempts < 100 => attempts += 1,
                result => return result.map_err(failed("create the cgroup", self.base.join(path))),
            }
        }
    }

    fn try_create(&self, path: &Path) -> io::Result<()> {
        let mut directory = self.base.clone();
        for part in path {
            if self.version == CgroupVersion::V2 {
                pass_on_controllers(&directory);
            }
            let parent = directory.clone();
            directory.push(part);
            match std::fs::create_dir(&directory) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            // A cpuset without processors and memory takes no processes, and a new one has none.
            if self.controllers.iter().any(|controller| controller == "cpuset") {
                inherit(&parent, &directory, "cpuset.cpus")?;
                inherit(&parent, &directory, "cpuset.mems")?;
            }
        }
        Ok(())
    }

    /// The name of the mount below `root`, when it is directly there.
    pub(crate) fn name_below(&self, root: &Path) -> Option<&Path> {
        self.mount.strip_prefix(root).ok().filter(|name| name.components().count() == 1)
    }

    /// The cgroup a process is in. Only for v2, where `/proc/PID/cgroup` has it on the line `0::PATH`.
    pub(crate) fn cgroup_of(&self, pid: i32) -> io::Result<PathBuf> {
        let cgroups = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
        let path = cgroups.lines().find_map(|line| line.strip_prefix("0::/"));
        path.map(|path| self.mount.join(path)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// Lets the children of a v2 cgroup use each controller it has. What cannot be passed on, because processes are in the
/// cgroup or because v1 has the controller, is missed only by a limit that needs it.
fn pass_on_controllers(directory: &Path) {
    let controllers = std::fs::read_to_string(directory.join("cgroup.controllers")).unwrap_or_default();
    for controller in controllers.split_whitespace() {
        if let Err(error) = write(&directory.join("cgroup.subtree_control"), &format!("+{controller}")) {
            tracing::debug!(%error, "Cannot pass on the controller `{controller}` below `{}`", directory.display());
        }
    }
}

fn inherit(parent: &Path, child: &Path, file: &str) -> io::Result<()> {
    let own = std::fs::read_to_string(child.join(file))?;
    if own.trim().is_empty() {
        write(&child.join(file), std::fs::read_to_string(parent.join(file))?.trim())?;
    }
    Ok(())
}

/// Blanks, tabs, line ends and backslashes in mountinfo are `\` and three octal digits.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
30 22 0:26 / /sys/fs/cgroup rw,relatime shared:5 - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:6 - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
33 30 0:29 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
34 22 0:27 / /mnt/elsewhere\\040too rw,relatime - cgroup cgroup rw,cpu,cpuacct
";

    fn limit(version: CgroupVersion, file: &str) -> Limit {
        Limit { key: "k".to_owned(), version, file: file.to_owned(), value: "1".to_owned() }
    }

    #[test]
    fn each_hierarchy_of_a_hybrid_host_is_found_once() {
        let hierarchies = Hierarchies::parse(HYBRID);
        let names: Vec<&str> = hierarchies
            .iter()
            .filter_map(|hierarchy| hierarchy.name_below(Path::new("/sys/fs/cgroup"))?.to_str())
            .collect();
        assert_eq!(names, ["cpu,cpuacct", "systemd", "unified"]);
        assert!(hierarchies.has(CgroupVersion::V1) && hierarchies.has(CgroupVersion::V2));
    }

    #[test]
    fn a_pure_v2_host_has_one_hierarchy_whose_name_is_no_name() {
        let hierarchies = Hierarchies::parse("30 22 0:26 / /sys/fs/cgroup rw shared:5 - cgroup2 cgroup2 rw\n");
        assert!(!hierarchies.has(CgroupVersion::V1));
        assert_eq!(hierarchies.unified().unwrap().name_below(Path::new("/sys/fs/cgroup")), None);
    }

    #[test]
    fn a_limit_goes_to_the_hierarchy_with_its_controller() {
        let hierarchies = Hierarchies::parse(HYBRID);
        let found = hierarchies.of_limit(&limit(CgroupVersion::V1, "cpu.shares")).unwrap();
        assert_eq!(found.base, Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        assert!(hierarchies.of_limit(&limit(CgroupVersion::V1, "memory.limit_in_bytes")).is_none());
        assert!(hierarchies.of_limit(&limit(CgroupVersion::V2, "devices.allow")).is_none());
    }

    #[test]
    fn a_plain_user_begins_at_the_own_cgroup_of_each_hierarchy() {
        let own = "5:cpu,cpuacct:/user/ada\n1:name=systemd:/session\n0::/\n";
        let bases: Vec<PathBuf> = Hierarchies::parse(HYBRID).below(own).0.into_iter().map(|one| one.base).collect();
        let expected = ["cpu,cpuacct/user/ada", "systemd/session", "unified/"];
        assert_eq!(bases, expected.map(|path| Path::new("/sys/fs/cgroup").join(path)));
    }

    #[test]
    fn escaped_mount_points_are_read() {
        assert_eq!(unescape("/mnt/a\\040b\\134"), "/mnt/a b\\");
    }
}
