//! Our template asks a classic server for what the stock template asks it for, and shows and makes the same of it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::classic_server::ClassicServer;
use crate::support::{Outcome, Program, TestHost, need, program};

const STOCK: &str = "/usr/share/lxc/templates/lxc-download";

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Template {
    Stock,
    Ours,
}

use Template::{Ours, Stock};

/// Runs a template by hand, as root of the host or of a user namespace, which is what makes it ask for images for users.
fn run(host: &TestHost, server: &ClassicServer, template: Template, mode: &str, line: &str) -> Outcome {
    let ours = host.path("lxc-download");
    if !ours.exists() {
        std::os::unix::fs::symlink(program::ours("rootcellar"), &ours).unwrap();
        fs::write(host.path("wgetrc"), format!("ca_certificate = {}\n", server.of.ca().display())).unwrap();
    }
    let (executable, trust) = match template {
        Stock => (PathBuf::from(STOCK), ""),
        Ours => (ours, "--trust-tls "),
    };
    let program = if mode == "user" { Program::new("unshare").args(["-U", "-r"]) } else { Program::new("env") };
    let program = program.arg(executable).envs(host.environment());
    let program = program.env("WGETRC", host.path("wgetrc")).env("ROOTCELLAR_CA", server.of.ca());
    program.args(format!("{trust}{line}").split_whitespace()).run()
}

/// A container directory as liblxc begins it, and the arguments that name it.
fn begun(host: &TestHost, name: &str) -> String {
    let directory = host.path(name);
    fs::create_dir_all(directory.join("rootfs")).unwrap();
    fs::write(directory.join("config"), "lxc.net.0.type = empty\n").unwrap();
    let path = directory.display();
    format!("--path={path} --name={name} --rootfs={path}/rootfs -d debian -r bookworm -a amd64")
}

/// What is shown, without the widths of columns: they are tabs up to LXC 5.
fn shown(said: &Outcome) -> Vec<Vec<String>> {
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
    said.stdout().lines().map(words).collect()
}

#[test]
fn both_templates_show_the_same_list_to_root_and_to_users() {
    need!(root, "nginx", "unshare");
    if !Path::new(STOCK).exists() {
        testkit::skip("needs LXC's own template");
        return;
    }
    let server = ClassicServer::start();
    let host = TestHost::new();
    for mode in ["system", "user"] {
        for wanted in ["", "-d debian", "-d debian -r bookworm", "-a amd64", "--variant cloud", "-d potato"] {
            let line = format!("--server {} --list {wanted}", server.address);
            let theirs = run(&host, &server, Stock, mode, &line);
            let ours = run(&host, &server, Ours, mode, &line);
            ours.succeeds();
            assert_eq!(shown(&ours), shown(&theirs), "{mode} {wanted}: {ours:?} {theirs:?}");
        }
        let all = run(&host, &server, Ours, mode, &format!("--server {} --list --variant {mode}", server.address));
        assert!(all.succeeds().contains("alpine"), "{mode}: {all:?}");
        // Both ask for the newest level first, and then for the index without one. The stock template writes two slashes
        // and asks three times.
        let paths = server.requests();
        for (slashes, level, times) in [("/", ".7", 7), ("/", "", 7), ("//", ".7", 18), ("//", "", 6)] {
            let path = format!("{slashes}meta/1.0/index-{mode}{level}");
            assert_eq!(paths.iter().filter(|asked| **asked == path).count(), times, "{path}: {paths:?}");
        }
    }
}

#[test]
fn both_templates_follow_redirects_to_a_mirror() {
    need!(root, "nginx");
    let server = ClassicServer::start();
    let host = TestHost::new();
    let templates = if Path::new(STOCK).exists() { vec![Stock, Ours] } else { vec![Ours] };
    for template in templates {
        let name = format!("{template:?}").to_lowercase();
        let line = format!("--server {} {}", server.redirecting, begun(&host, &name));
        let said = run(&host, &server, template, "system", &line);
        assert!(said.succeeds().contains("Unpacking the rootfs"), "{said:?}");
        let hostname = fs::read_to_string(host.path(&name).join("rootfs/etc/hostname")).unwrap();
        assert_eq!(hostname, format!("{name}\n"));
        let paths = server.requests();
        for end in ["index-system", "rootfs.tar.xz", "meta.tar.xz"] {
            assert!(paths.iter().filter(|path| path.ends_with(end)).count() >= 2, "{template:?} {end}: {paths:?}");
        }
    }
}

#[test]
fn a_user_gets_the_image_of_the_index_for_users() {
    need!(root, "nginx", "unshare");
    let server = ClassicServer::start();
    let host = TestHost::new();
    let line = format!("--server {} {} --mapped-uid 0 --mapped-gid 0", server.address, begun(&host, "user1"));
    let said = run(&host, &server, Ours, "user", &line);
    said.succeeds();
    assert!(said.stderr().contains("nothing but its TLS certificate vouches"), "{said:?}");
    let config = fs::read_to_string(host.path("user1").join("config")).unwrap();
    assert!(config.contains("userns.conf"), "{config}");
    let paths = server.requests();
    assert!(paths.iter().any(|path| path.ends_with("index-user")), "{paths:?}");
    assert!(!paths.iter().any(|path| path.contains("index-system")), "{paths:?}");
}
