//! What the builder's own bootstrap cannot install is mmdebstrap's to install.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command as Program;

use formats::digest::Sha256;

use crate::common::{builder, is_root, output_of};

const SPEC: &str = "image: {distribution: debian, release: bookworm, architecture: amd64}\n\
                    source: {downloader: debootstrap, variant: minbase, skip_verification: yes, url: 'file://MIRROR'}\n\
                    targets: {lxc: {config: [{type: all, content: lxc.include = x}]}}\n\
                    packages: {manager: apt}\nmappings: {architecture_map: debian}\n";

/// A mirror with two essential packages that bring the same file.
fn mirror(at: &Path) {
    let lists = at.join("dists/bookworm/main/binary-amd64");
    fs::create_dir_all(&lists).unwrap();
    let mut packages = String::new();
    for name in ["first", "second"] {
        let tree = at.join(name);
        fs::create_dir_all(tree.join("DEBIAN")).unwrap();
        fs::create_dir_all(tree.join("usr/share")).unwrap();
        fs::write(tree.join("usr/share/disputed"), name).unwrap();
        let control = format!(
            "Package: {name}\nVersion: 1\nArchitecture: amd64\nEssential: yes\nPriority: required\n\
             Maintainer: nobody\nDescription: {name}\n"
        );
        fs::write(tree.join("DEBIAN/control"), &control).unwrap();
        let deb = at.join(format!("{name}_1_amd64.deb"));
        let made = Program::new("dpkg-deb").args(["--root-owner-group", "--build"]).arg(&tree).arg(&deb).output();
        assert!(made.unwrap().status.success());
        let content = fs::read(deb).unwrap();
        let (size, digest) = (content.len(), Sha256::of(&content));
        writeln!(packages, "{control}Filename: {name}_1_amd64.deb\nSize: {size}\nSHA256: {digest}\n").unwrap();
    }
    fs::write(lists.join("Packages"), &packages).unwrap();
    let (size, digest) = (packages.len(), Sha256::of(packages.as_bytes()));
    let release = format!(
        "Suite: bookworm\nCodename: bookworm\nArchitectures: amd64\nComponents: main\n\
         Date: Sat, 01 Nov 2025 00:00:00 UTC\nSHA256:\n {digest} {size} main/binary-amd64/Packages\n"
    );
    fs::write(at.join("dists/bookworm/Release"), release).unwrap();
}

/// What a build from that mirror says. It fails: mmdebstrap has no dpkg to work with.
fn said_with(engine: &str) -> Option<String> {
    let programs = ["apt-get", "dpkg-deb", if engine == "native" { "mmdebstrap" } else { engine }];
    let missing = programs.iter().find(|program| Program::new(program).arg("--version").output().is_err());
    if let Some(program) = missing {
        testkit::skip(format_args!("no {program}"));
    }
    if missing.is_some() || !is_root() {
        return None;
    }
    let world = tempfile::tempdir().unwrap();
    let at = world.path().join("mirror");
    mirror(&at);
    fs::write(world.path().join("spec.yaml"), SPEC.replace("MIRROR", &at.display().to_string())).unwrap();
    let mut command = builder();
    command.args(["build", "--formats", "lxc", "--bootstrap", engine, "--output"]).arg(world.path().join("builds"));
    command.arg("--cache").arg(world.path().join("cache")).arg(world.path().join("spec.yaml"));
    Some(output_of(&command.assert().failure()).1)
}

#[test]
fn a_file_of_two_packages_is_left_to_mmdebstrap_and_said_in_one_line() {
    let Some(said) = said_with("native") else { return };
    let reason = said.lines().find(|line| line.contains("`usr/share/disputed` is also in `first`"));
    assert!(reason.is_some_and(|line| line.ends_with("; mmdebstrap installs everything again")), "{said}");
    assert!(said.contains("mmdebstrap failed"), "{said}");
}

#[test]
fn mmdebstrap_works_alone_where_it_is_asked_for() {
    let Some(said) = said_with("mmdebstrap") else { return };
    assert!(said.contains("mmdebstrap failed") && !said.contains("disputed"), "{said}");
}

#[test]
fn debootstrap_works_alone_where_it_is_asked_for() {
    let Some(said) = said_with("debootstrap") else { return };
    assert!(
        said.contains("debootstrap failed") && !said.contains("mmdebstrap") && !said.contains("disputed"),
        "{said}"
    );
    // It went as far as its mirror goes: no package of this one brings a shell.
    assert!(said.contains("chroot") || said.contains("Couldn't find these debs"), "{said}");
}
