"""Brings something up to date in every container of the host, and leaves each as it found it: every.py FLAG-FILE."""

import sys

import lxc

for container in lxc.list_containers(as_object=True):
    was_running = container.running
    if not was_running:
        assert container.start() and container.wait("RUNNING", 30), container.name
    addresses = container.get_ips(timeout=30)
    assert addresses, container.name
    assert container.attach_wait(lxc.attach_run_command, ["touch", sys.argv[1]]) == 0
    print(container.name, "was running" if was_running else "was stopped", addresses[0])
    if not was_running:
        assert container.shutdown(30), "no clean shutdown of " + container.name
