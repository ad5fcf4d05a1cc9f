#!/bin/bash
# How long a Debian tree takes, beside the tools that make one today.
#
#   tests/bench/build.sh [ROUNDS]
#
# Prints a table on stdout: CPU seconds (user and system, children included), seconds of the clock, and the ratio of the
# medians to mmdebstrap's and debootstrap's. Runs are interleaved, so that what else the machine does falls on all of
# them. Everyone fetches from one loopback mirror, which is filled in a first round that does not count; mmdebstrap
# finds all packages in its archive directory. Needs root, mmdebstrap and nginx; debootstrap takes part where it is
# installed.
#
# SUITE (bookworm), MIRROR (what mmdebstrap would use), BUILDER (a release build is made), WORK (a directory with
# 2 GB, by default in memory).
set -euo pipefail

cd "$(dirname "$0")/../.."
rounds=${1:-5}
suite=${SUITE:-bookworm}
port=$((20000 + $$ % 20000))
# The time in every tree, so that all tools do the same.
export SOURCE_DATE_EPOCH=1700000000 LC_ALL=C.UTF-8
unset TMPDIR

say() { echo "$*" >&2; }
if [ "$(id -u)" != 0 ]; then say "SKIP: bootstrapping needs root"; exit 0; fi
for program in mmdebstrap nginx; do
    command -v $program >/dev/null || { say "SKIP: no $program"; exit 0; }
done
if [ -z "${BUILDER:-}" ]; then
    cargo build --release --quiet --package rootcellar-builder
    BUILDER=target/release/rootcellar-builder
fi

work=${WORK:-$(mktemp -d -p /dev/shm)}
mkdir -p "$work/store" "$work/debs" "$work/nginx"
stop() { kill "$(cat "$work/nginx/pid")" 2>/dev/null || true; rm -rf "$work"; }
trap stop EXIT

if [ -z "${MIRROR:-}" ]; then
    mmdebstrap --variant=custom --format=null --skip=update,cleanup,chroot/mount --quiet \
        --setup-hook="cp \"\$1/etc/apt/sources.list\" '$work/lines'" "$suite" >&2
    MIRROR=$(sed -n 's/^deb \(\[[^]]*\] \)\?\([^ ]*\) .*/\2/p' "$work/lines" | head -1)
fi
host=$(echo "$MIRROR" | sed 's|^[a-z]*://||; s|/.*||')
scheme=${MIRROR%%://*}
local_mirror=http://127.0.0.1:$port/${MIRROR#*://*/}
cat >"$work/nginx/conf" <<CONF
user root; pid $work/nginx/pid; error_log $work/nginx/errors; worker_processes 1;
events {}
http {
    access_log off;
    client_body_temp_path $work/nginx/a; proxy_temp_path $work/nginx/b; fastcgi_temp_path $work/nginx/c;
    uwsgi_temp_path $work/nginx/d; scgi_temp_path $work/nginx/e;
    server {
        listen 127.0.0.1:$port;
        root $work/store;
        location / { try_files \$uri @fetch; }
        location @fetch {
            proxy_pass $scheme://$host; proxy_http_version 1.1; proxy_ssl_server_name on;
            proxy_set_header Host $host;
            proxy_store $work/store\$uri; proxy_store_access all:r;
        }
    }
}
CONF
nginx -c "$work/nginx/conf"

merged_usr=/usr/share/mmdebstrap/hooks/maybe-merged-usr
run_mmdebstrap() {
    TMPDIR=$work mmdebstrap --mode=root --variant=minbase --quiet --hook-dir=$merged_usr \
        --setup-hook="mkdir -p \"\$1/var/cache/apt/archives/partial\"; cp -lft \"\$1/var/cache/apt/archives\" '$work'/debs/*.deb 2>/dev/null || true" \
        --skip=essential/unlink \
        --customize-hook="cp -lnt '$work/debs' \"\$1\"/var/cache/apt/archives/*.deb 2>/dev/null || true" \
        "$suite" "$work/out.tar" "$local_mirror"
}
run_debootstrap() {
    debootstrap --variant=minbase --cache-dir="$work/debs.debootstrap" "$suite" "$work/tree" "$local_mirror"
    tar -C "$work/tree" --numeric-owner --sort=name -cf "$work/out.tar" .
}
# Its packages are there, but neither lists nor decisions nor anything decoded.
run_bootstrap() {
    "$BUILDER" bootstrap "$suite" "$work/out.tar" --cache "$work/cache" --mirror "$local_mirror"
}
run_known() { run_bootstrap; }
run_decoded() { run_bootstrap; }

before_known() { rm -rf "$work/cache/bootstrap/v1/decoded"; }
before_bootstrap() { rm -rf "$work/cache/bootstrap/v1/apt" "$work/cache/bootstrap/v1/decoded"; }
before_debootstrap() { mkdir -p "$work/debs.debootstrap"; }

# measure NAME: appends `CPU WALL` to a file.
measure() {
    rm -rf "$work/out.tar" "$work/tree"
    if declare -F "before_$1" >/dev/null; then "before_$1"; fi
    local times
    TIMEFORMAT='%U %S %R'
    if ! times=$({ time "run_$1" >"$work/$1.log" 2>&1; } 2>&1); then
        say "error: $1 failed"
        tail -20 "$work/$1.log" >&2
        exit 1
    fi
    echo "$times" | awk '{ printf "%.2f %.2f\n", $1 + $2, $3 }' >>"$work/$1.times"
    say "$1 $(tail -1 "$work/$1.times")"
}

tools="mmdebstrap bootstrap known decoded"
command -v debootstrap >/dev/null && tools="$tools debootstrap"
for round in $(seq 0 "$rounds"); do
    for tool in $tools; do
        measure "$tool"
    done
    if [ "$round" = 0 ]; then rm "$work"/*.times; fi
done

median() { cut -d' ' -f"$2" "$work/$1.times" | sort -n | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'; }
ratio() { awk "BEGIN { printf \"%.2f\", $1 / $2 }"; }

cpu_mm=$(median mmdebstrap 1)
wall_mm=$(median mmdebstrap 2)
echo "| $suite minbase, tar out, median of $rounds | CPU s | wall s | CPU beside mmdebstrap | wall beside mmdebstrap | CPU beside debootstrap |"
echo "|---|---|---|---|---|---|"
for tool in $tools; do
    cpu=$(median "$tool" 1)
    wall=$(median "$tool" 2)
    beside=-
    if [ "$tool" != debootstrap ] && [ -e "$work/debootstrap.times" ]; then
        beside=$(ratio "$cpu" "$(median debootstrap 1)")
    fi
    case $tool in
        bootstrap) name="rootcellar-builder bootstrap" ;;
        known) name="the same, lists unchanged since the last one" ;;
        decoded) name="the same again, packages decoded before" ;;
        *) name=$tool ;;
    esac
    echo "| $name | $cpu | $wall | $(ratio "$cpu" "$cpu_mm") | $(ratio "$wall" "$wall_mm") | $beside |"
done
