#!/bin/bash
# How long builds take, beside the tools that make them today.
#
#   tests/bench/build.sh [ROUNDS [TABLE…]]
#
# TABLE is `tree`, a Debian tree beside mmdebstrap and debootstrap, or `image`, a whole image of the Debian spec that
# distrobuilder's own packages bring, as LXC and Incus take it, beside distrobuilder's build-dir, pack-lxc and
# pack-incus; both by default. On stdout come tables of CPU seconds (user and system, children included), seconds of the
# clock, and ratios of the medians.
#
# Runs are interleaved, so that what else the machine does falls on all of them. Everyone fetches from one loopback
# mirror, which is filled in a first round that does not count, and whoever can keep packages has them kept. Needs root,
# mmdebstrap and nginx; debootstrap takes part where it is installed. The real distrobuilder is installed in a tree below
# target/, once.
#
# SUITE (bookworm), MIRROR (what mmdebstrap would use), BUILDER (a release build is made), WORK (a directory with 6 GB, by
# default in memory). A WORK that is given is kept: another run goes on with what is there, counts its rounds too and
# needs no first round.
set -euo pipefail

cd "$(dirname "$0")/../.."
rounds=${1:-5}
if [ $# -gt 1 ]; then tables=${*:2}; else tables="tree image"; fi
suite=${SUITE:-bookworm}
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
BUILDER=$(realpath "$BUILDER")

work=${WORK:-$(mktemp -d -p /dev/shm)}
mkdir -p "$work/store" "$work/debs" "$work/nginx"
# What is cached is known by the address it came from.
[ -e "$work/port" ] || echo $((20000 + $$ % 20000)) >"$work/port"
port=$(cat "$work/port")
stop() {
    kill "$(cat "$work/nginx/pid")" 2>/dev/null || true
    if [ -z "${WORK:-}" ]; then rm -rf "$work"; fi
}
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

# --- a tree

merged_usr=/usr/share/mmdebstrap/hooks/maybe-merged-usr
run_mmdebstrap() {
    TMPDIR=$work mmdebstrap --mode=root --variant=minbase --quiet --hook-dir=$merged_usr \
        --setup-hook="mkdir -p \"\$1/var/cache/apt/archives/partial\"; cp -lft \"\$1/var/cache/apt/archives\" '$work'/debs/*.deb 2>/dev/null || true" \
        --skip=essential/unlink \
        --customize-hook="cp -lnt '$work/debs' \"\$1\"/var/cache/apt/archives/*.deb 2>/dev/null || true" \
        "$suite" "$work/out.tar" "$local_mirror"
}
run_debootstrap() {
    if [ "$round" = 0 ]; then
        debootstrap --download-only --variant=minbase --cache-dir="$work/debs.debootstrap" "$suite" "$work/tree" "$local_mirror"
        return
    fi
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

# --- a whole image

oracle=target/bench/distrobuilder
prepare_image() {
    if [ ! -e "$oracle" ]; then
        mkdir -p target/bench
        rm -rf "$oracle.partial"
        mmdebstrap --mode=root --variant=essential --quiet --dpkgopt=force-unsafe-io \
            --include=distrobuilder,distrobuilder-images,squashfs-tools,rsync,xz-utils,gpg,gpg-agent,gpgv,dirmngr trixie "$oracle.partial"
        mv "$oracle.partial" "$oracle"
    fi
    # Both get the same spec, whose mirror is the local one.
    sed "s|https\?://$host/|http://127.0.0.1:$port/|" "$oracle/usr/share/distrobuilder-images/debian.yaml" >"$work/debian.yaml"
    sed 's|^    UseDomains=true$|    UseDomains=false|' "$work/debian.yaml" >"$work/changed.yaml"
    ! cmp -s "$work/debian.yaml" "$work/changed.yaml" || { say "error: the spec has changed"; exit 1; }
}
options="-o image.release=$suite -o image.architecture=amd64 -o image.variant=default"
enter='mount --bind "$1" "$1"; mount -t proc proc "$1/proc"; mount -t sysfs sysfs "$1/sys"; mount -t tmpfs tmpfs "$1/dev"
    mount -t tmpfs tmpfs "$1/tmp"; mkdir -p "$1/mnt"; mount --bind "$2" "$1/mnt"; ln -s /proc/self/fd "$1/dev/fd"
    for node in null:3 zero:5 full:7 random:8 urandom:9; do mknod -m 666 "$1/dev/${node%:*}" c 1 "${node#*:}"; done
    exec chroot "$1" /bin/sh -eu -c "$3"'
run_distrobuilder() {
    local script="cd /mnt/distrobuilder; mkdir out
        distrobuilder build-dir ../debian.yaml tree --cache-dir c1 --sources-dir s $options
        distrobuilder pack-lxc ../debian.yaml tree out --cache-dir c2 $options
        distrobuilder pack-incus ../debian.yaml tree out --cache-dir c3 $options"
    mkdir "$work/distrobuilder"
    unshare --mount --propagation private --pid --fork --kill-child \
        sh -eu -c "$enter" sh "$(realpath "$oracle")" "$work" "$script"
}
# Its packages are there, but nothing that was made of them.
run_image() {
    local how=
    if [ "$round" = 0 ]; then how="--xz-level 0"; fi
    "$BUILDER" build "$work/debian.yaml" $how "$@" $options --output "$work/images" --cache "$work/cache" --formats lxc,incus
}
# The time stands still here, and a serial is used once.
run_unchanged() { run_image --serial 20231115_0000; }
# What comes before packing is measured by itself; so the archives are made in the cheapest way.
run_entry() {
    local begun=$EPOCHREALTIME
    "$BUILDER" build "$work/changed.yaml" $options --output "$work/images.changed" --cache "$work/cache" \
        --formats lxc --xz-level 0 2>&1 | while read -r line; do
        echo "$line"
        case $line in tidy*) awk "BEGIN { printf \"0 %.2f\n\", $EPOCHREALTIME - $begun }" >>"$work/before-packing.times" ;; esac
    done
}
before_distrobuilder() { rm -rf "$work/distrobuilder"; }
before_image() {
    rm -rf "$work/distrobuilder" "$work/images" "$work/cache/stages"
    before_bootstrap
}
before_entry() { rm -rf "$work/images.changed"; }

# --- measuring

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

for table in $tables; do
    case $table in
        tree)
            tools="mmdebstrap bootstrap known decoded"
            command -v debootstrap >/dev/null && tools="$tools debootstrap"
            ;;
        image)
            tools="distrobuilder image unchanged entry"
            prepare_image
            ;;
        *) say "error: expected tables \`tree\` and \`image\`, found \`$table\`"; exit 1 ;;
    esac
    first=0
    [ ! -e "$work/$table.filled" ] || first=1
    for round in $(seq "$first" "$rounds"); do
        for tool in $tools; do
            # The first round is there for what can be kept. What distrobuilder fetches, our build fetches, too.
            case $round:$tool in 0:distrobuilder | 0:unchanged | 0:entry) continue ;; esac
            measure "$tool"
        done
        if [ "$round" = 0 ]; then
            for tool in $tools before-packing; do rm -f "$work/$tool.times"; done
            touch "$work/$table.filled"
        fi
    done
done

median() { cut -d' ' -f"$2" "$work/$1.times" | sort -n | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'; }
ratio() { awk "BEGIN { printf \"%.${3:-2}f\", $1 / $2 }"; }
rounds_of() { wc -l <"$work/$1.times"; }

if [ -s "$work/mmdebstrap.times" ]; then
    cpu_mm=$(median mmdebstrap 1)
    wall_mm=$(median mmdebstrap 2)
    echo "| $suite minbase, tar out, median of $(rounds_of mmdebstrap) | CPU s | wall s | CPU beside mmdebstrap | wall beside mmdebstrap | CPU beside debootstrap |"
    echo "|---|---|---|---|---|---|"
    for tool in mmdebstrap bootstrap known decoded debootstrap; do
        [ -s "$work/$tool.times" ] || continue
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
    echo
fi
if [ -s "$work/distrobuilder.times" ]; then
    cpu_theirs=$(median distrobuilder 1)
    wall_theirs=$(median distrobuilder 2)
    echo "| distrobuilder's Debian spec, $suite, LXC and Incus, median of $(rounds_of distrobuilder) | CPU s | wall s | CPU beside distrobuilder | wall beside distrobuilder |"
    echo "|---|---|---|---|---|"
    echo "| distrobuilder build-dir, pack-lxc, pack-incus | $cpu_theirs | $wall_theirs | 1.00 | 1.00 |"
    for tool in image unchanged; do
        case $tool in image) name="rootcellar-builder build" ;; *) name="the same, nothing changed since" ;; esac
        cpu=$(median $tool 1)
        wall=$(median $tool 2)
        echo "| $name | $cpu | $wall | $(ratio "$cpu" "$cpu_theirs" 3) | $(ratio "$wall" "$wall_theirs" 3) |"
    done
    echo "| the same, one entry of \`files\` changed, until packing | - | $(median before-packing 2) | - | - |"
fi
