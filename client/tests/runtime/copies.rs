//! A copy is a container of its own; a clone is one as well, and its base stays as long as it does.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::idmap::{WHOLE, give};
use crate::peer::{Lxc, MAPPED};
use crate::support::{Host, eventually};

const LINES: &str = "lxc.net.0.hwaddr = 00:16:3e:11:22:33\n";

/// A container `base` with a name in its root file system.
fn host(lines: &str) -> Option<Host> {
    let host = Host::or_skip()?;
    let base = host.create("base", lines);
    fs::write(base.join("rootfs/etc/hostname"), "base\n").unwrap();
    fs::write(base.join("rootfs/etc/colour"), "green\n").unwrap();
    if lines.contains("idmap") {
        give(&base.join("rootfs"));
    }
    Some(host)
}

fn value(host: &Host, name: &str, key: &str) -> String {
    let config = fs::read_to_string(host.containers().join(name).join("config")).unwrap();
    let value = config.lines().rev().find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix('='));
    value.unwrap_or_else(|| panic!("no `{key}` in {config}")).trim().to_owned()
}

#[test]
fn a_copy_has_its_own_name_address_paths_and_files() {
    let Some(host) = host(LINES) else { return };
    let base = host.containers().join("base");
    fs::write(base.join("fstab"), "tmpfs srv tmpfs size=1m,create=dir\n").unwrap();
    let config = fs::read_to_string(base.join("config")).unwrap();
    fs::write(base.join("config"), format!("{config}lxc.mount.fstab = {}/fstab\n", base.display())).unwrap();
    host.run("copy base web").succeeds();
    let web = host.containers().join("web");
    assert_eq!(value(&host, "web", "lxc.uts.name"), "web");
    assert_eq!(value(&host, "web", "lxc.rootfs.path"), format!("dir:{}/rootfs", web.display()));
    assert_eq!(value(&host, "web", "lxc.mount.fstab"), format!("{}/fstab", web.display()));
    assert_ne!(value(&host, "web", "lxc.net.0.hwaddr"), "00:16:3e:11:22:33");
    assert!(web.join("fstab").is_file());
    host.run("start web -- sleep 1000").succeeds();
    host.script("web", "test $(cat /etc/hostname) = web && test $(hostname) = web && echo red > /etc/colour")
        .succeeds();
    assert_eq!(fs::read_to_string(base.join("rootfs/etc/colour")).unwrap(), "green\n");
    host.run("stop -k web").succeeds();
    host.run("destroy base").succeeds();
}

#[test]
fn clones_of_clones_see_what_was_there_and_keep_their_bases() {
    let Some(host) = host("") else { return };
    host.run("copy --snapshot base web").succeeds();
    host.run("start web -- sleep 1000").succeeds();
    host.script("web", "test $(cat /etc/hostname) = web && echo installed > /etc/apache && rm /etc/colour").succeeds();
    host.run("stop -k web").succeeds();
    host.run("copy -s web mysite").succeeds();
    // What the clone of the clone changes is nobody else's, and the other way round.
    host.run("start mysite -- sleep 1000").succeeds();
    host.run("start web -- sleep 1000").succeeds();
    host.script("web", "echo later > /etc/apache").succeeds();
    assert_eq!(host.run("exec mysite -- cat /etc/apache /etc/hostname").succeeds(), "installed\nmysite\n");
    assert_eq!(host.run("exec mysite -- cat /etc/colour").code, Some(1));
    host.run("stop -k mysite").succeeds();
    host.run("stop -k web").succeeds();
    host.run("destroy base").fails(1, "container `base` has clones: `mysite`, `web`");
    host.run("destroy web").succeeds();
    host.run("destroy base").fails(1, "`mysite`");
    host.run("destroy mysite").succeeds();
    assert!(!host.containers().join("base/lxc_snapshots").exists());
    host.run("destroy base").succeeds();
}

#[test]
fn a_whole_copy_of_a_clone_needs_nobody() {
    let Some(host) = host("") else { return };
    host.run("copy --snapshot base web").succeeds();
    fs::write(host.containers().join("web/overlay/delta/etc/colour"), "red\n").unwrap();
    host.run("copy web alone").succeeds();
    host.run("destroy web").succeeds();
    host.run("destroy base").succeeds();
    host.run("start alone -- sleep 1000").succeeds();
    assert_eq!(host.run("exec alone -- cat /etc/colour /etc/hostname").succeeds(), "red\nalone\n");
}

#[test]
fn copies_of_mapped_containers_belong_to_the_same_users() {
    let Some(host) = host(WHOLE) else { return };
    host.run("copy base whole").succeeds();
    host.run("copy --snapshot base web").succeeds();
    host.run("copy --snapshot web mysite").succeeds();
    for name in ["whole", "web", "mysite"] {
        host.run(&format!("start {name} -- sleep 1000")).succeeds();
        let script = "test $(cat /etc/hostname) = $(hostname) && rm -r /etc && mkdir /etc && echo mine > /etc/file";
        host.script(name, script).succeeds();
        assert_eq!(host.run(&format!("exec {name} -- ls /etc")).succeeds(), "file\n");
    }
    for file in ["whole/rootfs/etc/file", "web/overlay/delta/etc/file", "mysite/overlay/work", "mysite/rootfs"] {
        assert_eq!(fs::metadata(host.containers().join(file)).unwrap().uid(), MAPPED, "{file}");
    }
    assert_eq!(value(&host, "web", "lxc.rootfs.options"), "userxattr");
}

#[test]
fn lxc_and_we_lay_clones_out_alike_and_respect_each_others() {
    let Some(host) = host("") else { return };
    let containers = host.containers();
    let Some(mut lxc) = Lxc::or_skip(&containers) else { return };
    lxc.adapt("base");
    lxc.run("copy", "base", &["-N", "theirs", "-s", "-B", "overlayfs"]).succeeds();
    host.run("copy --snapshot base ours").succeeds();
    let config = |name: &str| {
        let text = fs::read_to_string(containers.join(name).join("config")).unwrap();
        let mut lines: Vec<String> = text
            .lines()
            .filter(|line| !line.contains("hwaddr"))
            .map(|line| line.replace(name, "NAME").replace(' ', ""))
            .collect();
        lines.sort();
        lines
    };
    assert_eq!(config("ours"), config("theirs"));
    let read = |file: &str| fs::read_to_string(containers.join(file)).unwrap();
    assert_eq!(read("ours/lxc_rdepends"), read("theirs/lxc_rdepends"));
    let shown = containers.display();
    assert_eq!(read("base/lxc_snapshots"), format!("{shown}\ntheirs\n{shown}\nours\n"));
    host.run("destroy base").fails(1, "has clones: `ours`, `theirs`");

    lxc.start("ours");
    lxc.script("ours", "test $(cat /etc/hostname) = ours && echo red > /etc/colour").succeeds();
    lxc.stop("ours");
    assert_eq!(read("ours/overlay/delta/etc/colour"), "red\n");
    host.run("start theirs -- sleep 1000").succeeds();
    assert_eq!(host.run("exec theirs -- cat /etc/colour").succeeds(), "green\n");
    host.run("stop -k theirs").succeeds();

    host.run("destroy theirs").succeeds();
    assert_ne!(lxc.run("destroy", "base", &[]).code, Some(0), "LXC destroyed the base of our clone");
    lxc.run("destroy", "ours", &[]).succeeds();
    assert!(!containers.join("base/lxc_snapshots").exists());
    lxc.run("destroy", "base", &[]).succeeds();
}

#[test]
fn neither_a_running_container_is_copied_nor_an_existing_one_replaced() {
    let Some(host) = host("") else { return };
    host.create("web", "");
    host.run("copy base web").fails(1, "container `web` already exists");
    host.run("copy base ../web").fails(1, "../web");
    host.run("start base -- sleep 1000").succeeds();
    host.run("copy base other").fails(1, "container `base` is already running");
    host.run("copy --snapshot base other").fails(1, "container `base` is already running");
    assert!(!host.containers().join("other").exists());
}

#[test]
fn a_killed_copy_is_no_container_and_the_next_one_succeeds() {
    let Some(host) = host("") else { return };
    let rootfs = host.containers().join("base/rootfs");
    for number in 0..20_000 {
        fs::write(rootfs.join(format!("tmp/{number}")), "").unwrap();
    }
    let staging = host.containers().join(".web.new/rootfs/tmp");
    let mut copying = host.command(["copy", "base", "web"]).spawn().unwrap();
    eventually("a part of the copy", || staging.exists() || !rootfs.exists());
    copying.kill().unwrap();
    copying.wait().unwrap();
    assert!(!host.containers().join("web").exists() && host.containers().join(".web.new").exists());
    assert!(!host.run("ls").succeeds().contains("web"));
    host.run("copy base web").succeeds();
    assert_eq!(fs::read_dir(host.containers().join("web/rootfs/tmp")).unwrap().count(), 20_000);
    assert!(!host.containers().join(".web.new").exists());
}
