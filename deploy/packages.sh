# Sourced, not run: makes sure that Debian packages are installed.

# What the three programs need to be compiled: a C compiler, and the libraries that the OpenPGP and the seccomp crate
# link. At run time the builder calls mmdebstrap, mksquashfs and sqfs2tar.
build_packages="gcc libc6-dev pkg-config libclang-dev nettle-dev libseccomp-dev"
builder_packages="mmdebstrap squashfs-tools squashfs-tools-ng ca-certificates"

# ensure_packages PACKAGE...: installs the missing ones when root; otherwise prints the exact command and fails.
ensure_packages() {
    missing=""
    for package in "$@"; do
        status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
        [ "$status" = installed ] || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    install="apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends$missing"
    if [ "$(id -u)" -ne 0 ]; then
        echo "These packages are missing, and only root can install them:" >&2
        echo "hint: sudo apt-get update && sudo $install" >&2
        return 1
    fi
    echo "Installing$missing" >&2
    apt-get -o DPkg::Lock::Timeout=300 update -qq >&2
    # shellcheck disable=SC2086 # the list is meant to be split
    DEBIAN_FRONTEND=noninteractive $install >&2
}

# ensure_rust: fails with advice when there is no cargo.
ensure_rust() {
    command -v cargo >/dev/null 2>&1 && return 0
    echo "error: Rust 1.95 or newer is needed to build rootcellar, found no cargo in PATH" >&2
    echo "hint: install it with rustup and open a new shell" >&2
    return 1
}
