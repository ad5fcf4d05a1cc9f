"""One container from its creation to its end: life.py NAME."""

import sys

import lxc

name = sys.argv[1]
container = lxc.Container(name)
assert not container.defined

image = {"dist": "busybox", "release": "1.35", "arch": "amd64"}
assert container.create("download", lxc.LXC_CREATE_QUIET, image), "not created"
assert container.defined and container.get_config_item("lxc.uts.name") == name
assert container.start() and container.wait("RUNNING", 30)
assert container.state == "RUNNING" and container.init_pid > 1

addresses = container.get_ips(interface="eth0", family="inet", timeout=30)
assert addresses and addresses[0].startswith("10.0.3."), addresses


def look_around():
    """Runs in the container, although it is a function of this program."""
    with open("/etc/hostname") as hostname, open("/etc/os-release") as release:
        sys.exit(hostname.read().strip() != name or "ID=busybox" not in release.read())


assert container.attach_wait(look_around) == 0
assert container.attach_wait(lxc.attach_run_command, ["sh", "-c", "exit 7"]) >> 8 == 7
assert container.attach_wait(lxc.attach_run_command, ["ping", "-c", "1", "-w", "10", "10.0.3.1"]) == 0

assert container.shutdown(30), "no clean shutdown"
assert container.state == "STOPPED"
assert container.destroy() and not container.defined
print("done")
