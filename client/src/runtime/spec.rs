//! A plan in the engine's language, the OCI runtime specification.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use libcontainer::oci_spec::OciSpecError;
use libcontainer::oci_spec::runtime::{
    Capability, HookBuilder, Hooks, HooksBuilder, Linux, LinuxBuilder, LinuxCapabilities, LinuxCapabilitiesBuilder,
    LinuxNamespaceBuilder, LinuxNamespaceType, LinuxPersonalityBuilder, LinuxPersonalityDomain, Mount, MountBuilder,
    Process, ProcessBuilder, RootBuilder, Spec, SpecBuilder, UserBuilder,
};

use super::auto_mount::Access;
use super::hooks::{self, Moment};
use super::plan::Plan;
use super::seccomp;
use super::ttys::Laid;

/// The whole specification. `rootfs` is where the root file system is mounted, `cgroup` is where the engine puts the container, `view` is what to show it as
/// `/sys/fs/cgroup`.
/// Its process has those of the wanted capabilities that the calling process has.
pub(crate) fn build(plan: &Plan, rootfs: &Path, cgroup: &Path, view: &Path, ttys: &Laid) -> Result<Spec, OciSpecError> {
    let spec = SpecBuilder::default()
        .version("1.0.2")
        .root(RootBuilder::default().path(rootfs).readonly(plan.rootfs_options.is_readonly).build()?)
        .hostname(&plan.hostname)
        .mounts(mounts(plan, view, ttys)?)
        .process(process(plan)?)
        .linux(linux(plan, cgroup)?);
    match hooks(plan, rootfs)? {
        Some(hooks) => spec.hooks(hooks).build(),
        None => spec.build(),
    }
}

/// Those that run in the container's namespaces. The engine gives its own account on their standard input.
fn hooks(plan: &Plan, rootfs: &Path) -> Result<Option<Hooks>, OciSpecError> {
    let of = |moment| {
        let environment = plan.hooks.engine_environment(&plan.subject(), moment, rootfs);
        let hooks = plan.hooks.for_engine(&plan.name, moment).into_iter();
        hooks.map(move |words| HookBuilder::default().path(hooks::shell()).args(words).env(environment.clone()).build())
    };
    let created = of(Moment::Mount).chain(of(Moment::Autodev)).collect::<Result<Vec<_>, _>>()?;
    let started = of(Moment::Start).collect::<Result<Vec<_>, _>>()?;
    if created.is_empty() && started.is_empty() {
        return Ok(None);
    }
    HooksBuilder::default().create_container(created).start_container(started).build().map(Some)
}

fn process(plan: &Plan) -> Result<Process, OciSpecError> {
    let mut environment = plan.environment();
    environment.push("TERM=linux".to_owned());
    environment.extend(plan.ttys.environment());
    let builder = ProcessBuilder::default()
        .terminal(true)
        .user(UserBuilder::default().uid(0_u32).gid(0_u32).build()?)
        .args(plan.command.clone())
        .env(environment)
        .cwd(&plan.directory)
        .capabilities(capabilities(plan)?);
    // The engine takes the mere presence of the field for a wish and then loads the seccomp profile later.
    if plan.no_new_privileges { builder.no_new_privileges(true).build() } else { builder.build() }
}

/// Nothing is inheritable or ambient: programs of other users in the container get no capabilities through exec.
fn capabilities(plan: &Plan) -> Result<LinuxCapabilities, OciSpecError> {
    let available = plan.capabilities.available().map_err(|error| OciSpecError::Other(error.to_string()))?;
    let set = available.names().map(engine_capability).collect::<Result<HashSet<_>, _>>()?;
    LinuxCapabilitiesBuilder::default()
        .bounding(set.clone())
        .effective(set.clone())
        .permitted(set)
        .inheritable(HashSet::new())
        .ambient(HashSet::new())
        .build()
}

/// The engine's word for a capability.
fn engine_capability(name: &str) -> Result<Capability, OciSpecError> {
    let unknown = || OciSpecError::Other(format!("the engine does not know the capability `{name}`"));
    name.to_ascii_uppercase().parse().map_err(|_| unknown())
}

fn linux(plan: &Plan, cgroup: &Path) -> Result<Linux, OciSpecError> {
    // The launcher has made the network namespace.
    let namespaces = [
        LinuxNamespaceType::Pid,
        LinuxNamespaceType::Ipc,
        LinuxNamespaceType::Uts,
        LinuxNamespaceType::Mount,
        LinuxNamespaceType::Cgroup,
    ];
    let namespaces = namespaces
        .into_iter()
        .map(|kind| LinuxNamespaceBuilder::default().typ(kind).build())
        .collect::<Result<Vec<_>, _>>()?;
    let mixed_proc = if plan.auto_mounts.proc == Access::ReadWrite { &[][..] } else { &READ_ONLY[..] };
    let mut linux = LinuxBuilder::default()
        .namespaces(namespaces)
        .cgroups_path(cgroup)
        .seccomp(seccomp::profile()?)
        .masked_paths(strings(&MASKED))
        .readonly_paths(strings(mixed_proc))
        .rootfs_propagation("private".to_owned());
    if !plan.sysctl.is_empty() {
        linux = linux.sysctl(plan.sysctl.iter().cloned().collect::<HashMap<_, _>>());
    }
    if plan.is_32_bit {
        let personality = LinuxPersonalityBuilder::default().domain(LinuxPersonalityDomain::PerLinux32).build()?;
        linux = linux.personality(personality);
    }
    let mut linux = linux.build()?;
    // Limits are set by the monitor, on a cgroup the container cannot reach.
    linux.set_resources(None);
    Ok(linux)
}

fn mounts(plan: &Plan, view: &Path, ttys: &Laid) -> Result<Vec<Mount>, OciSpecError> {
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
        mount("sysfs", "/sys", "sysfs", &sys)?
    } else {
        mount("/sys", "/sys", "bind", &["rbind", "nosuid", "noexec", "nodev", "ro"])?
    };
    let mut mounts = vec![
        mount("proc", "/proc", "proc", &["nosuid", "noexec", "nodev"])?,
        sys,
        mount(view, "/sys/fs/cgroup", "bind", &cgroup)?,
        mount("tmpfs", "/dev", "tmpfs", &["nosuid", "noexec", "strictatime", "mode=755", "size=500k"])?,
        mount(&ttys.devpts, "/dev/pts", "bind", &["bind", "nosuid", "noexec"])?,
        mount("shm", "/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777"])?,
        mount("mqueue", "/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"])?,
        mount("tmpfs", "/run", "tmpfs", &["nosuid", "nodev", "mode=755"])?,
    ];
    if plan.auto_mounts.proc == Access::Mixed && plan.network.is_own() {
        // The settings of the container's own network are its own. The engine binds `/proc/sys` onto itself later, with
        // what is mounted below.
        mounts.push(mount("/proc/sys/net", "/proc/sys/net", "bind", &["bind", "nosuid", "noexec", "nodev"])?);
    }
    for (file, places) in &ttys.files {
        for place in places {
            mounts.push(mount(file, place, "bind", &["bind", "nosuid", "noexec"])?);
        }
    }
    for entry in &plan.mounts {
        let options: Vec<&str> = entry.options.iter().map(String::as_str).collect();
        mounts.push(mount(&entry.source, &entry.target, &entry.kind, &options)?);
    }
    Ok(mounts)
}

/// How the container's `/dev/pts` is mounted.
pub(crate) fn devpts(plan: &Plan) -> String {
    let group = if plan.idmap.is_empty() || plan.idmap.has_group(TTY_GROUP) { ",gid=5" } else { "" };
    format!("newinstance,ptmxmode=0666,mode=0620,max={}{group}", plan.pty_max)
}

fn mount(
    source: impl Into<PathBuf>,
    target: impl Into<PathBuf>,
    kind: &str,
    options: &[&str],
) -> Result<Mount, OciSpecError> {
    MountBuilder::default().source(source).destination(target).typ(kind).options(strings(options)).build()
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

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
    use crate::runtime::capability::Capabilities;
    use crate::runtime::settings::Settings;

    fn plan(change: impl FnOnce(&mut Settings)) -> Plan {
        let mut settings = Settings { rootfs: Some(Backing::Directory("/".into())), ..Settings::default() };
        change(&mut settings);
        Plan::new("web1", Path::new("/lxc/web1/config"), settings, Vec::new(), Vec::new()).unwrap()
    }

    fn spec(plan: &Plan) -> Spec {
        build(plan, Path::new("/"), Path::new("/rootcellar/k/web1/inner"), Path::new("/view"), &Laid::default())
            .unwrap()
    }

    #[test]
    fn dropped_capabilities_are_in_no_set() {
        let spec = spec(&plan(|settings| settings.capabilities.drop("chown sys_module").unwrap()));
        let sets = spec.process().as_ref().unwrap().capabilities().clone().unwrap();
        let available = Capabilities::default().available().unwrap();
        let mut left = available;
        left.drop("chown sys_module").unwrap();
        for set in [sets.bounding(), sets.permitted(), sets.effective()] {
            assert_eq!(set.as_ref().map(HashSet::len), Some(left.names().count()));
        }
        assert_eq!(sets.ambient().as_ref().map(HashSet::len), Some(0));
    }

    #[test]
    fn the_engine_knows_every_capability() {
        let names: Vec<_> = Capabilities::default().names().collect();
        let known: HashSet<Capability> = names.iter().map(|name| engine_capability(name).unwrap()).collect();
        assert_eq!(known.len(), names.len());
    }

    #[test]
    fn the_engine_sets_no_limits_of_its_own() {
        assert!(spec(&plan(|_| {})).linux().as_ref().unwrap().resources().is_none());
    }

    #[test]
    fn proc_and_sys_are_writable_only_when_asked_for() {
        let find = |spec: &Spec, target: &str| {
            let mounts = spec.mounts().clone().unwrap();
            mounts
                .into_iter()
                .find(|mount| mount.destination() == Path::new(target))
                .unwrap()
                .options()
                .clone()
                .unwrap()
        };
        let default = spec(&plan(|_| {}));
        assert!(find(&default, "/sys").contains(&"ro".to_owned()));
        assert!(!default.linux().as_ref().unwrap().readonly_paths().as_ref().unwrap().is_empty());
        let open = spec(&plan(|settings| settings.auto_mounts.apply("proc:rw sys:rw", &mut Vec::new())));
        assert!(!find(&open, "/sys").contains(&"ro".to_owned()));
        assert!(open.linux().as_ref().unwrap().readonly_paths().as_ref().unwrap().is_empty());
    }

    #[test]
    fn mounts_of_the_configuration_come_after_our_own() {
        let spec = spec(&plan(|settings| settings.mounts.push("/tmp dev/x none bind 0 0".to_owned())));
        assert_eq!(spec.mounts().as_ref().unwrap().last().unwrap().destination(), Path::new("/dev/x"));
    }
}
