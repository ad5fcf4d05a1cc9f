//! Programs that use the library make containers of images and live with them, in what a user's own program would be.

use std::path::Path;

use crate::world::{Host, PROGRAM, Said, Server, bookworm, is_root};

/// An init that has an address and ends when it is asked to.
const INIT: &str = "#!/bin/sh\ntrap 'exit 0' PWR\nbusybox ip addr add 10.9.8.7/24 dev lo\n\
                    while :; do busybox sleep 0.1; done\n";

#[test]
fn a_base_a_clone_with_a_web_server_and_a_website_over_both() {
    if !is_root() {
        return;
    }
    let Ok(busybox) = std::fs::read("/bin/busybox") else {
        testkit::skip("there is no busybox: apt install busybox-static");
        return;
    };
    let image = bookworm().executable("bin/busybox", busybox).executable("sbin/init", INIT).rootfs(|rootfs| {
        for applet in ["cat", "mkdir", "sh", "touch"] {
            rootfs.symlink(&format!("bin/{applet}"), "busybox");
        }
    });
    let server = Server::publishing(&[image]);
    let host = Host::trusting(&server);
    let example = Path::new(PROGRAM).with_file_name("examples/website");
    let website = || {
        let mut command = host.command(&example);
        Said::of(&command.args(["debian/12", "base", "web", "mysite"]).output().unwrap())
    };
    let said = website();
    let fetched = host.run("exec mysite -- busybox wget -q -O - http://10.9.8.7/");
    let states = host.run("ls").stdout;
    let refused = host.run("destroy base");
    for name in ["mysite", "web", "base"] {
        host.run(&format!("stop -k {name}"));
    }
    assert_eq!(said.succeeds().stdout, "Website running at: http://10.9.8.7\n");
    assert_eq!(fetched.succeeds().stdout, "It works\n");
    let states: Vec<&str> = states.split_whitespace().collect();
    assert_eq!(states, ["NAME", "STATE", "base", "STOPPED", "mysite", "RUNNING", "web", "STOPPED"]);
    refused.refuses("has clones");
    // What is there is not made again.
    host.run("destroy mysite").succeeds();
    let again = website();
    host.run("stop -k mysite");
    assert_eq!(again.succeeds().stdout, "Website running at: http://10.9.8.7\n");
    for name in ["mysite", "web", "base"] {
        host.run(&format!("destroy {name}")).succeeds();
    }
}
