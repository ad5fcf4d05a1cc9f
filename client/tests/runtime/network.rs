//! A container is on a bridge, with the addresses its configuration gives it, and leaves nothing there.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::idmap::{WHOLE, give};
use crate::support::{Host, Ran, eventually, skip};

/// A network namespace with the bridge `br0`, which is 10.77.0.1, and nothing else of the host.
struct Lan {
    /// Holds the namespace.
    holder: Child,
}

impl Lan {
    fn or_skip() -> Option<Self> {
        if Command::new("ip").arg("-V").output().is_err() {
            return skip("there is no ip: apt install iproute2");
        }
        let script = "ip link set lo up; ip link add br0 type bridge; ip addr add 10.77.0.1/24 dev br0; \
                      ip addr add fd77::1/64 dev br0 nodad; ip link set br0 up; echo ready; exec sleep 1000";
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "-n", "sh", "-ec", script]).stdout(Stdio::piped());
        let mut lan = Self { holder: command.spawn().unwrap() };
        let mut line = String::new();
        BufReader::new(lan.holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Some(lan)
    }

    /// Runs a program in the namespace.
    fn program(&self, words: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>) -> Ran {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.holder.id().to_string(), "-n", "--"]).args(words);
        Ran::of(command.output().unwrap())
    }

    /// Runs `rootcellar …` on the host that has this network.
    fn run(&self, host: &Host, words: &str) -> Ran {
        let command = host.command(words.split(' '));
        self.program(std::iter::once(command.get_program()).chain(command.get_args()))
    }

    fn ports(&self) -> usize {
        self.program(["ip", "-o", "link", "show", "master", "br0"]).succeeds().lines().count()
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

const ON_BRIDGE: &str = "lxc.net.0.type = veth\nlxc.net.0.link = br0\nlxc.net.0.flags = up\n";
const ADDRESSES: &str = "lxc.net.0.name = lan0\nlxc.net.0.mtu = 1400\nlxc.net.0.hwaddr = 00:16:3e:11:22:xx\n\
                         lxc.net.0.ipv4.address = 10.77.0.7/24\nlxc.net.0.ipv4.gateway = auto\n\
                         lxc.net.0.ipv6.address = fd77::7/64\nlxc.net.0.ipv6.gateway = fd77::1\n";

fn world(lines: &str) -> Option<(Host, Lan)> {
    let host = Host::or_skip()?;
    let container = host.create("web1", &format!("{ON_BRIDGE}{lines}"));
    if lines.contains("idmap") {
        give(&container.join("rootfs"));
    }
    Some((host, Lan::or_skip()?))
}

#[test]
fn a_pair_joins_the_bridge_and_its_addresses_are_shown() {
    for map in ["", WHOLE] {
        let Some((host, lan)) = world(&format!("{map}{ADDRESSES}")) else { return };
        let started = lan.run(&host, "start web1 -- sleep 1000");
        assert!(!started.stderr.contains("lxc.net"), "{started:?}");
        started.succeeds();
        assert_eq!(lan.ports(), 1);
        let row = host.listed("web1");
        assert_eq!((&row["ipv4"][0], &row["ipv6"][0]), (&"10.77.0.7".into(), &"fd77::7".into()), "{row}");
        let info = host.run("info web1").succeeds();
        assert!(info.contains("10.77.0.7") && info.contains("lan0"), "{info}");
        let link = host.run("exec web1 -- busybox ip link show lan0").succeeds();
        assert!(link.contains("00:16:3e:11:22:") && link.contains("mtu 1400"), "{link}");
        let routes = host.run("exec web1 -- busybox ip route").succeeds();
        assert!(routes.contains("default via 10.77.0.1 dev lan0"), "{routes}");
        let routes = host.run("exec web1 -- busybox ip -6 route").succeeds();
        assert!(routes.contains("default via fd77::1 dev lan0"), "{routes}");
        host.run("exec web1 -- busybox ping -c 1 -W 20 10.77.0.1").succeeds();
        lan.program(["busybox", "ping", "-c", "1", "-W", "20", "10.77.0.7"]).succeeds();
        host.run("stop -k web1").succeeds();
        eventually("an empty bridge", || lan.ports() == 0);
    }
}

#[test]
fn a_pair_with_a_name_of_its_own_is_there_again_after_a_reboot() {
    let pair = "lxc.net.0.veth.pair = web1-host\nlxc.net.0.ipv4.address = 10.77.0.7/24\n";
    let Some((host, lan)) = world(pair) else { return };
    lan.run(&host, "start web1").succeeds();
    let before = host.listed("web1")["pid"].clone();
    host.script("web1", "reboot -f");
    eventually("the reboot", || {
        let row = host.listed("web1");
        row["state"] == "running" && row["pid"] != before
    });
    assert_eq!(host.listed("web1")["ipv4"][0], "10.77.0.7");
    lan.program(["ip", "link", "show", "web1-host"]).succeeds();
    host.create("web2", &format!("{ON_BRIDGE}{pair}"));
    lan.run(&host, "start web2 -- sleep 9").fails(2, "this host has an interface `web1-host` already");
    host.run("stop -k web1").succeeds();
    eventually("its end", || lan.program(["ip", "link", "show", "web1-host"]).code != Some(0));
}

#[test]
fn several_networks_in_the_old_dialect_are_several_interfaces() {
    let Some(host) = Host::or_skip() else { return };
    let Some(lan) = Lan::or_skip() else { return };
    let lines = "lxc.network.type = veth\nlxc.network.link = br0\nlxc.network.flags = up\n\
                 lxc.network.ipv4 = 10.77.0.7/24\nlxc.network.ipv4.gateway = 192.0.2.1\n\
                 lxc.network.type = veth\nlxc.network.link = br0\nlxc.network.name = two\n";
    let container = host.create("web1", "");
    let rootfs = container.join("rootfs");
    std::fs::write(container.join("config"), format!("lxc.rootfs = {}\n{lines}", rootfs.display())).unwrap();
    lan.run(&host, "start web1 -- sleep 1000").succeeds();
    let names = host.run("exec web1 -- ls /sys/class/net").succeeds();
    assert_eq!(names.split_whitespace().collect::<Vec<_>>(), ["eth0", "lo", "two"]);
    let routes = host.run("exec web1 -- busybox ip route").succeeds();
    assert!(routes.contains("default via 192.0.2.1 dev eth0"), "a gateway of no network of its own: {routes}");
    assert_eq!(lan.ports(), 2);
}

#[test]
fn a_bridge_that_is_not_there_is_named_and_the_container_has_loopback() {
    let Some((host, lan)) = world("lxc.net.1.type = macvlan\nlxc.net.1.link = br0\n") else { return };
    lan.program(["ip", "link", "del", "br0"]).succeeds();
    let started = lan.run(&host, "start web1 -- sleep 1000");
    assert!(started.stderr.contains("`lxc.net.0.link`: this host has no bridge `br0`"), "{started:?}");
    assert!(started.stderr.contains("`lxc.net.1.type`: a network of type `macvlan` is not done"), "{started:?}");
    started.succeeds();
    assert_eq!(host.run("exec web1 -- ls /sys/class/net").succeeds(), "lo\n");
}

#[test]
fn what_cannot_be_connected_does_not_start_and_leaves_nothing() {
    let Some((host, lan)) = world("lxc.net.0.ipv4.gateway = auto\nlxc.net.0.name = lo\n") else { return };
    lan.run(&host, "start web1 -- sleep 9").fails(2, "`web1` did not start");
    assert_eq!(lan.ports(), 0);
    assert!(!host.state("web1").exists() && host.cgroups().is_empty());
    host.configure("web1", &format!("{ON_BRIDGE}lxc.net.0.link = lo\n"));
    lan.run(&host, "start web1 -- sleep 9").fails(2, "cannot make the interface `eth0`: ");
    host.configure("web1", "lxc.net.0.type = veth\nlxc.net.0.ipv4.address = here\n");
    host.run("start web1").fails(1, "`lxc.net.0.ipv4.address` must be an address like `10.0.3.7/24`, found `here`");
}

#[test]
fn scripts_of_an_interface_are_told_which_it_is() {
    let Some((host, lan)) = world("") else { return };
    let said = host.containers().join("said");
    let script = host.containers().join("net.sh");
    std::fs::write(&script, format!("echo $@ >> {}\n", said.display())).unwrap();
    let scripts = ["up", "down"].map(|one| format!("lxc.net.0.script.{one} = /bin/sh {}\n", script.display()));
    host.configure("web1", &format!("{ON_BRIDGE}lxc.net.0.veth.pair = w1h\n{}", scripts.concat()));
    lan.run(&host, "start web1 -- sleep 1000").succeeds();
    host.run("stop -k web1").succeeds();
    let said = std::fs::read_to_string(said).unwrap();
    assert_eq!(said, "web1 net up veth br0 w1h\nweb1 net down veth br0 w1h\n");
}
