//! What the containers of a plain user need, and those of root that map ids.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{Check, Machine, Verdict, existing};
use crate::runtime::hierarchy::Hierarchies;

pub(super) fn checks(machine: &Machine, containers: &Path) -> Vec<Check> {
    let mut checks = vec![subordinate_ids(machine), map_helpers(machine)];
    if !machine.is_root() {
        checks.extend([reach(containers), delegation(machine)]);
    }
    checks
}

/// 65536 in both files (subuid(5)): images use ids up to 65534.
fn subordinate_ids(machine: &Machine) -> Check {
    let name = "subordinate ids";
    let counts = ["etc/subuid", "etc/subgid"].map(|file| count(&machine.read(file).unwrap_or_default(), machine));
    if counts.iter().all(|count| *count >= NEEDED) {
        return Check::ok(name, format!("{} users and {} groups", counts[0], counts[1]));
    }
    let used = ["etc/subuid", "etc/subgid"].map(|file| end(&machine.read(file).unwrap_or_default()));
    let first = used[0].max(used[1]).max(100_000);
    let range = format!("{first}-{}", first + NEEDED - 1);
    let fix = format!("usermod --add-subuids {range} --add-subgids {range} {}", machine.user);
    let found = format!("{} users and {} groups for `{}`, 65536 are usual", counts[0], counts[1], machine.user);
    Check::new(name, machine.needed_by_users(), found, fix)
}

/// How many ids the user has.
fn count(file: &str, machine: &Machine) -> u64 {
    let own = ranges(file).filter(|(owner, ..)| *owner == machine.user || *owner == machine.uid.to_string());
    own.map(|(_, _, count)| count).sum()
}

/// The first id that nobody has.
fn end(file: &str) -> u64 {
    ranges(file).map(|(_, start, count)| start.saturating_add(count)).max().unwrap_or(0)
}

fn ranges(file: &str) -> impl Iterator<Item = (&str, u64, u64)> {
    file.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        Some((fields.next()?, fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    })
}

fn map_helpers(machine: &Machine) -> Check {
    let name = "newuidmap";
    for helper in ["newuidmap", "newgidmap"] {
        let Some(path) = machine.program(helper) else {
            let fix = machine.install(["uidmap", "shadow-utils", "shadow-uidmap", "shadow", "shadow"]);
            return Check::new(name, machine.needed_by_users(), format!("no `{helper}`"), fix);
        };
        let mode = path.metadata().map_or(0, |about| about.permissions().mode());
        let has_capability = rustix::fs::lgetxattr(&path, "security.capability", &mut [0_u8; 64]).is_ok();
        if mode & 0o4000 == 0 && !has_capability {
            let found = format!("`{}` has no rights of its own", path.display());
            return Check::new(name, machine.needed_by_users(), found, format!("chmod u+s {}", path.display()));
        }
    }
    Check::ok(name, "with newgidmap")
}

/// LXC enters the directory as the container's root, who is nobody in particular to the host.
fn reach(containers: &Path) -> Check {
    let name = "containers";
    let closed = existing(containers)
        .ancestors()
        .find(|part| part.metadata().is_ok_and(|about| about.permissions().mode() & 0o001 == 0));
    match closed {
        None => Check::ok(name, containers.display().to_string()),
        Some(part) => {
            let found = format!("`{}` keeps the users of containers out, LXC needs it open", part.display());
            Check::new(name, Verdict::Advised, found, format!("chmod o+x {}", part.display()))
        }
    }
}

fn delegation(machine: &Machine) -> Check {
    let name = "own control groups";
    let own = Hierarchies::of_caller().map_or(0, |own| own.iter().count());
    if own > 0 {
        return Check::ok(name, "delegated to this user");
    }
    let fix = if machine.exists("run/systemd/system") {
        "systemd-run --user --scope -p Delegate=yes -- $SHELL".to_owned()
    } else {
        own_groups(machine)
    };
    Check::new(name, Verdict::Advised, "none: limits are not kept and systemd cannot be a container's init", fix)
}

/// Gives the user a group in each hierarchy and moves the shell there, where no systemd does.
fn own_groups(machine: &Machine) -> String {
    let hierarchies = Hierarchies::parse(&machine.read("proc/self/mountinfo").unwrap_or_default());
    let bases: Vec<String> = hierarchies.iter().map(|hierarchy| hierarchy.base.display().to_string()).collect();
    let bases = if bases.is_empty() { "/sys/fs/cgroup".to_owned() } else { bases.join(" ") };
    let user = &machine.user;
    format!(
        "for base in {bases}; do sudo mkdir -p $base/{user} && sudo chown -R {user} $base/{user} && \
         echo $$ | sudo tee $base/{user}/cgroup.procs; done"
    )
}

const NEEDED: u64 = 65_536;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::tests::machine;
    use super::*;

    #[test]
    fn too_few_ids_are_answered_with_a_range_nobody_has() {
        let subuid = ("etc/subuid", "bob:100000:65536\nana:300000:10\n");
        let (_directory, machine) = machine(1000, &[subuid, ("etc/subgid", "bob:100000:65536\n")]);
        let check = subordinate_ids(&machine);
        assert_eq!(check.verdict, Verdict::Missing);
        assert_eq!(check.fix.unwrap(), "usermod --add-subuids 300010-365545 --add-subgids 300010-365545 ana");
    }

    #[test]
    fn ids_may_be_given_by_name_or_number_and_in_parts() {
        let (_directory, machine) = machine(
            1000,
            &[("etc/subuid", "ana:100000:32768\n1000:200000:32768\n"), ("etc/subgid", "ana:100000:65536\n")],
        );
        assert_eq!(subordinate_ids(&machine).verdict, Verdict::Ok);
    }

    #[test]
    fn helpers_need_rights_of_their_own() {
        let (_directory, machine) = machine(1000, &[("usr/bin/newuidmap", ""), ("usr/bin/newgidmap", "")]);
        assert!(map_helpers(&machine).fix.unwrap().starts_with("chmod u+s "));
        for helper in ["newuidmap", "newgidmap"] {
            let path = machine.program(helper).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o4755)).unwrap();
        }
        assert_eq!(map_helpers(&machine).verdict, Verdict::Ok);
    }

    #[test]
    fn without_systemd_a_user_gets_a_group_in_each_hierarchy() {
        let mounts = "31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      32 30 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let (_directory, machine) = machine(1000, &[("proc/self/mountinfo", mounts)]);
        let fix = own_groups(&machine);
        let start = "for base in /sys/fs/cgroup/memory /sys/fs/cgroup/unified; do sudo mkdir -p $base/ana && ";
        assert!(fix.starts_with(start), "{fix}");
    }

    #[test]
    fn a_home_that_is_closed_to_others_is_named() {
        let home = tempfile::tempdir().unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let check = reach(&home.path().join("share/lxc"));
        assert_eq!(check.fix.unwrap(), format!("chmod o+x {}", home.path().display()));
    }
}
