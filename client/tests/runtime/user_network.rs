//! A plain user's container reaches the network through pasta or slirp4netns, without rights and without a bridge.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Ran, eventually, furnish, skip};
use crate::user::User;

/// A host of its own: a network with an uplink that leads nowhere, pages at an address behind it and on loopback, and
/// `/dev/net/tun` for everybody.
struct Internet {
    holder: Child,
}

impl Internet {
    /// Where this program is not.
    fn without(program: &str, pages: &std::path::Path) -> Self {
        let script = format!(
            "ip link set lo up; ip addr add 198.51.100.7/32 dev lo; ip link add up0 type veth peer name up1; ip link set up1 up; \
             ip addr add 192.0.2.2/24 dev up0; ip link set up0 up; ip route add default via 192.0.2.1; \
             mkdir -p /dev/net; mount -t tmpfs -o mode=755 tmpfs /dev/net; mknod -m 666 /dev/net/tun c 10 200; \
             [ ! -e /usr/bin/{program} ] || mount --bind /dev/null /usr/bin/{program}; \
             busybox httpd -p 198.51.100.7:8080 -h {0}; busybox httpd -p 127.0.0.1:8081 -h {0}; \
             echo ready; exec sleep 1000",
            pages.display()
        );
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "-n", "-m", "--propagation", "private"]);
        command.args(["--pid", "--fork", "--kill-child", "sh", "-ec", &script]).stdout(Stdio::piped());
        let mut internet = Self { holder: command.spawn().unwrap() };
        let mut line = String::new();
        BufReader::new(internet.holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        internet
    }

    fn sh(&self, user: &User, script: &str) -> Ran {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.holder.id().to_string(), "-n", "-m", "--"]).args(user.words(script));
        Ran::of(command.output().unwrap())
    }
}

impl Drop for Internet {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// The processes of a user that are of this program. pasta is a link to passt, and executes itself by that name.
fn processes(user: &User, program: &str) -> Vec<i32> {
    let program = if program == "pasta" { "pas" } else { program };
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_ours = |pid: &i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let name = status.lines().next().unwrap_or_default().starts_with(&format!("Name:\t{program}"));
        name && status.contains(&format!("\nUid:\t{0}\t", user.uid)) && !status.contains("State:\tZ")
    };
    pids.filter(is_ours).collect()
}

fn reaches_the_internet_with(program: &str, other: &str) {
    let Some(user) = User::or_skip(program) else { return };
    if Command::new(program).arg("--version").output().is_err() {
        return skip(&format!("there is no {program}: apt install passt slirp4netns")).unwrap_or_default();
    }
    let pages = tempfile::tempdir().unwrap();
    fs::set_permissions(pages.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    fs::write(pages.path().join("page"), "hello\n").unwrap();
    let internet = Internet::without(other, pages.path());
    let lines = format!("{}lxc.net.0.type = veth\nlxc.net.0.link = lxcbr0\nlxc.net.0.flags = up\n", user.map());
    user.container("u1", |rootfs| furnish(rootfs, "u1"), |id| user.first + id, &lines);

    let started = internet.sh(&user, "rootcellar start u1 -- sleep 1000");
    assert!(started.stderr.contains(&format!("`lxc.net.0.type`: `{program}` carries it")), "{started:?}");
    started.succeeds();
    let page = internet
        .sh(&user, "rootcellar exec u1 -- busybox timeout 30 busybox wget -q -O - http://198.51.100.7:8080/page");
    assert_eq!(page.succeeds(), "hello\n", "through {program}");
    let row = user.listed("u1");
    let address = row["ipv4"][0].as_str().unwrap_or_default();
    assert!(!address.is_empty() && row["lost_network"] == false, "{row}");
    assert!(user.sh("rootcellar info u1").succeeds().contains(address));
    // What listens on the host's loopback is not for the container, by whatever address it tries.
    let routes = user.sh("rootcellar exec u1 -- busybox ip route").succeeds();
    let gateway = routes.lines().find_map(|line| line.strip_prefix("default via ")?.split(' ').next());
    for host in ["127.0.0.1", "10.0.2.2", gateway.unwrap_or("192.0.2.1")] {
        let fetch = format!("rootcellar exec u1 -- busybox timeout 3 busybox wget -q -O - http://{host}:8081/page");
        assert_ne!(internet.sh(&user, &fetch).code, Some(0), "{host} through {program}");
    }

    // One that is killed is told of, and a container that starts again has it again.
    let [helper] = processes(&user, program)[..] else { panic!("{:?}", processes(&user, program)) };
    kill_process(Pid::from_raw(helper).unwrap(), Signal::KILL).unwrap();
    eventually("the word of it", || user.listed("u1")["lost_network"] == true);
    assert!(user.sh("rootcellar ls -f").succeeds().contains("what carried its network was killed"));
    user.sh("rootcellar stop -k u1").succeeds();
    internet.sh(&user, "rootcellar start u1 -- sleep 1000").succeeds();
    assert_eq!(processes(&user, program).len(), 1);

    // It goes with the container, also when nobody of ours is left to end it but the next command.
    let state = user.sh("cat $(find /run/user/$(id -u) .local/state -name state.json 2>/dev/null)").stdout;
    let record: serde_json::Value = serde_json::from_str(&state).unwrap();
    for process in ["monitor", "init"] {
        let pid = i32::try_from(record[process]["pid"].as_i64().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    }
    eventually("their end", || user.listed("u1")["state"] == "aborted");
    user.sh("rootcellar stop u1").succeeds();
    eventually("the end of the helper", || processes(&user, program).is_empty());
}

#[test]
fn through_pasta() {
    reaches_the_internet_with("pasta", "slirp4netns");
}

#[test]
fn through_slirp4netns() {
    reaches_the_internet_with("slirp4netns", "pasta");
}

#[test]
fn without_either_it_is_said_and_there_is_loopback() {
    let Some(user) = User::or_skip("nonet") else { return };
    let lines = format!("{}lxc.net.0.type = veth\nlxc.net.0.link = lxcbr0\n", user.map());
    user.container("u1", |rootfs| furnish(rootfs, "u1"), |id| user.first + id, &lines);
    // newuidmap has to be found, and nothing else.
    let path = "mkdir -p bin && ln -sf /usr/bin/newuidmap /usr/bin/newgidmap bin/ && PATH=$HOME/bin";
    let started = user.sh(&format!("{path} $HOME/rootcellar start u1 -- sleep 1000"));
    assert!(started.stderr.contains("a plain user needs `pasta`"), "{started:?}");
    started.succeeds();
    assert_eq!(user.sh("rootcellar exec u1 -- ls /sys/class/net").succeeds(), "lo\n");
}
