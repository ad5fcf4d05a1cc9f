//! python3-lxc creates and runs containers from our server, as the scripts of 2014 do.

use std::fs;

use crate::stock_template::configuration;
use crate::support::user::remove_monitor_groups;
use crate::support::{Program, TestHost, TestServer, debian_build, need};

#[test]
fn a_container_created_from_python_boots_to_running_and_stops_cleanly() {
    need!(root, "lxc-create", "mmdebstrap", "python3-lxc");
    let server = TestServer::publishing(&[&debian_build()]);
    let host = TestHost::new();
    let (_, wgetrc) = configuration(&host, &server);
    fs::create_dir_all(host.containers()).unwrap();
    let name = format!("python-{}", std::process::id());
    let _groups = MonitorGroups(&name);
    let said = Program::new("/usr/bin/python3")
        .envs(host.environment())
        .env("WGETRC", wgetrc)
        .args(["-c", SCRIPT, server.host_and_port()])
        .arg(host.containers())
        .arg(&name)
        .run()
        .succeeds();
    assert!(said.contains("VERSION_CODENAME=bookworm") && said.contains("systemd is running"), "{said}");
    assert_eq!(host.container_names(), [] as [&str; 0]);
}

/// See [`remove_monitor_groups`].
struct MonitorGroups<'a>(&'a str);

impl Drop for MonitorGroups<'_> {
    fn drop(&mut self) {
        remove_monitor_groups(self.0);
    }
}

const SCRIPT: &str = r#"
import sys, time, lxc

server, path, name = sys.argv[1:]
container = lxc.Container(name, config_path=path)
assert container.create("download", 0, {"dist": "debian", "release": "bookworm", "arch": "amd64", "server": server})
try:
    container.clear_config_item("lxc.net")
    container.clear_config_item("lxc.apparmor.profile")
    container.append_config_item("lxc.net.0.type", "empty")
    assert container.save_config() and container.start() and container.wait("RUNNING", 30)
    for _ in range(180):
        if container.attach_wait(lxc.attach_run_command, ["systemctl", "is-system-running", "--quiet"]) == 0:
            print("systemd is running", flush=True)
            break
        time.sleep(0.5)
    assert container.attach_wait(lxc.attach_run_command, ["cat", "/etc/os-release"]) == 0
    assert container.shutdown(60), "no clean shutdown"
finally:
    if container.running:
        container.stop()
    assert container.destroy()
"#;
