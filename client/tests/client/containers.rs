//! A container is created whole, as the image and the user say, or not at all.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::time::Duration;

use crate::world::{Host, Server, bookworm, is_root};

#[test]
fn a_container_has_its_name_in_its_files_and_both_configurations() {
    if !is_root() {
        return;
    }
    let server = Server::publishing(&[bookworm().file("srv/owned", "x")]);
    let host = Host::trusting(&server);
    fs::write(host.at("net.conf"), "lxc.net.0.type = empty\nlxc.start.auto = 1\n").unwrap();
    host.run(&format!("create web1 debian/12 --config {}", host.at("net.conf").display())).succeeds();
    let rootfs = host.at("containers/web1/rootfs");
    assert_eq!(fs::read_to_string(rootfs.join("etc/hostname")).unwrap(), "web1\n");
    assert!(fs::read_to_string(rootfs.join("etc/hosts")).unwrap().contains("127.0.1.1\tweb1"));
    assert!(rootfs.join("dev/pts").is_dir());
    let config = fs::read_to_string(host.at("containers/web1/config")).unwrap();
    let expected = format!(
        "\n# Distribution configuration\nlxc.include = /usr/share/lxc/config/common.conf\nlxc.arch = linux64\n\n\
         # Container specific configuration\nlxc.start.auto = 1\nlxc.rootfs.path = dir:{}\nlxc.uts.name = web1\n\n\
         # Network configuration\nlxc.net.0.type = empty\n",
        rootfs.display()
    );
    assert!(config.ends_with(&expected), "{config}");
    let about = fs::metadata(host.at("containers/web1")).unwrap();
    assert_eq!((about.permissions().mode() & 0o777, about.uid()), (0o770, 0));
    host.run("create web1 debian/12").refuses("container `web1` already exists");
}

#[test]
fn what_an_image_wants_to_be_said_is_said_in_the_end_and_obeyed_by_no_terminal() {
    if !is_root() {
        return;
    }
    let server = Server::publishing(&[bookworm().member("create-message", "Log in as \u{1b}[2Jroot.\n\nEnjoy.\n")]);
    let host = Host::trusting(&server);
    for line in ["create web1 debian/12", "create --snapshot web2 debian/12"] {
        let said = host.run(line).succeeds();
        assert!(said.stderr.ends_with("\n\n---\nLog in as \\u{1b}[2Jroot.\n\nEnjoy.\n"), "{}", said.stderr);
        assert_eq!(said.stdout, "");
    }
    assert!(!host.run("create -q web3 debian/12").succeeds().stderr.contains("Enjoy"));
}

#[test]
fn an_image_that_configures_the_host_is_refused_unless_the_key_is_allowed_by_name() {
    if !is_root() {
        return;
    }
    let evil = bookworm().member("config", "lxc.arch = linux64\nlxc.hook.start = /bin/true\n");
    let server = Server::publishing(&[evil]);
    let host = Host::trusting(&server);
    host.run("create web1 debian/12").refuses("sets `lxc.hook.start` to `/bin/true`");
    assert!(host.tree("containers").is_empty());
    host.run("create web1 debian/12 --allow-config-key lxc.hook.start").succeeds();
}

#[test]
fn templates_of_an_image_change_nothing_outside_of_it() {
    if !is_root() {
        return;
    }
    let host = Host::new();
    fs::write(host.at("secret"), "LXC_NAME").unwrap();
    let secret = host.at("secret").display().to_string();
    let hostile =
        bookworm().member("templates", "/etc/absolute\n../../../secret\n/etc/hostname\n/dev\n").rootfs(|rootfs| {
            rootfs.symlink("etc/absolute", &secret);
        });
    let server = Server::publishing(&[hostile]);
    let line = format!("create web1 debian/12 --server {} --fingerprint {}", server.url(), server.fingerprint());
    host.run(&line).succeeds();
    assert_eq!(fs::read_to_string(host.at("secret")).unwrap(), "LXC_NAME");
}

#[test]
fn a_killed_create_leaves_no_container_and_the_next_one_succeeds() {
    if !is_root() {
        return;
    }
    let server = Server::publishing(&[bookworm().file("usr/large", vec![7; 4 << 20])]);
    let host = Host::trusting(&server);
    for milliseconds in [20, 60, 100, 140, 200] {
        let mut child = host.rootcellar("-q create web1 debian/12").spawn().unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        child.kill().unwrap();
        child.wait().unwrap();
        if !host.at("containers/web1").exists() {
            host.run("create web1 debian/12").succeeds();
        }
        let config = fs::read_to_string(host.at("containers/web1/config")).unwrap();
        assert!(config.contains("lxc.uts.name = web1"), "{config}");
        assert_eq!(
            host.tree("containers").iter().filter(|path| path.parent() == Some(&host.at("containers"))).count(),
            1
        );
        fs::remove_dir_all(host.at("containers/web1")).unwrap();
    }
}

#[test]
fn offline_a_cached_image_is_enough() {
    if !is_root() {
        return;
    }
    let server = Server::publishing(&[bookworm()]);
    let host = Host::trusting(&server);
    host.run("create a debian/12 --offline").refuses("is in the cache");
    host.run("fetch debian/12").succeeds();
    let asked = server.requests("");
    host.run("create a debian/12 --offline").succeeds();
    host.run("create b debian").succeeds();
    assert_eq!(server.requests(""), asked, "a fresh cached image needs no server");
}

#[test]
fn the_log_that_is_asked_for_tells_what_was_done_in_lxcs_levels() {
    let server = Server::publishing(&[bookworm()]);
    let host = Host::trusting(&server);
    let log = host.at("log");
    for (level, words) in
        [("DEBUG", "fetched the document `streams/v1/index.sjson`"), ("info", "Using image from local cache")]
    {
        host.run(&format!("fetch debian/12 -o {} -l {level}", log.display())).succeeds();
        let written = fs::read_to_string(&log).unwrap();
        assert!(written.contains(words), "{level}: {written}");
    }
    let before = fs::metadata(&log).unwrap().len();
    host.run(&format!("fetch debian/12 --logfile {} --logpriority ERROR", log.display())).succeeds();
    assert_eq!(fs::metadata(&log).unwrap().len(), before);
}
