//! The embedded runtime boots the image without LXC, and both runtimes share one container.

use std::time::{Duration, Instant};

use crate::support::container::LxcContainer;
use crate::support::{TestHost, TestServer, debian_build, need};

#[test]
fn a_created_container_boots_to_running_answers_exec_and_stops_cleanly() {
    need!(root, "mmdebstrap");
    let server = TestServer::publishing(&[&debian_build()]);
    let host = TestHost::trusting(&server);
    host.run("create web1 debian/bookworm").succeeds();
    let running = Running::start(&host);
    boots_to_running(&host);
    assert!(host.run("exec web1 -- cat /etc/os-release").succeeds().contains("VERSION_CODENAME=bookworm"));
    assert_eq!(host.run("exec web1 -- hostname").succeeds().trim(), "web1");
    assert!(host.run("ls").succeeds().contains("RUNNING"));
    let begin = Instant::now();
    host.run("stop web1").succeeds();
    assert!(begin.elapsed() < Duration::from_secs(45), "systemd did not end by itself");
    assert!(host.run("ls").succeeds().contains("STOPPED"));
    drop(running);
    host.run("destroy web1").succeeds();
    assert_eq!(host.container_names(), [] as [&str; 0]);
}

#[test]
fn lxc_runs_a_container_that_rootcellar_created() {
    need!(root, "mmdebstrap", "lxc-start");
    let server = TestServer::publishing(&[&debian_build()]);
    let host = TestHost::trusting(&server);
    std::fs::write(host.path("default.conf"), "lxc.net.0.type = empty\n").unwrap();
    host.rootcellar()
        .args(["create", "both1", "debian/bookworm", "--config"])
        .arg(host.path("default.conf"))
        .run()
        .succeeds();
    let container = LxcContainer::new(&host.containers(), "both1");
    container.boots_to_running();
    container.stops_cleanly();
}

/// Stops the container when a test ends early.
struct Running<'a>(&'a TestHost);

impl<'a> Running<'a> {
    fn start(host: &'a TestHost) -> Self {
        let running = Self(host);
        host.run("start web1").succeeds();
        running
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let _ = self.0.run("stop --kill web1");
    }
}

fn boots_to_running(host: &TestHost) {
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        let state = host.run("exec web1 -- systemctl is-system-running");
        if state.stdout().trim() == "running" {
            return;
        }
        if Instant::now() > deadline {
            let failed = host.run("exec web1 -- systemctl --failed --no-pager");
            panic!("not running after 90 s: {state:?}\n{failed:?}");
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}
