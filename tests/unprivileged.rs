//! A plain user with subordinate ids creates and runs containers, with the stock template and with ours.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::support::user::{TestUser, hierarchies};
use crate::support::{Outcome, Program, TestServer, debian_build, fake_build, need, program};

#[test]
fn a_plain_user_creates_with_the_stock_template_and_the_container_boots_and_stops() {
    need!(root, "lxc-create", "mmdebstrap", "newuidmap", "runuser");
    let server = TestServer::publishing(&[&debian_build()]);
    let user = container_user(&server, "stock");
    create(&user, &server, "download").succeeds();
    boots_and_stops(&user);
}

#[test]
fn a_plain_user_creates_with_our_template_and_the_container_boots_and_stops() {
    need!(root, "lxc-create", "mmdebstrap", "newuidmap", "runuser");
    let server = TestServer::publishing(&[&debian_build()]);
    let user = container_user(&server, "ours");
    let template = our_template(&user, &server);
    create(&user, &server, &template).succeeds();
    boots_and_stops(&user);
}

#[test]
fn the_cache_the_state_and_the_configuration_of_a_plain_user_are_the_users_own() {
    need!(root, "lxc-create", "newuidmap", "runuser");
    let (_directory, build) = fake_build("debian/bookworm/amd64/default", "20261123_0522");
    let server = TestServer::publishing(&[&build]);
    let user = container_user(&server, "own");
    let template = our_template(&user, &server);
    create(&user, &server, &template).succeeds();
    let uid = fs::metadata(user.home()).unwrap().uid();
    for directory in [".cache/lxc/rootcellar/v1", ".local/state/rootcellar", ".config/rootcellar"] {
        let files = below(&user.home().join(directory));
        assert!(files.len() > 1, "{directory}: {files:?}");
        for path in files {
            let about = fs::symlink_metadata(&path).unwrap();
            assert_eq!(about.uid(), uid, "{}", path.display());
            assert_eq!(about.mode() & 0o022, 0, "{} is open to others", path.display());
        }
    }
    assert!(!user.home().join(".cache/rootcellar").exists(), "there is one cache of a template");
    let container = user.home().join(".local/share/lxc/u1");
    let config = fs::metadata(container.join("config")).unwrap();
    assert_eq!((config.uid(), config.mode() & 0o777), (uid, 0o640));
    let text = fs::read_to_string(container.join("config")).unwrap();
    assert!(text.contains("userns.conf") && text.contains("lxc.uts.name = u1"), "{text}");
    let hostname = fs::metadata(container.join("rootfs/etc/hostname")).unwrap();
    assert_eq!((hostname.uid(), hostname.mode() & 0o777), (user.subordinate_ids().0, 0o644));
    // The next one comes from the cache, and the user can change and remove everything in it.
    let again = user.sh(&format!("lxc-create -t {template} -n u2 -- -d debian -r bookworm -a amd64"));
    assert!(again.succeeds().contains("Using image from local cache"), "{again:?}");
    user.sh("lxc-destroy -n u1 && lxc-destroy -n u2 && rm -r .cache/lxc .local/state/rootcellar").succeeds();
}

/// Our program as a template of the user's own, which trusts the server.
fn our_template(user: &TestUser, server: &TestServer) -> String {
    let template = user.home().join("lxc-download");
    fs::copy(program::ours("rootcellar"), &template).unwrap();
    let rootcellar = user.home().join("rootcellar");
    std::os::unix::fs::symlink("lxc-download", &rootcellar).unwrap();
    let (url, ca) = (&server.url, user.home().join("ca.pem"));
    let trust = format!("remote add default {url} --fingerprint {} --ca {}", server.fingerprint(), ca.display());
    user.sh(&format!("{} {trust}", rootcellar.display())).succeeds();
    template.display().to_string()
}

/// A directory and everything in it.
fn below(directory: &Path) -> Vec<PathBuf> {
    let mut found = vec![directory.to_owned()];
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(below(&path)) } else { found.push(path) }
    }
    found
}

/// A user whose containers map all their subordinate ids and have no network.
pub(crate) fn container_user(server: &TestServer, purpose: &str) -> TestUser {
    let user = TestUser::new(purpose);
    let (start, count) = user.subordinate_ids();
    let map = format!("lxc.idmap = u 0 {start} {count}\nlxc.idmap = g 0 {start} {count}\n");
    user.write(".config/lxc/default.conf", &format!("{map}lxc.net.0.type = empty\n"));
    user.write("ca.pem", &fs::read_to_string(server.ca()).unwrap());
    user.write("wgetrc", &format!("ca_certificate = {}\n", user.home().join("ca.pem").display()));
    user
}

fn create(user: &TestUser, server: &TestServer, template: &str) -> Outcome {
    let wgetrc = user.home().join("wgetrc");
    let image = format!("--server {} -d debian -r bookworm -a amd64", server.host_and_port());
    user.sh(&format!("WGETRC={} lxc-create -t {template} -n u1 -- {image}", wgetrc.display()))
}

fn boots_and_stops(user: &TestUser) {
    let rootfs = user.home().join(".local/share/lxc/u1/rootfs");
    assert_eq!(fs::metadata(rootfs.join("etc")).unwrap().uid(), user.subordinate_ids().0);
    in_own_control_groups(user, "lxc-start -n u1").succeeds();
    let waited = user
        .sh("i=0; until [ \"$(lxc-attach -n u1 -- systemctl is-system-running)\" = running ]; do i=$((i + 1)); \
         if [ $i -gt 120 ]; then lxc-attach -n u1 -- systemctl --failed --no-pager; exit 1; fi; sleep 0.5; done");
    let os = user.sh("lxc-attach -n u1 -- cat /etc/os-release");
    let stopped = user.sh("lxc-stop -n u1 -t 60 --nokill");
    let destroyed = user.sh("lxc-stop -k -n u1; lxc-destroy -n u1");
    waited.succeeds();
    assert!(os.succeeds().contains("VERSION_CODENAME=bookworm"));
    stopped.succeeds();
    destroyed.succeeds();
}

/// Runs a command of the user in control groups that belong to the user, as a login session would have them: without
/// any, systemd in the container could not make its own.
pub(crate) fn in_own_control_groups(user: &TestUser, command: &str) -> Outcome {
    let (name, home) = (user.name(), user.home().display());
    let enter = hierarchies().into_iter().map(|hierarchy| {
        format!(
            "hierarchy={}; group=$hierarchy/{name}; mkdir -p $group; \
             for seed in cpuset.cpus cpuset.mems; do \
                 [ ! -e $group/$seed ] || cat $hierarchy/$seed > $group/$seed; \
             done; chown {name} $group $group/cgroup.procs; echo $$ > $group/cgroup.procs; ",
            hierarchy.display()
        )
    });
    let enter = enter.collect::<Vec<_>>().concat();
    let script = format!("{enter} cd {home}; runuser -l {name} -c '{command}'");
    Program::new("sh").args(["-c", &script]).run()
}
