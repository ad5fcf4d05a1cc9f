#!/bin/sh
# Installs what the tests need and runs all of them.
#
#   sh tests/run.sh [FILTER]
#
# As root everything runs. As a plain user the tests that need root say SKIP and why; the end shows what was skipped, and
# the file that ROOTCELLAR_TEST_SKIPS names has it. What the tests change on the machine they change back: the last step
# compares mounts, users, containers, control groups, processes and the trust store with what was there before.
set -eu

cd "$(dirname "$0")/.."
. deploy/packages.sh

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export ROOTCELLAR_TEST_SKIPS="${ROOTCELLAR_TEST_SKIPS:-$scratch/skips}"
: >"$ROOTCELLAR_TEST_SKIPS"
skip() {
    echo "SKIP: $1" | tee -a "$ROOTCELLAR_TEST_SKIPS" >&2
}

ensure_rust
# shellcheck disable=SC2086
ensure_packages $build_packages
# The peers, and rsync, with which LXC copies. Without one of them its tests are skipped, visibly.
# shellcheck disable=SC2086
ensure_packages $builder_packages acl attr bsdutils btrfs-progs busybox-static chromium curl debootstrap dirmngr faketime fonts-dejavu-core gnupg gpgv iproute2 \
    libcap2-bin lxc lxc-dev lxc-templates python3-lxc qemu-user-static rsync strace systemd-container uidmap wget xfsprogs xz-utils || skip "tests of the peers that are missing"
ensure_packages radosgw ceph-mon ceph-osd ceph-common || skip "tests of builds in an object store"
ensure_packages postgresql || skip "tests of the operations database in PostgreSQL"
ensure_packages fish man-db zsh || skip "tests of the completions of other shells, and of the pages"
ensure_packages passt slirp4netns || skip "tests of a plain user's network"
ensure_packages nginx-light xdelta3 zstd || skip "tests of an exported site, and of deltas with the tools of others"

# Printed in a fixed order, so that two of them can be compared.
machine_state() {
    echo "[mounts]"; cut -d' ' -f2,3 /proc/self/mounts | sort
    echo "[users]"; cut -d: -f1 /etc/passwd | sort; sort /etc/subuid /etc/subgid 2>/dev/null || true
    echo "[containers]"; ls /var/lib/lxc 2>/dev/null || true
    echo "[control groups]" # but for lxc.pivot, which LXC makes once and keeps
    find /sys/fs/cgroup -maxdepth 3 -type d \( -name 'lxc.payload*' -o -name 'lxc.monitor*' -o -name 'rc-*' -o -name '*rootcellar*' \
        -o -name init.scope \) 2>/dev/null | sort
    echo "[processes]"; ps -e -o comm= | grep -E '^(rootcellar|lxc-|nginx|gpg-agent|dirmngr|systemd|incusd|ceph-|radosgw)' | sort || true
    echo "[trust store]"; ls /usr/local/share/ca-certificates 2>/dev/null || true
    echo "[network namespaces]"; ls /run/netns 2>/dev/null || true
}

machine_state >"$scratch/before"

# Some tests build real Debian images; without this variable, `cargo test` alone downloads nothing.
export ROOTCELLAR_TEST_NETWORK=1

status=0
cargo test --workspace --locked --no-fail-fast -- "$@" || status=$?

# What was told to end may take a moment to.
for _ in 1 2 3 4 5 6 7 8 9 10; do
    machine_state >"$scratch/after"
    ! diff "$scratch/before" "$scratch/after" >"$scratch/left" || break
    sleep 1
done
if [ -s "$scratch/left" ]; then
    echo "error: the tests left something behind" >&2
    cat "$scratch/left" >&2
    status=1
fi
if [ -s "$ROOTCELLAR_TEST_SKIPS" ]; then
    echo "Skipped:" >&2
    sort -u "$ROOTCELLAR_TEST_SKIPS" >&2
fi
exit "$status"
