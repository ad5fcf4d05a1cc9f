//! On Debian our template takes the stock one's place by the package manager's own means: an upgrade of LXC leaves it
//! alone, and when ours goes, what the upgrade brought is there.
//!
//! Everything happens in a mount namespace, on an overlay over this machine: its package database is not touched.

use std::fs;

use crate::support::{Program, need, program};

/// Ends with the package that has the template, in a newer version, ready to be installed.
const PREPARE: &str = r#"
set -eu
top=$1 program=$2
mount -t tmpfs tmpfs "$top"
mkdir "$top/upper" "$top/work" "$top/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$top/upper,workdir=$top/work" "$top/root"
install -m 755 "$program" "$top/root/usr/local/bin/rootcellar"
mount -t proc proc "$top/root/proc"
mount --rbind /dev "$top/root/dev"
template=/usr/share/lxc/templates/lxc-download
stock=$(sha256sum <"$template")
package=$(dpkg -S "$template" | cut -d: -f1)
run() { env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive chroot "$top/root" "$@"; }
mkdir -p "$top/deb/DEBIAN" "$top/deb${template%/*}"
printf 'Package: %s\nVersion: 999\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\nDescription: an upgrade\n' \
    "$package" >"$top/deb/DEBIAN/control"
echo upgraded >"$top/deb$template"
dpkg-deb --build --root-owner-group "$top/deb" "$top/root/upgrade.deb" >/dev/null
upgrade() { run dpkg --install --force-all /upgrade.deb >"$top/dpkg.log" 2>&1 || { cat "$top/dpkg.log"; exit 1; }; }
"#;

const UPGRADE: &str = r#"
run rootcellar template install
echo "installed: $(run readlink $template)"
[ "$(run sha256sum <"$top/root$template.stock")" = "$stock" ] && echo "stock kept"
run dpkg-divert --list $template
upgrade
echo "after the upgrade: $(run readlink $template)"
run rootcellar template uninstall
echo "uninstalled: $(run cat $template)"
echo "diversions: $(run dpkg-divert --list $template | wc -l)"
"#;

/// The machine as it was before LXC came: no template, and no package that has one.
const INSTALL: &str = r#"
rm -r "$top/root${template%/*}"
for list in "$top"/root/var/lib/dpkg/info/*.list; do
    if grep -q "^${template%/*}" "$list"; then sed -i "\|^${template%/*}|d" "$list"; fi
done
run rootcellar template install
echo "installed: $(run readlink $template)"
run dpkg-divert --list $template
run rootcellar template uninstall
echo "diversions without LXC: $(run dpkg-divert --list $template | wc -l)"
run rootcellar template install
upgrade
echo "after LXC was installed: $(run readlink $template)"
run rootcellar template uninstall
echo "uninstalled: $(run cat $template)"
echo "diversions: $(run dpkg-divert --list $template | wc -l)"
"#;

/// Runs the script, and expects these lines, and that this machine stays as it was.
#[track_caller]
fn says(script: &str, expected: &[&str]) {
    let template = std::path::Path::new("/usr/share/lxc/templates/lxc-download");
    if !template.is_file() {
        testkit::skip("the stock template is not installed");
        return;
    }
    let before = (fs::read(template).unwrap(), fs::read("/var/lib/dpkg/diversions").unwrap_or_default());
    let top = tempfile::tempdir().unwrap();
    let script = format!("{PREPARE}{script}");
    let run = Program::new("unshare").args(["-m", "--propagation", "private", "sh", "-c", &script, "sh"]);
    let said = run.arg(top.path()).arg(program::ours("rootcellar")).run();
    let lines = said.succeeds();
    for expected in expected {
        assert!(lines.lines().any(|line| line == *expected), "no `{expected}` in {said:?}");
    }
    assert_eq!((fs::read(template).unwrap(), fs::read("/var/lib/dpkg/diversions").unwrap_or_default()), before);
}

#[test]
fn an_upgrade_of_lxc_leaves_our_template_alone_and_its_own_comes_back_when_ours_goes() {
    need!(root, "dpkg-divert", "dpkg-deb", "unshare");
    let expected = [
        "installed: /usr/local/bin/rootcellar",
        "stock kept",
        "local diversion of /usr/share/lxc/templates/lxc-download to /usr/share/lxc/templates/lxc-download.stock",
        "after the upgrade: /usr/local/bin/rootcellar",
        "uninstalled: upgraded",
        "diversions: 0",
    ];
    says(UPGRADE, &expected);
}

#[test]
fn lxc_that_is_installed_later_leaves_our_template_alone_too() {
    need!(root, "dpkg-divert", "dpkg-deb", "unshare");
    let expected = [
        "installed: /usr/local/bin/rootcellar",
        "local diversion of /usr/share/lxc/templates/lxc-download to /usr/share/lxc/templates/lxc-download.stock",
        "diversions without LXC: 0",
        "after LXC was installed: /usr/local/bin/rootcellar",
        "uninstalled: upgraded",
        "diversions: 0",
    ];
    says(INSTALL, &expected);
}
