//! Who has to wait for another process says so, once, and for what.

use std::fs::{self, File};
use std::process::{Child, Command};

use rustix::fs::{FlockOperation, flock};

use crate::template::{BEGUN, IMAGE, arguments, begun};
use crate::world::{Fault, Host, Server, bookworm, is_root, wait_until};

/// A command whose stderr is in a file.
struct Waiting {
    child: Child,
    said: std::path::PathBuf,
}

impl Waiting {
    fn begin(host: &Host, name: &str, mut command: Command) -> Self {
        let said = host.at(name);
        let child =
            command.stdout(File::create(host.at("stdout")).unwrap()).stderr(File::create(&said).unwrap()).spawn();
        Self { child: child.unwrap(), said }
    }

    fn says(&self) -> String {
        fs::read_to_string(&self.said).unwrap()
    }

    /// Says this once, and goes on when `end` has been.
    #[track_caller]
    fn waits(mut self, line: &str, end: impl FnOnce()) {
        wait_until(line, || self.says().contains(line));
        end();
        assert!(self.child.wait().unwrap().success(), "{}", self.says());
        assert_eq!(self.says().matches("Waiting").count(), 1, "{}", self.says());
    }
}

#[test]
fn a_fetch_of_an_image_that_is_being_fetched_says_that_it_waits() {
    let server = Server::publishing(&[bookworm()]);
    let host = Host::trusting(&server);
    server.fails(Some(Fault::Stalls { end: "rootfs.tar.xz", after: 10 }));
    let mut first = host.rootcellar("-q fetch debian/12").spawn().unwrap();
    wait_until("it downloads", || server.requests("rootfs.tar.xz") == 1);
    let second = Waiting::begin(&host, "second", host.rootcellar("fetch debian/12"));
    second.waits("Waiting for another rootcellar that fetches this image\n", || server.fails(None));
    assert!(first.wait().unwrap().success());
}

#[test]
fn a_prune_says_that_it_waits_for_who_uses_the_cache() {
    let server = Server::publishing(&[bookworm()]);
    let host = Host::trusting(&server);
    server.fails(Some(Fault::Stalls { end: "rootfs.tar.xz", after: 10 }));
    let mut first = host.rootcellar("-q fetch debian/12").spawn().unwrap();
    wait_until("it downloads", || server.requests("rootfs.tar.xz") == 1);
    let prune = Waiting::begin(&host, "prune", host.rootcellar("cache prune"));
    prune.waits("Waiting for another rootcellar that uses the cache\n", || server.fails(None));
    assert!(first.wait().unwrap().success());
}

#[test]
fn who_waits_for_the_memory_of_a_server_says_so() {
    let server = Server::publishing(&[bookworm()]);
    let host = Host::trusting(&server);
    host.run("list").succeeds();
    let locks = host.tree("state").into_iter().filter(|path| path.ends_with("lock")).collect::<Vec<_>>();
    let lock = File::open(&locks[0]).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let waiting = Waiting::begin(&host, "list", host.rootcellar("list"));
    waiting.waits("Waiting for another rootcellar that checks the index of this server\n", || drop(lock));
}

#[test]
fn everybody_says_that_they_wait_for_a_prune_and_the_template_says_it_on_stderr() {
    if !is_root() {
        return;
    }
    let server = Server::publishing(&[bookworm()]);
    let host = Host::trusting(&server);
    host.run("fetch debian/12").succeeds();
    begun(&host, "p1", BEGUN);
    let mut template = host.template();
    template.args(arguments(&host, "p1", IMAGE));
    for (name, command) in [("list", host.rootcellar("cache list")), ("template", template)] {
        let lock = File::open(host.at("cache/v1/lock")).unwrap();
        flock(&lock, FlockOperation::LockExclusive).unwrap();
        let waiting = Waiting::begin(&host, name, command);
        waiting.waits("Waiting for another rootcellar that prunes the cache\n", || drop(lock));
        assert!(!fs::read_to_string(host.at("stdout")).unwrap().contains("Waiting"));
    }
}
