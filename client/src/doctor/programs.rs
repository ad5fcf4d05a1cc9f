//! Programs, the network of containers, servers, and room.

use std::path::Path;

use terminal::human;

use super::{Check, Machine, Verdict, existing};
use crate::runtime::network::user_mode::PROGRAMS;

pub(super) fn checks(machine: &Machine, cache: &Path, remotes: usize) -> Vec<Check> {
    let mut checks = Vec::new();
    match machine.program("lxc-start") {
        None => checks.push(Check::new(
            "LXC",
            Verdict::Advised,
            "not installed: containers run with the embedded runtime",
            machine.install(["lxc", "lxc", "lxc", "lxc", "lxc"]),
        )),
        Some(path) => checks.extend([Check::ok("LXC", path.display().to_string()), template(machine), bridge(machine)]),
    }
    if !machine.is_root() {
        checks.push(user_network(machine));
    }
    checks.extend([servers(remotes), room(cache)]);
    checks
}

/// Any of the programs that the embedded runtime can use.
fn user_network(machine: &Machine) -> Check {
    let name = "user network";
    match PROGRAMS.iter().find_map(|program| machine.program(program)) {
        Some(path) => Check::ok(name, path.display().to_string()),
        None => Check::new(
            name,
            Verdict::Advised,
            format!("neither {}: a plain user's containers have no network of their own", PROGRAMS.join(" nor ")),
            machine.install(["passt", "passt", "passt", "passt", "passt"]),
        ),
    }
}

/// Whether `lxc-create -t download` runs this program.
fn template(machine: &Machine) -> Check {
    let templates = machine.at("usr/share/lxc/templates");
    let ours = ["lxc-download", "lxc-rootcellar"].into_iter().find(|name| {
        let program = std::fs::read_link(templates.join(name)).unwrap_or_default();
        program.file_name().is_some_and(|name| name == "rootcellar")
    });
    match ours {
        Some(name) => Check::ok("template", format!("`{name}` is rootcellar")),
        None => Check::new(
            "template",
            Verdict::Advised,
            "`lxc-create -t download` runs the stock template, which verifies no signature",
            "rootcellar template install",
        ),
    }
}

fn bridge(machine: &Machine) -> Check {
    if machine.exists("sys/class/net/lxcbr0") {
        return Check::ok("bridge", "lxcbr0");
    }
    let fix = if machine.exists("run/systemd/system") {
        "systemctl enable --now lxc-net"
    } else {
        "/usr/libexec/lxc/lxc-net start"
    };
    Check::new("bridge", Verdict::Advised, "no `lxcbr0`, which LXC's default configuration names", fix)
}

fn servers(remotes: usize) -> Check {
    match remotes {
        0 => Check::new(
            "remotes",
            Verdict::Advised,
            "no server is configured",
            "rootcellar remote add default https://SERVER",
        ),
        one_or_more => Check::ok("remotes", human::count(one_or_more as u64)),
    }
}

fn room(cache: &Path) -> Check {
    let about = rustix::fs::statvfs(existing(cache));
    let free = about.map_or(0, |about| about.f_bavail.saturating_mul(about.f_frsize));
    let found = format!("{} free for `{}`", human::bytes(free), cache.display());
    if free >= ENOUGH {
        return Check::ok("room", found);
    }
    Check::new("room", Verdict::Advised, found, "rootcellar cache prune")
}

/// An image and a few containers of it.
const ENOUGH: u64 = 2 << 30;

#[cfg(test)]
mod tests {
    use super::super::tests::{machine, verdict};
    use super::*;

    #[test]
    fn the_template_counts_only_where_there_is_lxc() {
        let (_directory, bare) = machine(0, &[("usr/bin/apt-get", "")]);
        let found = checks(&bare, Path::new("/"), 1);
        assert!(found.iter().all(|check| check.name != "template"));
        assert_eq!(found[0].fix.as_deref(), Some("apt-get install lxc"));

        let (_directory, with_lxc) =
            machine(0, &[("usr/bin/lxc-start", ""), ("usr/share/lxc/templates/lxc-busybox", "")]);
        assert_eq!(verdict(&checks(&with_lxc, Path::new("/"), 1), "template"), Verdict::Advised);
        let link = with_lxc.at("usr/share/lxc/templates/lxc-download");
        std::os::unix::fs::symlink("/usr/local/bin/rootcellar", link).unwrap();
        assert_eq!(verdict(&checks(&with_lxc, Path::new("/"), 1), "template"), Verdict::Ok);
    }

    #[test]
    fn a_plain_user_is_told_of_the_network_unless_one_of_its_programs_is_there_and_root_is_not() {
        let (_directory, of_user) = machine(1000, &[("usr/bin/dnf", "")]);
        let found = checks(&of_user, Path::new("/"), 0);
        assert_eq!(verdict(&found, "user network"), Verdict::Advised);
        assert_eq!(verdict(&found, "remotes"), Verdict::Advised);
        for program in ["usr/bin/pasta", "usr/bin/slirp4netns"] {
            let (_directory, of_user) = machine(1000, &[(program, "")]);
            assert_eq!(verdict(&checks(&of_user, Path::new("/"), 0), "user network"), Verdict::Ok, "{program}");
        }
        let (_directory, of_root) = machine(0, &[]);
        assert!(checks(&of_root, Path::new("/"), 0).iter().all(|check| check.name != "user network"));
    }
}
