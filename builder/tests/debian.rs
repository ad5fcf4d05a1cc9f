//! A Debian tree from mmdebstrap holds its packages and nothing of the machine that built it.

use std::fs;
use std::process::Command as Program;

use crate::common::{builder, is_root, output_of};

const SPEC: &str = "image: {distribution: debian, release: bookworm}\n\
                    source: {downloader: debootstrap, variant: minbase}\n\
                    targets: {lxc: {config: [{type: all, content: lxc.include = x}]}}\n\
                    packages:\n  manager: apt\n  update: yes\n  cleanup: yes\n\
                    \x20 sets: [{action: install, packages: [openssh-server], flags: [--no-install-recommends]}]\n\
                    mappings: {architecture_map: debian}\n";

fn may_run() -> bool {
    let network = std::env::var_os("ROOTCELLAR_TEST_NETWORK").is_some();
    if !network {
        testkit::skip("downloads Debian packages only with ROOTCELLAR_TEST_NETWORK=1");
    }
    let bootstrap = Program::new("mmdebstrap").arg("--version").output().is_ok();
    if !bootstrap {
        testkit::skip("no mmdebstrap");
    }
    network && bootstrap && is_root()
}

#[test]
fn a_debian_build_is_complete_clean_and_reproducible() {
    if !may_run() {
        return;
    }
    let world = tempfile::tempdir().unwrap();
    let path = |name: &str| world.path().join(name);
    fs::write(path("spec.yaml"), SPEC).unwrap();
    let mut records = Vec::new();
    for output in ["first", "second"] {
        let mut command = builder();
        command.arg("build").arg(path("spec.yaml")).arg("--output").arg(path(output)).arg("--cache").arg(path("cache"));
        command.args(["--formats", "lxc", "--xz-level", "0"]).env("SOURCE_DATE_EPOCH", "1795411320");
        let done = command.env("TMPDIR", path("tmp-of-the-builder")).assert().success();
        let built = output_of(&done).0.trim_end().to_owned();
        records.push(fs::read_to_string(format!("{built}/build.json")).unwrap());
        let log = fs::read_to_string(format!("{built}/build.log")).unwrap();
        let fetched = log.lines().filter(|line| line.starts_with("Get:"));
        let downloads = fetched.filter(|line| !line.contains(" InRelease ") && !line.contains(" Packages ")).count();
        assert!(output == "second" || downloads > 0, "the log does not say what was downloaded");
        assert!(output == "first" || downloads == 0, "the second build downloaded {downloads} packages again");
        if output == "second" {
            continue;
        }
        let tree = path("tree");
        fs::create_dir(&tree).unwrap();
        let archive = format!("{built}/rootfs.tar.xz");
        assert!(Program::new("tar").args(["-xJf", &archive, "-C"]).arg(&tree).status().unwrap().success());
        let audit = Program::new("dpkg").arg(format!("--root={}", tree.display())).arg("--audit").output().unwrap();
        assert!(audit.status.success() && audit.stdout.is_empty(), "{audit:?}");
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_ne!(fs::read_to_string(tree.join("etc/hostname")).unwrap(), host);
        for absent in ["etc/resolv.conf", "etc/ssh/ssh_host_ed25519_key", "var/log/dpkg.log", "usr/sbin/policy-rc.d"] {
            assert!(!tree.join(absent).exists(), "{absent}");
        }
        assert!(tree.join("usr/sbin/sshd").exists());
        assert_eq!(fs::read_dir(tree.join("var/lib/apt/lists")).unwrap().count(), 1);
        for directory in ["etc/apt/apt.conf.d", "etc/dpkg/dpkg.cfg.d"] {
            let names = fs::read_dir(tree.join(directory)).unwrap().map(|entry| entry.unwrap().file_name());
            assert!(names.into_iter().all(|name| !name.to_string_lossy().contains("mmdebstrap")), "{directory}");
        }
        let packages = fs::read_to_string(format!("{built}/packages.json")).unwrap();
        let packages: Vec<serde_json::Value> = serde_json::from_str(&packages).unwrap();
        assert!(packages.iter().any(|package| package["name"] == "openssh-server"));
        assert!(packages.iter().all(|package| package["sha256"].is_string()), "a package without a digest");
    }
    assert_eq!(records[0], records[1]);
    let mut again = builder();
    again.arg("build").arg(path("spec.yaml")).arg("--output").arg(path("second")).arg("--cache").arg(path("cache"));
    again.args(["--formats", "lxc", "--serial", "20991231_2359"]);
    let (stdout, stderr) = output_of(&again.assert().success());
    assert!(stderr.contains("Nothing has changed since debian/bookworm/amd64/default 2026"), "{stdout}{stderr}");
    assert!(records[0].contains("\"debian/12\"") && records[0].contains("Debian-Security bookworm-security"));
}
