//! Programs that use LXC's own library, in C and in Python, get their containers from our template without knowing it.
//!
//! They are in `lxc_api/`, and are what a user of the API would write: they name the template, the image and nothing
//! else. Which server, which key and which network is the host's configuration.

use std::path::{Path, PathBuf};

use crate::support::image::busybox_build;
use crate::support::network::TestNetwork;
use crate::support::program::source;
use crate::support::user::remove_monitor_groups;
use crate::support::{Outcome, Program, TestHost, TestServer, need};

#[test]
fn a_c_program_creates_starts_queries_stops_and_destroys_a_container() {
    need!(root, "lxc-create", "busybox", "setpriv", "gcc", "lxc-dev");
    let world = World::new(["c"]);
    let program = world.host.path("life");
    Program::new("gcc")
        .args(["-Wall", "-Werror", "-o"])
        .arg(&program)
        .arg(code("life.c"))
        .arg("-llxc")
        .run()
        .succeeds();
    let said = world.run(&program, &[&world.names[0]]).succeeds();
    assert!(said.ends_with("destroy: ok\nundefined after: ok\n"), "{said}");
    assert_eq!(world.host.container_names(), [] as [&str; 0]);
}

#[test]
fn a_python_program_creates_from_a_dict_and_runs_its_functions_in_the_container() {
    need!(root, "lxc-create", "busybox", "setpriv", "python3-lxc");
    let world = World::new(["py"]);
    let said = world.python("life.py", &[&world.names[0]]).succeeds();
    assert!(said.ends_with("\ndone\n"), "{said}");
    assert_eq!(world.host.container_names(), [] as [&str; 0]);
}

#[test]
fn a_python_program_goes_through_all_containers_and_leaves_each_as_it_was() {
    need!(root, "lxc-create", "busybox", "setpriv", "python3-lxc");
    let world = World::new(["one", "two"]);
    let [one, two] = &world.names;
    for name in [one, two] {
        let image = ["-t", "download", "-n", name, "--", "-d", "busybox", "-r", "1.35", "-a", "amd64"];
        world.run("lxc-create".as_ref(), &image).succeeds();
    }
    world.run("lxc-start".as_ref(), &["-n", two]).succeeds();
    let said = world.python("every.py", &["/updated"]).succeeds();
    assert!(said.contains(&format!("{one} was stopped 10.0.3.")), "{said}");
    assert!(said.contains(&format!("{two} was running 10.0.3.")), "{said}");
    for (name, state) in [(one, "STOPPED"), (two, "RUNNING")] {
        assert_eq!(world.run("lxc-info".as_ref(), &["-s", "-H", "-n", name]).succeeds().trim(), state);
        assert!(world.host.containers().join(name).join("rootfs/updated").exists());
    }
}

#[test]
fn a_python_program_clones_a_container_and_its_clone_with_overlayfs() {
    need!(root, "lxc-create", "busybox", "setpriv", "python3-lxc");
    let world = World::new(["base", "web", "site"]);
    let names: Vec<&str> = world.names.iter().map(String::as_str).collect();
    let said = world.python("clones.py", &names).succeeds();
    assert!(said.ends_with("done\n"), "{said}");
    assert_eq!(world.host.container_names(), [] as [&str; 0]);
}

/// A host with LXC, our template and a network, and a server beside it. The fields end in this order.
struct World<const N: usize> {
    names: [String; N],
    _server: TestServer,
    network: TestNetwork,
    host: TestHost,
    _build: tempfile::TempDir,
}

impl<const N: usize> World<N> {
    /// Containers of these names, made unique for this process, are removed in the end, the last one first.
    fn new(names: [&str; N]) -> Self {
        let (directory, build) = busybox_build();
        let host = TestHost::new();
        let network = TestNetwork::of(&host);
        let server = network.server(&build);
        let names = names.map(|name| format!("api-{name}-{}", std::process::id()));
        let trust = ["remote", "add", "default", &server.url, "--fingerprint", &server.fingerprint(), "--ca"];
        let ours = network.program(crate::support::program::ours("rootcellar"));
        ours.envs(host.environment()).args(trust).arg(server.ca()).run().succeeds();
        Self { names, _server: server, network, host, _build: directory }
    }

    fn run(&self, program: &Path, args: &[&str]) -> Outcome {
        self.network.program(program).envs(self.host.environment()).args(args).run()
    }

    fn python(&self, script: &str, args: &[&str]) -> Outcome {
        let script = code(script).display().to_string();
        self.run("/usr/bin/python3".as_ref(), &[&[script.as_str()], args].concat())
    }
}

impl<const N: usize> Drop for World<N> {
    fn drop(&mut self) {
        for name in self.names.iter().rev() {
            let _ = self.run("lxc-destroy".as_ref(), &["-f", "-n", name]);
            remove_monitor_groups(name);
        }
    }
}

fn code(name: &str) -> PathBuf {
    source().join("tests/lxc_api").join(name)
}
