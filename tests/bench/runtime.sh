#!/bin/bash
# How long the embedded runtime takes, beside LXC.
#
#   tests/bench/runtime.sh [ROUNDS]
#
# Both run containers of one busybox root file system and one configuration, in turns, so that what else the machine
# does falls on both; which goes first changes from round to round. Prints a table on stdout, of medians in milliseconds
# of the clock and the ratio of ours to LXC's:
#
#   start    from the start command until init has said a word
#   exec     /bin/true in the running container
#   clone    an overlay clone (copy --snapshot; lxc-copy -s -B overlayfs)
#   copy     a whole copy of FILES files, without caches dropped
#
# Needs root, lxc, rsync, busybox-static and python3. PROGRAMS (a directory with a release build, which is made by
# default), WORK (a directory of the file system to measure, by default below /var/tmp), FILES (8000).
set -euo pipefail

cd "$(dirname "$0")/../.."
say() { echo "$*" >&2; }
rounds=${1:-20}
files=${FILES:-8000}
if [ "$(id -u)" != 0 ]; then say "SKIP: LXC's containers without mapped ids need root"; exit 0; fi
for program in lxc-start lxc-attach lxc-copy rsync python3 busybox; do
    command -v $program >/dev/null || { say "SKIP: no $program"; exit 0; }
done
if [ -z "${PROGRAMS:-}" ]; then
    cargo build --release --quiet --package rootcellar
    PROGRAMS=$PWD/target/release
fi

work=$(mktemp -d -p "${WORK:-/var/tmp}")
ours() { "$PROGRAMS/rootcellar" -P "$work/containers" "$@"; }
stop() {
    ours stop -k ours >/dev/null 2>&1 || true
    lxc-stop -P "$work/containers" -n theirs -k >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap stop EXIT

make() {
    local rootfs=$work/containers/$1/rootfs
    mkdir -p "$rootfs"/{bin,sbin,etc,proc,sys,dev,run,tmp,root,usr/share}
    cp "$(command -v busybox)" "$rootfs/bin/busybox"
    for applet in sh true sleep; do ln -s busybox "$rootfs/bin/$applet"; done
    mkfifo "$rootfs/ready"
    echo "$1" >"$rootfs/etc/hostname"
    printf '#!/bin/sh\necho ready >/ready\nexec sleep 100000\n' >"$rootfs/sbin/init"
    chmod 755 "$rootfs/sbin/init"
    cat >"$work/containers/$1/config" <<CONFIG
lxc.include = /usr/share/lxc/config/common.conf
lxc.net.0.type = empty
lxc.uts.name = $1
lxc.rootfs.path = dir:$rootfs
CONFIG
}
make ours
make theirs
for name in big-ours big-theirs; do
    make "$name"
    python3 - "$work/containers/$name/rootfs/usr/share" "$files" <<'PYTHON'
import os, sys
top, files = sys.argv[1], int(sys.argv[2])
for number in range(files):
    directory = f"{top}/{number % 97}"
    os.makedirs(directory, exist_ok=True)
    with open(f"{directory}/{number}", "wb") as file:
        file.write(os.urandom(number * 7919 % 24576))
PYTHON
done

python3 - "$PROGRAMS/rootcellar" "$work" "$rounds" <<'PYTHON'
import os, platform, statistics, subprocess, sys, time

program, work, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
containers = f"{work}/containers"
quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
NAMES = {"ours": "ours", "LXC": "theirs"}


def ours(*words):
    return [program, "-P", containers, *words]


def lxc(verb, name, *words):
    return [f"lxc-{verb}", "-P", containers, "-n", name, *words]


def timed(command):
    began = time.monotonic()
    subprocess.run(command, check=True, **quiet)
    return time.monotonic() - began


def start(who):
    command = ours("start", "ours") if who == "ours" else lxc("start", "theirs")
    ready = f"{containers}/{NAMES[who]}/rootfs/ready"
    began = time.monotonic()
    with subprocess.Popen(command, **quiet) as process:
        with open(ready) as fifo:
            fifo.read()
        took = time.monotonic() - began
        assert process.wait() == 0, command
    return took


def stop(who):
    timed(ours("stop", "-k", "ours") if who == "ours" else lxc("stop", "theirs", "-k"))


def execute(who):
    return timed(ours("exec", "ours", "--", "/bin/true") if who == "ours" else lxc("attach", "theirs", "--", "/bin/true"))


def clone(who):
    took = timed(ours("copy", "--snapshot", "ours", "clone") if who == "ours"
                 else lxc("copy", "theirs", "-N", "clone", "-s", "-B", "overlayfs"))
    timed(ours("destroy", "clone") if who == "ours" else lxc("destroy", "clone"))
    return took


def copy(who):
    took = timed(ours("copy", "big-ours", "copy") if who == "ours" else lxc("copy", "big-theirs", "-N", "copy"))
    timed(ours("destroy", "copy") if who == "ours" else lxc("destroy", "copy"))
    return took


taken = {what: {who: [] for who in NAMES} for what in ["start", "exec", "clone", "copy"]}
for turn in range(rounds):
    order = sorted(NAMES, reverse=turn % 2 == 1)
    for who in order:
        taken["start"][who].append(start(who))
    for _ in range(3):
        for who in order:
            taken["exec"][who].append(execute(who))
    for who in order:
        stop(who)
    for who in order:
        taken["clone"][who].append(clone(who))
    if turn < 5:
        for who in order:
            taken["copy"][who].append(copy(who))

version = subprocess.run(["lxc-start", "--version"], capture_output=True, text=True).stdout.strip()
load = " ".join(f"{value:.1f}" for value in os.getloadavg())
print(f"{rounds} rounds, {os.cpu_count()} processors, Linux {platform.release()}, LXC {version}, load {load}")
print(f"{'':8}{'ours':>10}{'LXC':>10}{'ratio':>8}")
for what, both in taken.items():
    mine, other = (statistics.median(both[who]) * 1000 for who in ["ours", "LXC"])
    print(f"{what:8}{mine:>8.1f}ms{other:>8.1f}ms{mine / other:>8.2f}")
PYTHON
