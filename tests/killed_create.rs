//! A killed `lxc-create` leaves no template at work, and a template that is told to end leaves no container.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::support::user::TestUser;
use crate::support::{Program, TestHost, TestServer, need, program, slow};
use tempfile::TempDir;

/// An image that takes its time on a slow way.
fn large_build() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let noise = (0_u32..2_000_000).flat_map(|number| number.wrapping_mul(2_654_435_761).to_be_bytes());
    let image = testkit::FakeImage::new("debian/bookworm/amd64/default").serial("20261123_0522");
    let build = image.file("srv/noise", noise.collect::<Vec<u8>>()).write(directory.path());
    (directory, build)
}

/// An `lxc-create` whose template downloads.
struct Create {
    process: Child,
    /// Its own, however it was started.
    pid: i32,
    container: PathBuf,
    cache: PathBuf,
}

impl Create {
    /// Starts a script that ends with `exec lxc-create`, and waits until there is a download.
    fn begin(mut command: Command, pid_file: &Path, container: PathBuf, cache: PathBuf) -> Self {
        let process = command.spawn().unwrap();
        let mut create = Self { process, pid: 0, container, cache };
        wait_until("a part of the rootfs arrived", || {
            create.partial().iter().any(|path| fs::metadata(path).is_ok_and(|about| about.len() >= 256 << 10))
        });
        create.pid = fs::read_to_string(pid_file).unwrap().trim().parse().unwrap();
        assert!(!create.templates().is_empty());
        create
    }

    fn partial(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.cache.join("v1/partial")).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    }

    /// The processes that liblxc runs the template in, with their names.
    fn templates(&self) -> Vec<(i32, String)> {
        let argument = format!("--path={}", self.container.display());
        let of = |pid: i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
            let name = String::from_utf8_lossy(words.first()?).into_owned();
            words.contains(&argument.as_bytes()).then_some((pid, name))
        };
        let pids =
            fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter_map(of).collect()
    }

    /// The one that does the work, which has begun last.
    fn template(&self) -> i32 {
        self.templates().into_iter().map(|(pid, _)| pid).max_by_key(|pid| began(*pid)).unwrap()
    }

    /// `kill -9` of `lxc-create` alone.
    fn kill(&mut self) {
        signal(self.pid, rustix::process::Signal::KILL);
        self.process.wait().unwrap();
    }

    /// Soon nothing is at work, and nothing is left but what a later create goes on with.
    fn leaves_nothing(&self) {
        wait_until("the template ended", || self.templates().is_empty());
        let temporary = |path: &PathBuf| path.to_string_lossy().contains(".new-") || path.ends_with(".tar");
        let left = files_below(&self.cache).into_iter().chain(files_below(&self.container));
        assert_eq!(left.filter(temporary).collect::<Vec<_>>(), [] as [PathBuf; 0]);
        assert_eq!(self.partial().len(), 1, "the download can be resumed: {:?}", self.partial());
        let unpacked = fs::read_dir(self.container.join("rootfs")).into_iter().flatten().count();
        assert_eq!(unpacked, 0);
    }
}

/// When a process began, in ticks since boot and then by its number.
fn began(pid: i32) -> (u64, i32) {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let ticks = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap();
    (ticks.parse().unwrap(), pid)
}

fn signal(pid: i32, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).unwrap();
}

#[track_caller]
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < Duration::from_secs(20), "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found
}

/// Root's `lxc-create` with this configuration, on a slow way to the server.
fn by_root(host: &TestHost, server: &TestServer, map: &str) -> Create {
    by_root_after(host, server, map, "")
}

/// The same after a command of the shell that prepares the mounts.
fn by_root_after(host: &TestHost, server: &TestServer, map: &str, prepare: &str) -> Create {
    let ca = server.ca();
    let address = slow::way_to(server);
    let remote = format!("remote add default https://{address} --fingerprint {} --ca", server.fingerprint());
    host.rootcellar().args(remote.split(' ')).arg(&ca).run().succeeds();
    for directory in [host.path(""), host.containers(), ca.parent().unwrap().to_owned()] {
        fs::create_dir_all(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::write(host.path("default.conf"), format!("{map}lxc.net.0.type = empty\n")).unwrap();
    let create = lxc_create(host, prepare).into_command();
    Create::begin(create, &host.path("pid"), host.containers().join("c1"), host.path("cache"))
}

/// Root's `lxc-create`, with our program mounted over the stock template.
fn lxc_create(host: &TestHost, prepare: &str) -> Program {
    let script = "mount --bind \"$0\" /usr/share/lxc/templates/lxc-download && echo $$ >\"$1\" && shift && exec \"$@\"";
    let script = &format!("{prepare}{script}");
    let create =
        Program::new("unshare").args(["-m", "sh", "-c", script]).arg(program::ours("rootcellar")).arg(host.path("pid"));
    let create = create.args(["lxc-create", "-t", "download", "-n", "c1", "-P"]).arg(host.containers());
    let create = create.arg("-f").arg(host.path("default.conf")).envs(host.environment());
    create.args(["--", "-d", "debian", "-r", "bookworm", "-a", "amd64"])
}

const MAP: &str = "lxc.idmap = u 0 3100000 65536\nlxc.idmap = g 0 3100000 65536\n";

#[test]
fn a_killed_lxc_create_of_root_leaves_no_template_at_work_whatever_it_maps() {
    need!(root, "lxc-create", "lxc-usernsexec", "unshare");
    let (_directory, build) = large_build();
    let server = TestServer::publishing(&[&build]);
    for map in ["", MAP] {
        let host = TestHost::new();
        let mut create = by_root(&host, &server, map);
        create.kill();
        create.leaves_nothing();
        // What liblxc left of the container is its own; then the download goes on.
        Program::new("lxc-destroy").args(["-n", "c1", "-P"]).arg(host.containers()).run().succeeds();
        host.run("remote remove default").succeeds();
        host.trust(&server, &server.fingerprint()).succeeds();
        lxc_create(&host, "").run().succeeds();
        assert!(host.containers().join("c1/rootfs/srv/noise").exists());
    }
}

#[test]
fn a_template_that_a_signal_ends_is_a_failed_lxc_create() {
    use rustix::process::Signal;
    need!(root, "lxc-create", "lxc-usernsexec", "unshare");
    let (_directory, build) = large_build();
    let server = TestServer::publishing(&[&build]);
    for map in ["", MAP] {
        for how in [Signal::TERM, Signal::INT, Signal::HUP, Signal::KILL] {
            let host = TestHost::new();
            let mut create = by_root(&host, &server, map);
            signal(create.template(), how);
            assert_eq!(create.process.wait().unwrap().code(), Some(1), "{how:?}");
            create.leaves_nothing();
            assert_eq!(host.container_names(), [] as [&str; 0]);
        }
    }
}

#[test]
fn a_killed_template_is_a_failed_lxc_create_although_it_sees_nobody_elses_processes() {
    need!(root, "lxc-create", "lxc-usernsexec", "unshare");
    let (_directory, build) = large_build();
    let server = TestServer::publishing(&[&build]);
    let host = TestHost::new();
    let mut create = by_root_after(&host, &server, MAP, "mount -t proc -o hidepid=2 proc /proc && ");
    signal(create.template(), rustix::process::Signal::KILL);
    assert_eq!(create.process.wait().unwrap().code(), Some(1));
    create.leaves_nothing();
    assert_eq!(host.container_names(), [] as [&str; 0]);
}

#[test]
fn a_template_ends_when_what_stands_between_is_killed() {
    need!(root, "lxc-create", "lxc-usernsexec", "unshare");
    let (_directory, build) = large_build();
    let server = TestServer::publishing(&[&build]);
    let host = TestHost::new();
    let mut create = by_root(&host, &server, MAP);
    let between = create.templates().into_iter().find(|(_, name)| name.ends_with("lxc-usernsexec")).unwrap().0;
    signal(between, rustix::process::Signal::KILL);
    assert_eq!(create.process.wait().unwrap().code(), Some(1));
    create.leaves_nothing();
}

#[test]
fn a_killed_lxc_create_of_a_plain_user_leaves_no_template_at_work() {
    need!(root, "lxc-create", "newuidmap", "runuser");
    let (_directory, build) = large_build();
    let server = TestServer::publishing(&[&build]);
    let user = TestUser::new("killed");
    let (start, count) = user.subordinate_ids();
    let map = format!("lxc.idmap = u 0 {start} {count}\nlxc.idmap = g 0 {start} {count}\n");
    user.write(".config/lxc/default.conf", &format!("{map}lxc.net.0.type = empty\n"));
    user.write("ca.pem", &fs::read_to_string(server.ca()).unwrap());
    let template = user.home().join("lxc-download");
    fs::copy(program::ours("rootcellar"), &template).unwrap();
    let address = slow::way_to(&server);
    let remote = format!(
        "[remotes.default]\nurl = \"https://{address}\"\nfingerprint = \"{}\"\nca = \"{}\"\n",
        server.fingerprint(),
        user.home().join("ca.pem").display()
    );
    user.write(".config/rootcellar/client.toml", &remote);
    let image = "-d debian -r bookworm -a amd64";
    let line = format!("echo $$ >pid; exec lxc-create -t {} -n u1 -- {image}", template.display());
    let create = Program::new("runuser").args(["-l", user.name(), "-c", &line]).into_command();
    let container = user.home().join(".local/share/lxc/u1");
    let cache = user.home().join(".cache/lxc/rootcellar");
    let mut create = Create::begin(create, &user.home().join("pid"), container, cache);
    create.kill();
    create.leaves_nothing();
}
