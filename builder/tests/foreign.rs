//! Images of other architectures are built without any set-up of the host.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command as Program;

use crate::common::user::User;
use crate::common::{World, builder, output_of};

/// A program for 64-bit ARM that writes what uname(2) calls the machine to `/etc/machine`. No compiler for it need be
/// here: it is a header, eighteen instructions and a path.
fn arm_program() -> Vec<u8> {
    let number = |register: u32, value: u32| 0xd280_0000 | value << 5 | register;
    let call = 0xd400_0001;
    let stack_into = |register: u32, offset: u32| 0x9100_0000 | offset << 10 | 31 << 5 | register;
    // An address relative to the instruction, in steps of four bytes.
    let address_into = |register: u32, steps: u32| 0x1000_0000 | steps << 5 | register;
    let code = [
        0xd108_03ff, // make room for 512 bytes on the stack
        stack_into(0, 0),
        number(8, 160), // uname
        call,
        0x9280_0000 | 99 << 5, // the directory: none, AT_FDCWD
        address_into(1, 12),
        number(2, 0o1101), // to write, made, emptied
        number(3, 0o644),
        number(8, 56), // openat
        call,
        stack_into(1, 260), // the fifth field of uname's answer
        number(2, 7),
        number(8, 64), // write, to the file that is still in register 0
        call,
        number(0, 0),
        number(8, 93), // exit
        call,
    ];
    let path = b"/etc/machine\0";
    let entry = 120_u64;
    let size = entry + 4 * code.len() as u64 + path.len() as u64;
    let load: u64 = 0x40_0000;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0\x01\0\0\0".to_vec();
    for value in [load + entry, 64, 0] {
        file.extend(value.to_le_bytes());
    }
    file.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 0, 0, 0, 0]);
    file.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    for value in [0, load, load, size, size, 4096] {
        file.extend(value.to_le_bytes());
    }
    assert_eq!(file.len() as u64, entry);
    file.extend(code.iter().flat_map(|instruction: &u32| instruction.to_le_bytes()));
    file.extend(path);
    file
}

/// `None`, said on stderr, where nothing can be emulated.
fn world() -> Option<World> {
    if cfg!(target_arch = "aarch64") {
        testkit::skip("the programs of the test are not foreign here");
        return None;
    }
    if !Path::new("/usr/bin/qemu-aarch64-static").exists() {
        testkit::skip("no emulator: install the package `qemu-user-static`");
        return None;
    }
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    let version: (u32, u32) = (numbers.next().unwrap(), numbers.next().unwrap());
    if version < (6, 7) {
        testkit::skip(format_args!(
            "user namespaces have a binfmt_misc of their own from Linux 6.7 on, this is {release}"
        ));
        return None;
    }
    let world = World::new()?;
    fs::remove_file(world.path("source/bin/busybox")).unwrap();
    let program = world.path("source/bin/say-machine");
    fs::write(&program, arm_program()).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(world.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    Some(world.with_files([]))
}

const ACTION: &str = "actions:\n- {trigger: post-packages, action: \"#!/bin/say-machine\\n\"}\n";

fn machine_in(output: &Path) -> String {
    let archive = output.join("test/1.0/arm64/default/20261123_0522/rootfs.tar.xz");
    let read = Program::new("tar").arg("-xJOf").arg(archive).arg("./etc/machine").output().unwrap();
    String::from_utf8(read.stdout).unwrap()
}

/// What the host itself has registered.
fn registered() -> Vec<String> {
    let entries = fs::read_dir("/proc/sys/fs/binfmt_misc").into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn with_options(mut command: assert_cmd::Command, spec: &Path, output: &Path) -> assert_cmd::Command {
    command.arg("build").arg(spec).arg("--output").arg(output).args(["--no-cache", "-o", "image.architecture=arm64"]);
    command.args(["--formats", "lxc,incus", "--xz-level", "0", "--serial", "20261123_0522"]);
    command.env("SOURCE_DATE_EPOCH", "1700000000");
    command
}

#[test]
fn programs_of_another_architecture_run_for_root_and_for_plain_users_and_the_host_learns_of_nothing() {
    let (Some(world), Some(user)) = (world(), User::new()) else { return };
    let spec = world.spec(ACTION);
    let before = registered();
    with_options(builder(), &spec, &world.path("out")).assert().success();
    assert_eq!(machine_in(&world.path("out")), "aarch64");
    let output = user.home.join("out");
    with_options(user.builder(), &spec, &output).assert().success();
    assert_eq!(machine_in(&output), "aarch64");
    let archive = |output: &Path| fs::read(output.join("test/1.0/arm64/default/20261123_0522/rootfs.tar.xz")).unwrap();
    assert!(archive(&output) == archive(&world.path("out")), "the user's image differs from root's");
    assert_eq!(registered(), before);
    assert_eq!(world.leftovers(), Vec::<String>::new());
}

#[test]
fn without_an_emulator_the_package_to_install_is_named() {
    let Some(world) = world() else { return };
    let spec = world.spec(ACTION);
    // A host without the emulator, for the builder alone.
    let mut hidden = Program::new("unshare");
    hidden.args(["--mount", "sh", "-c", "mount --bind /dev/null /usr/bin/qemu-aarch64-static; exec \"$@\"", "sh"]);
    hidden.arg(env!("CARGO_BIN_EXE_rootcellar-builder"));
    let refused = with_options(assert_cmd::Command::from_std(hidden), &spec, &world.path("out")).assert().code(2);
    let said = output_of(&refused).1;
    assert!(said.contains("programs for arm64 do not run here: no program `qemu-aarch64-static`"), "{said}");
    assert!(said.contains("hint: install the package `qemu-user-static`"), "{said}");
    assert!(!world.path("out/test").exists(), "something was begun");
}

#[test]
fn a_whole_debian_for_arm64_is_built() {
    if std::env::var_os("ROOTCELLAR_TEST_ARM64").is_none() {
        testkit::skip("a Debian under emulation takes minutes: ROOTCELLAR_TEST_ARM64=1 builds it");
        return;
    }
    let Some(world) = world() else { return };
    let spec = world.path("debian.yaml");
    fs::write(&spec, include_str!("../../image-specs/debian.yaml")).unwrap();
    let mut command = builder();
    command.arg("build").arg(&spec).arg("--output").arg(world.path("out")).arg("--no-cache");
    command.args(["-o", "image.architecture=arm64", "--xz-level", "0", "--serial", "20261123_0522"]);
    let done = command.assert().success();
    let built = output_of(&done).0.trim_end().to_owned();
    let tree = world.path("tree");
    fs::create_dir(&tree).unwrap();
    let archive = format!("{built}/rootfs.tar.xz");
    assert!(Program::new("tar").args(["-xJf", &archive, "-C"]).arg(&tree).status().unwrap().success());
    let audit = Program::new("dpkg").arg(format!("--root={}", tree.display())).arg("--audit").output().unwrap();
    assert!(audit.status.success() && audit.stdout.is_empty(), "{audit:?}");
    let shell = fs::read(tree.join("usr/bin/dash")).unwrap();
    assert_eq!(shell[18..20], [0xb7, 0], "not a program for 64-bit ARM");
    let packages = fs::read_to_string(format!("{built}/packages.json")).unwrap();
    assert!(packages.contains("\"arm64\"") && !packages.contains("\"amd64\""));
}
