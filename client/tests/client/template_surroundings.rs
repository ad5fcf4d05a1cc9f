//! The template works wherever liblxc runs it: without a home, a temporary directory or open streams, in a user
//! namespace, through a proxy; and it ends with the process that wanted it.

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::template::{BEGUN, IMAGE, arguments, begun, fill};
use crate::world::{Host, PROGRAM, Said, Server, bookworm, is_root, wait_until};

#[test]
fn anybody_may_run_the_program_and_it_needs_no_library_of_its_own() {
    let about = fs::metadata(PROGRAM).unwrap();
    assert_eq!(about.permissions().mode() & 0o005, 0o005, "others may read and run it");
    assert!(fs::read(PROGRAM).unwrap().starts_with(b"\x7fELF"));
    let Ok(said) = Command::new("ldd").arg(PROGRAM).output() else {
        testkit::skip("there is no `ldd`");
        return;
    };
    let said = Said::of(&said).succeeds().stdout;
    let libraries: Vec<&str> = said.lines().filter_map(|line| line.split("=> ").nth(1)).collect();
    assert!(!said.contains("not found"), "{said}");
    for library in libraries {
        assert!(["/lib/", "/lib64/", "/usr/lib/"].iter().any(|standard| library.starts_with(standard)), "{library}");
    }
    let sections = Command::new("readelf").args(["-d", PROGRAM]).output();
    let sections = sections.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    assert!(!sections.contains("RUNPATH") && !sections.contains("RPATH"), "{sections}");
}

#[test]
fn without_a_home_or_a_temporary_directory_the_cache_is_where_lxc_is_told() {
    if !is_root() {
        return;
    }
    let server = Server::publishing(&[bookworm()]);
    let host = Host::trusting(&server);
    begun(&host, "p1", BEGUN);
    let mut command = host.template();
    command.env_remove("HOME").env_remove("ROOTCELLAR_CACHE_DIR").env("TMPDIR", "/proc/nowhere");
    // The key servers of the GPG era are asked nothing.
    command.env("LXC_CACHE_PATH", host.at("lxc-cache")).env("DOWNLOAD_KEYSERVER", "hkp://127.0.0.1:1");
    Said::of(&command.args(arguments(&host, "p1", IMAGE)).output().unwrap()).succeeds();
    assert!(host.at("lxc-cache/rootcellar/v1").is_dir());
    assert!(!host.at("cache").exists() && !host.at("home").exists());
}

#[test]
fn closed_or_empty_standard_streams_do_no_harm() {
    if !is_root() {
        return;
    }
    let server = Server::publishing(&[bookworm()]);
    let host = Host::trusting(&server);
    host.template();
    for (name, streams) in [("quiet", "</dev/null >/dev/null 2>&1"), ("closed", "<&- >&- 2>&-")] {
        begun(&host, name, BEGUN);
        let mut command = host.command("/bin/sh");
        command.args(["-c", &format!("exec \"$0\" \"$@\" {streams}")]).arg(host.at("lxc-download"));
        let said = Said::of(&command.args(arguments(&host, name, IMAGE)).output().unwrap());
        assert_eq!(said.code, 0, "{name}: {}", said.stderr);
        let config = fs::read_to_string(host.at(&format!("begun/{name}/config"))).unwrap();
        assert!(config.contains(&format!("lxc.uts.name = {name}")), "{config}");
        assert_eq!(
            fs::read_to_string(host.at(&format!("begun/{name}/rootfs/etc/hostname"))).unwrap(),
            format!("{name}\n")
        );
    }
}

#[test]
fn the_proxy_of_the_environment_is_asked_and_exceptions_are_not() {
    if !is_root() {
        return;
    }
    let server = Server::publishing(&[bookworm()]);
    // What a proxy is asked for is a whole URL.
    let files = server.files.lock().unwrap().clone();
    for (path, content) in files {
        server.put(&format!("http://images.invalid/{path}"), content);
    }
    let host = Host::new();
    host.configure(&format!(
        "[remotes.default]\nurl = \"http://images.invalid\"\nfingerprint = \"{}\"\n",
        server.fingerprint()
    ));
    begun(&host, "p1", BEGUN);
    let mut template = host.template();
    template.args(arguments(&host, "p1", IMAGE)).env("http_proxy", server.url());
    template.env("no_proxy", "images.invalid");
    let said = Said::of(&template.output().unwrap());
    assert_eq!((said.code, server.requests("")), (1, 0), "{}", said.stderr);
    template.env("no_proxy", "other.invalid");
    Said::of(&template.output().unwrap()).succeeds();
    assert!(server.requests("rootfs.tar.xz") == 1);
}

#[test]
fn the_template_ends_with_the_process_that_wanted_it() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = Host::new();
    let fingerprint = "0".repeat(40);
    let url = format!("http://{}", silent.local_addr().unwrap());
    host.configure(&format!("[remotes.default]\nurl = \"{url}\"\nfingerprint = \"{fingerprint}\"\n"));
    begun(&host, "p1", BEGUN);
    let before = host.tree("begun");
    host.template();
    let mut command = host.command("/bin/sh");
    command.args(["-c", "\"$0\" \"$@\" & echo $!; wait"]).arg(host.at("lxc-download"));
    let mut parent = command.args(arguments(&host, "p1", IMAGE)).stdout(Stdio::piped()).spawn().unwrap();
    // It asks, and is never answered: now it waits for the server.
    let (_connection, _) = silent.accept().unwrap();
    let mut pid = [0; 32];
    let length = parent.stdout.as_mut().unwrap().read(&mut pid).unwrap();
    let pid = String::from_utf8_lossy(&pid[..length]).lines().next().unwrap().to_owned();
    parent.kill().unwrap();
    parent.wait().unwrap();
    let is_running = || fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    let begin = Instant::now();
    while is_running() {
        assert!(begin.elapsed() < Duration::from_secs(15), "the template is still there");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(host.tree("begun"), before);
}

#[test]
fn told_to_end_while_it_decodes_the_template_fails_and_removes_what_is_not_finished() {
    if !is_root() {
        return;
    }
    let server = Server::publishing(&[bookworm().file("srv/zeros", vec![0; 96 << 20])]);
    let host = Host::trusting(&server);
    begun(&host, "p1", BEGUN);
    let config = fs::read(host.at("begun/p1/config")).unwrap();
    let mut template = host.template().args(arguments(&host, "p1", IMAGE)).spawn().unwrap();
    let drafts = || host.tree("cache/v1/partial").len();
    let pid = Pid::from_child(&template);
    wait_until("it decodes", || drafts() == 1 && host.at("begun/p1/rootfs/srv/zeros").exists());
    // Held still, it cannot get ready before it is told.
    for signal in [Signal::STOP, Signal::TERM, Signal::CONT] {
        kill_process(pid, signal).unwrap();
    }
    assert_eq!(template.wait().unwrap().code(), Some(1));
    assert_eq!((drafts(), fs::read(host.at("begun/p1/config")).unwrap()), (0, config));
    fill(&host, "p1", &format!("{IMAGE} --force-cache")).succeeds();
}

#[test]
fn in_a_user_namespace_devices_are_left_out_although_the_image_does_not_say_so() {
    let Some(host) = in_namespace() else { return };
    let image = bookworm().rootfs(|rootfs| {
        rootfs.device("dev/null", 1, 3).device("srv-zero", 1, 5);
    });
    let server = Server::publishing(&[image]);
    host.trust(&server);
    begun(&host, "p1", BEGUN);
    let said = mapped(&host, "p1").succeeds();
    assert!(said.stdout.contains("Unpacking the rootfs"), "{}", said.stdout);
    let config = fs::read_to_string(host.at("begun/p1/config")).unwrap();
    assert!(config.contains("userns.conf"), "the edition for users applies: {config}");
    assert!(!host.at("begun/p1/rootfs/srv-zero").exists() && host.at("begun/p1/rootfs/etc/os-release").exists());
}

#[test]
fn in_a_user_namespace_an_owner_it_does_not_have_is_one_line_and_a_hint() {
    let Some(host) = in_namespace() else { return };
    let image = bookworm().rootfs(|rootfs| {
        rootfs.file("srv/foreign", 0o644, "x").owned_by(1234, 0);
    });
    let server = Server::publishing(&[image]);
    host.trust(&server);
    begun(&host, "p1", BEGUN);
    let said = mapped(&host, "p1").refuses("1234");
    assert_eq!(said.stderr.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{}", said.stderr);
    assert!(said.stderr.contains("hint: give the container more ids"), "{}", said.stderr);
}

#[test]
fn a_user_without_a_home_has_everything_where_lxc_is_told_to_keep_images() {
    let Some(host) = in_namespace() else { return };
    let server = Server::publishing(&[bookworm()]);
    host.trust(&server);
    begun(&host, "p1", BEGUN);
    fs::copy(PROGRAM, host.at("lxc-download")).unwrap();
    // The namespace has to be a plain user's: that of root shares the system's directories.
    let as_user = ["--reuid=65534", "--regid=65534", "--clear-groups", "unshare", "-U", "-r", "--"];
    let mut command = if is_root() {
        assert!(Command::new("chown").args(["-R", "65534:65534"]).arg(host.at("")).status().unwrap().success());
        let mut command = host.command("setpriv");
        command.args(as_user);
        command
    } else {
        let mut command = host.command("unshare");
        command.args(["-U", "-r", "--"]);
        command
    };
    command.arg(host.at("lxc-download")).args(arguments(&host, "p1", IMAGE));
    command.args(["--mapped-uid", "0", "--mapped-gid", "0"]);
    for variable in ["HOME", "ROOTCELLAR_STATE_DIR", "ROOTCELLAR_CACHE_DIR", "XDG_STATE_HOME"] {
        command.env_remove(variable);
    }
    let said = Said::of(&command.output().unwrap()).refuses("the environment has no `HOME`");
    assert!(said.stderr.contains("hint: `LXC_CACHE_PATH` names"), "{}", said.stderr);
    Said::of(&command.env("LXC_CACHE_PATH", host.at("lxc-cache")).output().unwrap()).succeeds();
    assert!(host.at("lxc-cache/rootcellar/v1").is_dir());
    let remembered = host.tree("lxc-cache/rootcellar/state");
    assert!(remembered.iter().any(|path| path.ends_with("memory.json")), "{remembered:?}");
}

#[test]
fn in_a_user_namespace_too_the_cache_is_where_lxc_is_told() {
    let Some(host) = in_namespace() else { return };
    let server = Server::publishing(&[bookworm()]);
    host.trust(&server);
    for name in ["p1", "p2"] {
        begun(&host, name, BEGUN);
        let mut command = mapped_command(&host, name);
        command.env_remove("HOME").env_remove("ROOTCELLAR_CACHE_DIR").env("LXC_CACHE_PATH", host.at("lxc-cache"));
        Said::of(&command.output().unwrap()).succeeds();
        assert!(host.at("lxc-cache/rootcellar/v1").is_dir() && !host.at("cache").exists());
        assert_eq!(server.requests("rootfs.tar.xz"), 1, "{name}");
    }
}

/// A host on which user namespaces can be made.
fn in_namespace() -> Option<Host> {
    let can = Command::new("unshare").args(["-U", "-r", "true"]).output().is_ok_and(|output| output.status.success());
    if !can {
        testkit::skip("no user namespace can be made here");
    }
    can.then(Host::new)
}

/// The template as root of a user namespace that has no other id.
fn mapped(host: &Host, name: &str) -> Said {
    Said::of(&mapped_command(host, name).output().unwrap())
}

pub(crate) fn mapped_command(host: &Host, name: &str) -> Command {
    host.template();
    let mut command = host.command("unshare");
    command.args(["-U", "-r", "--"]).arg(host.at("lxc-download")).args(arguments(host, name, IMAGE));
    command.args(["--mapped-uid", "0", "--mapped-gid", "0"]);
    command
}
