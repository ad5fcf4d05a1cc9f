#!/bin/bash
# How long a container takes to create, beside the stock template.
#
#   tests/bench/create.sh BUILD [ROUNDS]
#
# BUILD is the build directory of a real image. Both tools fetch from one server of ours over TLS on loopback, at full
# speed and, in a network namespace of its own, at 100 Mbit/s. Runs are interleaved, so that what else the machine does
# falls on both. Prints a table on stdout: the medians of seconds of the clock, CPU seconds (children included) and peak
# resident memory of the largest process, and the ratio of ours to the stock's; then what an update downloads, and how
# long a classic index of 100 000 lines takes. Needs root, lxc, iproute2 and python3.
#
# NEWER (the build directory of a later build of the same image) gives the row of the update. PARTS (by default all of
# `loopback 100-mbit index`) chooses what is measured.
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
    for part in ${PARTS:-loopback 100-mbit index}; do
        case $part in
            100-mbit) SPEED=$part unshare --net "$0" "$build" "$rounds" ;;
            *) SPEED=$part "$0" "$build" "$rounds" ;;
        esac
    done
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
source="--server $url --fingerprint $fingerprint --ca $ca"
create_ours() {
    "$PROGRAMS/rootcellar" -P "$work/containers" create "$1" "$image" --config "$work/lxc.conf" $source
}
snapshot_ours() {
    "$PROGRAMS/rootcellar" -P "$work/containers" create --snapshot "$1" "$image" --config "$work/lxc.conf" $source
}
# The index alone, of the server that has 100 000 images.
# (Until LXC 6.0.2 a list ends with 1; without a variant only `default` is shown.)
list_stock() { /usr/share/lxc/templates/lxc-download --list --variant "" --server "$large" || true; }
list_ours() { "$PROGRAMS/rootcellar" list --server "https://$large" --trust-tls --ca "$ca"; }
find_stock() {
    mkdir -p "$work/containers/c1/rootfs"
    /usr/share/lxc/templates/lxc-download --path="$work/containers/c1" --name=c1 --rootfs="$work/containers/c1/rootfs" \
        --server "$large" -d distribution99 -r release99 -a amd64 --variant variant9 --flush-cache 2>&1 | grep 'ERROR.*/d99/99/'
}
# The site has no files of images, so what both say then shows that they found it.
find_ours() {
    "$PROGRAMS/rootcellar" fetch distribution99/release99/amd64/variant9 --server "https://$large" --trust-tls --ca "$ca" 2>&1 |
        grep 'error.*/d99/99/'
}
export -f create_stock create_ours snapshot_ours list_stock list_ours find_stock find_ours
export work url image distribution release arch variant fingerprint ca source

# measure TOOL WHAT [VERB]: appends `WALL CPU MEMORY` to a file.
measure() {
    mkdir -p "$work/containers"
    python3 - "${3:-create}_$1 ${4:-c1}" "$work/$1.$2" "$work/out" <<'PYTHON'
import os, sys, time
command, results, out = sys.argv[1:]
# What an earlier command said is not this one's to throw away.
if os.path.exists(out):
    os.unlink(out)
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
    # Not removed: for minutes, ext4 does not use the inodes of removed files again, and looks for others at length.
    [ -n "${KEEP:-}" ] || mv "$work/containers" "$work/kept.$((kept += 1))"
    sync -f "$work"
}

kept=0
column() { cut -d' ' -f"$2" "$work/$1" | sort -n | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'; }

heading() {
    echo "| $image, median of $rounds | stock wall s | ours | ratio | stock CPU s | ours | ratio | stock MiB | ours |"
    echo "|---|---|---|---|---|---|---|---|---|"
}

# print_row FILE NAME: one line of the table.
print_row() {
    local stock ours row=
    for number in 1 2; do
        stock=$(column "stock.$1" $number) ours=$(column "ours.$1" $number)
        row="$row | $stock | $ours | $(awk "BEGIN { printf \"%.3f\", $ours / $stock }")"
    done
    echo "| $2$row | $(column "stock.$1" 3) | $(column "ours.$1" 3) |"
}

if [ "$SPEED" = index ]; then
    # A site of the stock shape: nothing but the classic layout.
    mkdir -p "$work/site/meta/1.0"
    awk 'BEGIN { for (i = 0; i < 100000; i++) { d = int(i / 1000); r = int(i / 10) % 100; v = i % 10
        printf "distribution%02d;release%02d;amd64;variant%d;20261120_07:42;/images/d%d/%d/amd64/%d/20261120_07:42/\n", d, r, v, d, r, v } }' \
        >"$work/site/meta/1.0/index-system"
    python3 - "$work" "$ca" <<'PYTHON' &
import functools, http.server, os, ssl, sys
work, ca = sys.argv[1:]
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=work + "/site")
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(os.path.dirname(ca) + "/server.pem", os.path.dirname(ca) + "/server.key.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
open(work + "/large.new", "w").write("127.0.0.1:%d" % server.server_port)
os.rename(work + "/large.new", work + "/large")
sys.stderr = open(os.devnull, "w")
server.serve_forever()
PYTHON
    site=$!
    trap 'kill $site; stop' EXIT
    until [ -s "$work/large" ]; do sleep 0.1; done
    large=$(cat "$work/large")
    export large
    for round in $(seq "$rounds"); do
        for tool in stock ours; do
            for what in list find; do
                rm -rf "$work/cache" "$work/stock-cache"
                measure $tool "$what" "$what"
            done
        done
    done
    heading
    print_row list "list of 100 000 images in a classic index"
    print_row find "the last of them found"
    exit
fi

works=cold
if [ "$SPEED" = loopback ]; then works="cold warm"; fi
for round in $(seq "$rounds"); do
    for tool in stock ours; do
        rm -rf "$work/cache" "$work/stock-cache"
        for what in $works; do measure $tool "$what"; done
    done
done

if [ "$SPEED" = loopback ]; then
    # Once the tree of the image is there; its own first create is one by copy.
    export KEEP=1
    snapshot_ours base >"$work/out" 2>&1
    for round in $(seq "$rounds"); do measure ours snapshot snapshot "s$round"; done
    KEEP=
    cp "$work/stock.warm" "$work/stock.snapshot"
    heading
    print_row cold "cold, $SPEED"
    print_row warm "warm, by copy"
    print_row snapshot "warm, \`--snapshot\`"
else
    heading
    print_row cold "cold, $SPEED"
    exit
fi

rm -rf "$work/cache" "$work/containers"
before=$(grep -c 'rootfs.tar.xz' "$work/serve.log" || true)
began=$(date +%s.%N)
pids=
for number in $(seq 32); do create_ours "c$number" >"$work/out.$number" 2>&1 & pids="$pids $!"; done
for pid in $pids; do wait "$pid"; done
ended=$(date +%s.%N)
after=$(grep -c 'rootfs.tar.xz' "$work/serve.log" || true)
echo
echo "32 concurrent cold creates: $(awk "BEGIN { printf \"%.1f\", $ended - $began }") s, $((after - before)) download"

if [ -n "${NEWER:-}" ]; then
    rm -rf "$work/containers"
    "$PROGRAMS/rootcellar-server" import "$NEWER" >>"$work/log" 2>&1
    "$PROGRAMS/rootcellar-server" publish >>"$work/log" 2>&1
    kill "$server"; wait "$server" 2>/dev/null || true
    "$PROGRAMS/rootcellar-server" serve --listen "${url#https://}" --ready-file "$work/ready2" >>"$work/serve.log" 2>&1 &
    server=$!
    until [ -s "$work/ready2" ]; do sleep 0.1; done
    before=$(wc -l <"$work/serve.log")
    "$PROGRAMS/rootcellar" fetch "$image" $source >"$work/out" 2>&1 || { cat "$work/out" >&2; exit 1; }
    fetched=$(tail -n +$((before + 1)) "$work/serve.log" | grep -o 'GET /images[^ ]*\(rootfs.tar.xz\|zst\)' | cut -d' ' -f2 || true)
    whole=$(stat -c %s "$NEWER/rootfs.tar.xz") bytes=0
    for path in $fetched; do bytes=$((bytes + $(stat -c %s "$work/server/v1$path"))); done
    echo "an update: $bytes of the $whole bytes of rootfs.tar.xz, $(awk "BEGIN { printf \"%.1f\", 100 * $bytes / $whole }") % ($fetched)"
    before=$(wc -l <"$work/serve.log")
    "$PROGRAMS/rootcellar" fetch "$image" $source >"$work/out" 2>&1
    again=$(tail -n +$((before + 1)) "$work/serve.log" | grep -c 'images/' || true)
    echo "an image that has not changed: $again files of a build"
fi
