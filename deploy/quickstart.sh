#!/bin/sh
# The main job, end to end, for real: build an image, publish it signed, serve it, create a container, run it.
#
#   sh deploy/quickstart.sh [--keep]
#
# Everything lives below one directory, ./target/quickstart unless ROOTCELLAR_QUICKSTART_DIR names another; only the
# Debian packages that are installed stay outside it. A second run reuses what is built. --keep leaves the server and
# the container running. ROOTCELLAR_PROGRAMS names a directory with compiled programs to use instead of compiling.
set -eu

cd "$(dirname "$0")/.."
. deploy/packages.sh

keep=no
case "${1-}" in
    "") ;;
    --keep) keep=yes ;;
    *) echo "usage: sh deploy/quickstart.sh [--keep]" >&2; exit 1 ;;
esac

step() { printf '\n# %s\n' "$*"; }
show() { printf '$ %s\n' "$*"; "$@"; }

# --- 1. what is needed ---------------------------------------------------------------------------------------------
step "Programs and packages"
if [ -n "${ROOTCELLAR_PROGRAMS-}" ]; then
    # shellcheck disable=SC2086
    ensure_packages $builder_packages
    programs=$ROOTCELLAR_PROGRAMS
else
    ensure_rust
    # shellcheck disable=SC2086
    ensure_packages $build_packages $builder_packages
    show cargo build --release --locked --workspace --bins
    programs=$PWD/target/release
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "error: starting a container with the embedded runtime needs root" >&2
    echo "hint: sudo env PATH=\"\$PATH\" ROOTCELLAR_PROGRAMS=$programs sh deploy/quickstart.sh" >&2
    exit 1
fi

state=${ROOTCELLAR_QUICKSTART_DIR:-$PWD/target/quickstart}
mkdir -p "$state"
state=$(cd "$state" && pwd)
PATH=$programs:$PATH
ROOTCELLAR_CONFIG_DIR=$state/client/config
ROOTCELLAR_STATE_DIR=$state/client/state
ROOTCELLAR_CACHE_DIR=$state/client/cache
ROOTCELLAR_CONTAINERS=$state/containers
ROOTCELLAR_SERVER_DATA=$state/server
export PATH ROOTCELLAR_CONFIG_DIR ROOTCELLAR_STATE_DIR ROOTCELLAR_CACHE_DIR ROOTCELLAR_CONTAINERS
export ROOTCELLAR_SERVER_DATA

server_pid=""
clean_up() {
    if [ "$keep" = no ]; then
        rootcellar destroy --force web1 >/dev/null 2>&1 || true
        [ -z "$server_pid" ] || kill "$server_pid" 2>/dev/null || true
        [ -z "$server_pid" ] || wait "$server_pid" 2>/dev/null || true
        # The runtime's directories, as far as no other container needs them.
        find /run/rootcellar -depth -type d -empty -delete 2>/dev/null || true
    fi
}
trap clean_up EXIT
trap 'exit 1' INT TERM

# --- 2. build ------------------------------------------------------------------------------------------------------
step "Build a Debian bookworm image (reused when it is there)"
build=$(find "$state/images" -mindepth 6 -maxdepth 6 -name build.json 2>/dev/null | sort | tail -n 1)
if [ -z "$build" ]; then
    show rootcellar-builder build image-specs/debian.yaml -o image.release=bookworm -o image.architecture=amd64 \
        --output "$state/images" --cache "$state/builder-cache"
    build=$(find "$state/images" -mindepth 6 -maxdepth 6 -name build.json | sort | tail -n 1)
fi
build=${build%/build.json}
show ls -s --block-size=K "$build"

# --- 3. publish and serve ------------------------------------------------------------------------------------------
step "Import and publish it, signed"
show rootcellar-server import "$build"
show rootcellar-server publish
show rootcellar-server list

step "Serve it over TLS on loopback"
rm -f "$state/url"
printf '$ %s &\n' "rootcellar-server serve --listen 127.0.0.1:0"
rootcellar-server serve --listen 127.0.0.1:0 --ready-file "$state/url" 2>"$state/server.log" &
server_pid=$!
tries=0
until [ -s "$state/url" ]; do
    tries=$((tries + 1))
    if [ "$tries" -gt 100 ] || ! kill -0 "$server_pid" 2>/dev/null; then
        cat "$state/server.log" >&2
        exit 2
    fi
    sleep 0.1
done
url=$(cat "$state/url")
fingerprint=$(rootcellar-server keys show --format json | sed -n 's/.*"repository": *"\([0-9A-F]*\)".*/\1/p')
echo "$url, repository key $fingerprint"

# --- 4. create and run ---------------------------------------------------------------------------------------------
step "Trust the server: its certificate authority, and its key by fingerprint"
rootcellar remote remove default >/dev/null 2>&1 || true
show rootcellar remote add default "$url" --fingerprint "$fingerprint" --ca "$state/server/v1/tls/ca.pem"
show rootcellar list

step "Create a container: everything is verified before it is unpacked"
show rootcellar create web1 debian/bookworm

step "Start it, look inside, stop it, destroy it"
show rootcellar start web1
show rootcellar exec web1 -- cat /etc/os-release
show rootcellar exec web1 -- sh -c 'i=0; until systemctl is-system-running; do i=$((i + 1)); [ $i -lt 60 ] || exit 1; sleep 1; done'
show rootcellar ls
if [ "$keep" = yes ]; then
    step "Left running: the server is process $server_pid at $url, the container is web1"
    exit 0
fi
show rootcellar stop web1
show rootcellar destroy web1

step "Done. Everything is in $state; remove it to start over"
