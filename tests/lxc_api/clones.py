"""A base, a clone of it, and a clone of the clone, each over its parent by overlayfs: clones.py BASE WEB SITE."""

import sys

import lxc

base_name, web_name, site_name = sys.argv[1:]


def run(container, *command):
    status = container.attach_wait(lxc.attach_run_command, list(command))
    assert status == 0, (container.name, command, status)


def customized(container, mark):
    """Starts it, leaves a mark in it, and stops it."""
    assert container.start() and container.get_ips(timeout=30), container.name
    run(container, "touch", mark)
    if not container.shutdown(30):
        container.stop()
    return container


base = lxc.Container(base_name)
image = {"dist": "busybox", "release": "1.35", "arch": "amd64"}
assert base.create("download", lxc.LXC_CREATE_QUIET, image), "not created"
customized(base, "/of-base")

web = base.clone(web_name, bdevtype="overlayfs", flags=lxc.LXC_CLONE_SNAPSHOT)
assert web, "not cloned"
customized(web, "/of-web")

site = web.clone(site_name, bdevtype="overlayfs", flags=lxc.LXC_CLONE_SNAPSHOT)
assert site and site.start(), "the clone of the clone does not start"
assert site.get_ips(family="inet", timeout=30)
run(site, "cat", "/of-base", "/of-web")
run(site, "sh", "-c", "[ $(cat /etc/hostname) = " + site_name + " ]")
assert site.shutdown(30)

# What a clone changed is not in its base. Once it has an address, its init takes signals.
assert base.start() and base.get_ips(family="inet", timeout=30)
run(base, "sh", "-c", "[ -e /of-base ] && [ ! -e /of-web ]")
assert base.shutdown(30)

for container in (site, web, base):
    assert container.destroy(), container.name
print("done")
