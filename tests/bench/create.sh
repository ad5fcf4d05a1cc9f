#!/bin/bash
# How long a container takes to create, beside the stock template.
#
#   tests/bench/create.sh BUILD [ROUNDS]
#
# BUILD is the build directory of a real image. Both tools fetch from one server of ours over TLS on loopback, at full
# speed and, in a network namespace of its own, at 100 Mbit/s. Runs are interleaved, so that what else the machine does
# falls on both. Prints a table on stdout: the medians of seconds of the clock, CPU seconds (children included) and peak
# resident memory of the largest process, and the ratio of ours to the stock's. Needs root, lxc, iproute2 and python3.
#
# PROGRAMS (a directory with release builds, which are made by default), WORK (a directory of the file system to
# measure, by default below /var/tmp).
set -euo pipefail

cd "$(dirname "$0")/../.."
say() { echo "$*" >&2; }
build=${1:?"a build directory is needed"}
rounds=${2:-5}
if [ "$(id -u)" != 0 ]; then say "SKIP: creating containers needs root"; exit 0; fi
for program in lxc-create python3 tc unshare; do
    command -v $program >/dev/null || { say "SKIP: no $program"; exit 0; }
done
if [ -z "${PROGRAMS:-}" ]; then
    cargo build --release --quiet --package rootcellar --package rootcellar-server
    PROGRAMS=$PWD/target/release
fi
export PROGRAMS WORK_BELOW=${WORK:-/var/tmp} LC_ALL=C.UTF-8

if [ -z "${SPEED:-}" ]; then
    SPEED=loopback "$0" "$build" "$rounds"
    SPEED=100-mbit unshare --net "$0" "$build" "$rounds"
    exit
fi
if [ "$SPEED" = 100-mbit ]; then
    # One direction carries nearly everything, so one queue in both does.
    ip link set lo mtu 1500 up
    tc qdisc add dev lo root tbf rate 100mbit burst 128kb latency 100ms
fi

work=$(mktemp -d -p "$WORK_BELOW")
server=
stop() {
    if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; fi
    rm -rf "$work"
}
trap stop EXIT
export ROOTCELLAR_SERVER_DATA=$work/server
"$PROGRAMS/rootcellar-server" import "$build" >"$work/log" 2>&1
"$PROGRAMS/rootcellar-server" publish >>"$work/log" 2>&1
"$PROGRAMS/rootcellar-server" serve --listen 127.0.0.1:0 --ready-file "$work/ready" >"$work/serve.log" 2>&1 &
server=$!
until [ -s "$work/ready" ]; do sleep 0.1; done
url=$(cat "$work/ready")

image=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["image"])' "$build/build.json")
IFS=/ read -r distribution release arch variant <<<"$image"
fingerprint=$("$PROGRAMS/rootcellar-server" keys show --format json |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["repository"])')
ca=$work/server/v1/tls/ca.pem
echo "lxc.net.0.type = empty" >"$work/lxc.conf"
echo "ca_certificate = $ca" >"$work/wgetrc"
export WGETRC=$work/wgetrc LXC_CACHE_PATH=$work/stock-cache ROOTCELLAR_CACHE_DIR=$work/cache
export ROOTCELLAR_STATE_DIR=$work/state ROOTCELLAR_CONFIG_DIR=$work/config

create_stock() {
    lxc-create -P "$work/containers" -t download -n "$1" -f "$work/lxc.conf" -- --server "${url#https://}" \
        -d "$distribution" -r "$release" -a "$arch" --variant "$variant"
}
create_ours() {
    "$PROGRAMS/rootcellar" -P "$work/containers" create "$1" "$image" --config "$work/lxc.conf" --server "$url" \
        --fingerprint "$fingerprint" --ca "$ca"
}
export -f create_stock create_ours
export work url image distribution release arch variant fingerprint ca

# measure TOOL WHAT: appends `WALL CPU MEMORY` to a file.
measure() {
    mkdir -p "$work/containers"
    python3 - "create_$1 c1" "$work/$1.$2" "$work/out" <<'PYTHON'
import os, sys, time
command, results, out = sys.argv[1:]
began = time.monotonic()
child = os.spawnlp(os.P_NOWAIT, "bash", "bash", "-c", f"{command} >{out} 2>&1")
_, status, usage = os.wait4(child, 0)
wall = time.monotonic() - began
if status:
    sys.exit(f"{command} failed:\n{open(out).read()}")
with open(results, "a") as file:
    print(f"{wall:.3f} {usage.ru_utime + usage.ru_stime:.3f} {usage.ru_maxrss / 1024:.0f}", file=file)
PYTHON
    say "$SPEED $1 $2 $(tail -1 "$work/$1.$2")"
    rm -rf "$work/containers"
    sync -f "$work"
}

works=cold
if [ "$SPEED" = loopback ]; then works="cold warm"; fi
for round in $(seq "$rounds"); do
    for tool in stock ours; do
        rm -rf "$work/cache" "$work/stock-cache"
        for what in $works; do measure $tool "$what"; done
    done
done

column() { cut -d' ' -f"$2" "$work/$1" | sort -n | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'; }
if [ "$SPEED" = loopback ]; then
    echo "| $image, median of $rounds | stock wall s | ours | ratio | stock CPU s | ours | ratio | stock MiB | ours |"
    echo "|---|---|---|---|---|---|---|---|---|"
fi
for what in $works; do
    set --
    for number in 1 2; do
        stock=$(column "stock.$what" $number) ours=$(column "ours.$what" $number)
        set -- "$@" "$stock" "$ours" "$(awk "BEGIN { printf \"%.2f\", $ours / $stock }")"
    done
    if [ "$what" = cold ]; then name="cold, $SPEED"; else name="warm, by copy"; fi
    echo "| $name | $1 | $2 | $3 | $4 | $5 | $6 | $(column "stock.$what" 3) | $(column "ours.$what" 3) |"
done

if [ "$SPEED" = loopback ]; then
    rm -rf "$work/cache"
    before=$(grep -c 'rootfs.tar.xz' "$work/serve.log" || true)
    began=$(date +%s.%N)
    pids=
    for number in $(seq 32); do create_ours "c$number" >"$work/out.$number" 2>&1 & pids="$pids $!"; done
    for pid in $pids; do wait "$pid"; done
    ended=$(date +%s.%N)
    after=$(grep -c 'rootfs.tar.xz' "$work/serve.log" || true)
    say "32 concurrent cold creates: $(awk "BEGIN { printf \"%.1f\", $ended - $began }") s, $((after - before)) download"
fi
