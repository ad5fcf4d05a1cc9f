//! Actions have no network unless they ask for it, and a build needs none once everything is in the cache.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command as Program;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::common::{World, builder, output_of};

/// A server of this machine that counts who comes.
struct Server {
    port: u16,
    visits: Arc<AtomicU32>,
}

impl Server {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let visits = Arc::<AtomicU32>::default();
        let counter = Arc::clone(&visits);
        // The thread ends with the process; a test that is over asks it for nothing.
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                counter.fetch_add(1, Ordering::Relaxed);
                let _ = stream.read(&mut [0; 1024]);
                let _ = stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nhi\n");
            }
        });
        Self { port, visits }
    }

    fn fetch(&self, into: &str) -> String {
        format!("/bin/busybox wget -q -O {into} http://127.0.0.1:{}/", self.port)
    }
}

#[test]
fn an_action_reaches_nobody_unless_it_asks_for_the_network() {
    let Some(world) = World::new() else { return };
    let server = Server::new();
    let action = |script: &str, asks: &str| {
        format!("actions:\n- trigger: post-packages\n{asks}  action: |-\n    #!/bin/sh\n    set -e\n    {script}\n")
    };
    let alone = "ls /sys/class/net > /etc/interfaces; cat /sys/class/net/lo/flags > /etc/flags";
    let spec = world.spec(&action(alone, ""));
    world.build(&spec).assert().success();
    let tree = world.unpacked();
    assert_eq!(fs::read_to_string(tree.join("etc/interfaces")).unwrap(), "lo\n");
    assert_eq!(fs::read_to_string(tree.join("etc/flags")).unwrap(), "0x9\n", "the loopback interface is not up");
    fs::remove_dir_all(world.path("out")).unwrap();

    let spec = world.spec(&action(&server.fetch("/etc/fetched"), ""));
    let said = output_of(&world.build(&spec).assert().code(1)).1;
    assert!(said.contains("actions[0] (line 6) failed: exit status 1"), "{said}");
    assert!(said.contains("it had no network, which an action gets by `network: true`"), "{said}");
    assert_eq!(server.visits.load(Ordering::Relaxed), 0);
    // Who looks into the tree has no more than the script had.
    let kept = world.kept().pop().unwrap();
    let shell = |words: &[&str]| builder().arg("shell").arg(&kept).args(["sh", "-c"]).args(words).assert();
    assert_eq!(output_of(&shell(&["ls /sys/class/net"]).success()).0, "lo\n");
    fs::remove_dir_all(world.path("out")).unwrap();

    let spec = world.spec(&action(&server.fetch("/etc/fetched"), "  network: true\n"));
    world.build(&spec).assert().success();
    assert_eq!(server.visits.load(Ordering::Relaxed), 1);
    fs::remove_dir_all(world.path("out")).unwrap();

    let spec = world.spec(&action(&server.fetch("/etc/fetched"), ""));
    world.build(&spec).arg("--network").assert().success();
    assert_eq!(server.visits.load(Ordering::Relaxed), 2);
    fs::remove_dir_all(world.path("out")).unwrap();

    let spec = world.spec(&action(&server.fetch("/etc/fetched"), "  network: true\n"));
    world.build(&spec).arg("--offline").assert().code(1);
    assert_eq!(server.visits.load(Ordering::Relaxed), 2, "an offline build has reached somebody");
}

#[test]
fn a_debian_is_built_again_without_a_network() {
    if std::env::var_os("ROOTCELLAR_TEST_NETWORK").is_none() {
        testkit::skip("downloads Debian packages only with ROOTCELLAR_TEST_NETWORK=1");
        return;
    }
    let Some(world) = World::new() else { return };
    let text = |package: &str, action: &str| {
        format!(
            "image: {{distribution: debian, release: bookworm}}\n\
             source: {{downloader: debootstrap, variant: minbase}}\n\
             targets: {{lxc: {{config: [{{type: all, content: lxc.include = x}}]}}}}\n\
             packages:\n  manager: apt\n  update: true\n  cleanup: true\n\
             \x20 sets: [{{action: install, packages: [{package}]}}]\n\
             actions:\n\
             - {{trigger: post-unpack, action: \"#!/bin/sh\\ntrue\"}}\n\
             - {{trigger: post-packages, action: \"#!/bin/sh\\necho {action} > /etc/action\"}}\n\
             mappings: {{architecture_map: debian}}\n"
        )
    };
    let build = |offline: bool, spec: &str, output: &str| {
        fs::write(world.path("debian.yaml"), spec).unwrap();
        let mut command = Program::new("unshare");
        if offline {
            command.arg("--net");
        } else {
            command.arg("--ipc");
        }
        command.arg(env!("CARGO_BIN_EXE_rootcellar-builder")).arg("build").arg(world.path("debian.yaml"));
        command.arg("--output").arg(world.path(output)).arg("--cache").arg(world.path("cache"));
        command.args(["--formats", "lxc", "--xz-level", "0", "--serial", "20261123_0522", "--force"]);
        command.args(offline.then_some("--offline")).env("SOURCE_DATE_EPOCH", "1700000000");
        assert_cmd::Command::from_std(command).assert()
    };
    let refused = output_of(&build(true, &text("less", "one"), "never").code(1)).1;
    assert!(refused.contains("the package lists would have to be fetched, and `--offline` forbids it"), "{refused}");
    let online = output_of(&build(false, &text("less", "one"), "online").success()).0;
    let archive = |built: &str| fs::read(format!("{}/rootfs.tar.xz", built.trim_end())).unwrap();
    let same = output_of(&build(true, &text("less", "one"), "same").success()).0;
    assert!(archive(&same) == archive(&online), "the same build without a network differs");
    let other = output_of(&build(true, &text("less", "two"), "other").success()).0;
    assert!(archive(&other) != archive(&online));
    // What was never fetched cannot be installed.
    let missing = output_of(&build(true, &text("nano", "one"), "missing").code(1)).1;
    assert!(missing.contains("nano"), "{missing}");
}
