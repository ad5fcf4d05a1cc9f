//! Our template in place of the stock one: the same command, but everything is verified first.

use std::fs;

use crate::stock_template::lxc_create;
use crate::support::container::LxcContainer;
use crate::support::{Program, TestHost, TestServer, debian_build, fake_build, need, program};

#[test]
fn a_container_made_by_our_template_boots_to_running_and_stops_cleanly() {
    need!(root, "lxc-create", "mmdebstrap", "unshare");
    let server = TestServer::publishing(&[&debian_build()]);
    let host = TestHost::trusting(&server);
    let container = LxcContainer::new(&host.containers(), "ours1");
    create(&host, &server, "ours1").run().succeeds();
    container.boots_to_running();
    assert!(container.attach(&["cat", "/etc/os-release"]).succeeds().contains("VERSION_CODENAME=bookworm"));
    container.stops_cleanly();
}

#[test]
fn without_a_pinned_key_nothing_is_created_and_the_way_to_pin_one_is_shown() {
    need!(root, "lxc-create", "unshare");
    let (_directory, build) = fake_build("debian/bookworm/amd64/default", "20261123_0522");
    let server = TestServer::publishing(&[&build]);
    let host = TestHost::new();
    let outcome = create(&host, &server, "unpinned").run();
    outcome.fails_with(1, "rootcellar remote add");
    assert_eq!(host.container_names(), [] as [&str; 0]);
}

#[test]
fn a_list_and_a_help_that_lxc_create_asks_for_leave_no_container() {
    need!(root, "lxc-create", "unshare");
    let (_directory, build) = fake_build("debian/bookworm/amd64/default", "20261123_0522");
    let server = TestServer::publishing(&[&build]);
    let host = TestHost::trusting(&server);
    let rows = "\n---\nDIST             RELEASE     ARCH   VARIANT  BUILD         \n---\n\
                debian           bookworm    amd64  default  20261123_0522 \n---\n";
    for (option, words) in [("--list", rows), ("--help", "--dist"), ("-l", rows)] {
        let listed = create(&host, &server, "listed").arg(option).run();
        listed.fails_with(1, "Failed to create container listed");
        assert!(listed.stdout().contains(words), "{option}: {listed:?}");
        assert_eq!(host.container_names(), [] as [&str; 0], "{option}");
    }
}

#[test]
fn both_templates_leave_the_same_configuration() {
    need!(root, "lxc-create", "unshare");
    let (_directory, build) = fake_build("debian/bookworm/amd64/default", "20261123_0522");
    let server = TestServer::publishing(&[&build]);
    let host = TestHost::trusting(&server);
    create(&host, &server, "same").run().succeeds();
    let ours = fs::read_to_string(host.containers().join("same/config")).unwrap();
    Program::new("lxc-destroy").arg("-P").arg(host.containers()).args(["-n", "same"]).run().succeeds();
    stock(&host, &server, "same").run().succeeds();
    let theirs = fs::read_to_string(host.containers().join("same/config")).unwrap();
    assert_eq!(without_header(&ours), without_header(&theirs));
}

/// liblxc writes the path and the digest of the template into the first lines.
fn without_header(config: &str) -> String {
    config
        .lines()
        .skip_while(|line| line.starts_with('#') && *line != "# Distribution configuration")
        .fold(String::new(), |text, line| text + line + "\n")
}

/// `lxc-create -t download` with our program mounted over the stock template, in a mount namespace of its own.
fn create(host: &TestHost, server: &TestServer, name: &str) -> Program {
    let script = "mount --bind \"$0\" /usr/share/lxc/templates/lxc-download && exec \"$@\"";
    let ours = Program::new("unshare").args(["-m", "sh", "-c", script]).arg(program::ours("rootcellar"));
    lxc_create(ours.arg("lxc-create"), host, server, name, "bookworm")
}

fn stock(host: &TestHost, server: &TestServer, name: &str) -> Program {
    lxc_create(Program::new("lxc-create"), host, server, name, "bookworm")
}
