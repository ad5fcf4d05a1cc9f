//! SIGKILL at any system call: strace writes down the calls of a whole run, then kills others at calls spread over it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use testkit::{FakeImage, skip};

use crate::deltas;
use crate::template::{BEGUN, IMAGE, arguments, begun, fill};
use crate::world::{Host, Server, bookworm, is_root};

/// At how many calls a run is killed; `ROOTCELLAR_TEST_KILLS` says another number.
const KILLS: usize = 24;

fn image() -> FakeImage {
    bookworm().file("srv/large", vec![7; 1 << 20])
}

/// Runs a command whole in one world, and killed in others, and has a look at each of these.
fn killed<W>(world: impl Fn() -> (W, Command), look: impl Fn(&W, bool)) {
    if !is_root() {
        return;
    }
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        return skip("strace is not installed");
    }
    let log = tempfile::NamedTempFile::new().unwrap();
    let (_whole, command) = world();
    if !traced(&command, &["-o", log.path().to_str().unwrap()]).status().unwrap().success() {
        return skip("strace traces nothing here");
    }
    let calls = calls(log.path());
    assert!(calls.len() > 300, "{} system calls do nothing of this kind", calls.len());
    let kills = std::env::var("ROOTCELLAR_TEST_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS);
    let mut killed = 0;
    for kill in 1..=kills {
        let (name, number) = &calls[kill * (calls.len() - 1) / kills];
        let (trace, inject) = (format!("trace={name}"), format!("inject={name}:signal=KILL:when={number}"));
        let options = ["-o", "/dev/null", "-e", &trace, "-e", &inject];
        let (world, command) = world();
        let status = traced(&command, &options).status().unwrap();
        killed += usize::from(!status.success());
        look(&world, status.success());
    }
    // Not every run makes as many calls as the first.
    assert!(killed > kills * 3 / 4, "{killed} of {kills} runs were killed");
}

/// The command below strace.
fn traced(command: &Command, options: &[&str]) -> Command {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-e", "signal=none"]).args(options).arg(command.get_program()).args(command.get_args());
    strace.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    strace
}

/// The calls of the busiest thread, each with how often it had been made by then, itself included.
fn calls(log: &Path) -> Vec<(String, usize)> {
    let log = String::from_utf8_lossy(&fs::read(log).unwrap()).into_owned();
    let mut of_threads = BTreeMap::<&str, Vec<&str>>::new();
    for line in log.lines() {
        let (thread, call) = line.split_once(' ').unwrap();
        // A call during which another thread was heard of has a second line, which begins otherwise.
        let name = call.trim_start().split('(').next().filter(|name| name.bytes().all(|byte| byte != b' '));
        of_threads.entry(thread).or_default().extend(name);
    }
    let busiest = of_threads.into_values().max_by_key(Vec::len).unwrap();
    let mut numbers = BTreeMap::<&str, usize>::new();
    let numbered = busiest.into_iter().map(|name| {
        let number = numbers.entry(name).or_default();
        *number += 1;
        (name.to_owned(), *number)
    });
    numbered.collect()
}

#[test]
fn a_template_killed_at_any_call_leaves_a_configuration_and_is_healed_by_the_next_one() {
    let server = Server::publishing(&[image()]);
    let world = || {
        let host = Host::trusting(&server);
        begun(&host, "p1", BEGUN);
        let mut command = host.template();
        command.args(arguments(&host, "p1", IMAGE));
        (host, command)
    };
    killed(world, |host, has_ended_well| {
        let config = host.at("begun/p1/config");
        let text = fs::read_to_string(&config).unwrap();
        let is_done = text.contains("lxc.uts.name = p1\n");
        assert!(is_done || text == BEGUN.replace("DIRECTORY", host.at("begun/p1").to_str().unwrap()), "{text}");
        assert!(is_done || !has_ended_well);
        assert_eq!(fs::metadata(&config).unwrap().permissions().mode() & 0o777, 0o640);
        begun(host, "p2", BEGUN);
        fill(host, "p2", IMAGE).succeeds();
        assert_eq!(fs::metadata(host.at("begun/p2/rootfs/srv/large")).unwrap().len(), 1 << 20);
        host.run("cache verify").succeeds();
    });
}

#[test]
fn a_create_killed_at_any_call_is_healed_by_the_next_one() {
    let server = Server::publishing(&[image()]);
    let world = || {
        let host = Host::trusting(&server);
        let command = host.rootcellar("-q create web1 debian/12");
        (host, command)
    };
    killed(world, |host, has_ended_well| {
        assert!(host.at("containers/web1").exists() || !has_ended_well);
        if !host.at("containers/web1").exists() {
            host.run("create web1 debian/12").succeeds();
        }
        assert_eq!(fs::metadata(host.at("containers/web1/rootfs/srv/large")).unwrap().len(), 1 << 20);
        host.run("cache verify").succeeds();
        assert_eq!(fs::read_dir(host.at("containers")).unwrap().count(), 1, "{:?}", host.tree("containers"));
    });
}

#[test]
fn an_update_killed_at_any_call_is_healed_by_the_next_one() {
    let content = deltas::delta(&deltas::tar(&deltas::old()), &deltas::tar(&deltas::new()));
    let world = || {
        let (server, host) = deltas::world(content.clone(), "fetch debian/12");
        let command = host.rootcellar("-q fetch debian/12");
        ((server, host), command)
    };
    killed(world, |(server, host), _| {
        host.run("fetch debian/12").succeeds();
        host.run("cache verify").succeeds();
        assert_eq!(server.requests("rootfs.tar.xz"), 1, "the whole of it is not downloaded again");
        let serial = deltas::new().record().serial.to_string();
        assert!(host.run("fetch debian/12 --offline").succeeds().stdout.contains(&serial));
    });
}
