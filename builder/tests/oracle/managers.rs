//! Every package manager is called with distrobuilder's words.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command as Program;

use serde_json::{Value, json};

use super::Oracle;
use crate::common::World;

/// The managers, and whether they can be told of a repository.
const MANAGERS: [(&str, bool); 13] = [
    ("anise", true),
    ("apk", true),
    ("apt", true),
    ("dnf", true),
    ("egoportage", false),
    ("equo", true),
    ("opkg", false),
    ("pacman", false),
    ("portage", false),
    ("slackpkg", false),
    ("xbps", false),
    ("yum", true),
    ("zypper", true),
];

/// Programs that note how they are called. yum is asked what it can do.
const PROGRAMS: [&str; 17] = [
    "anise",
    "apk",
    "apt-get",
    "dnf",
    "ego",
    "emerge",
    "enman",
    "equo",
    "opkg",
    "pacman",
    "pacman-key",
    "rpmdb",
    "slackpkg",
    "xbps-install",
    "xbps-remove",
    "yum",
    "zypper",
];
const PROGRAM: &str = "#!/bin/sh\nif [ \"$1\" = --help ]; then echo --allowerasing; echo --nobest; exit; fi\n\
                       echo \"${0##*/} $*\" >> /trace\n";

const SPEC: &str = r"
image: {distribution: probe, release: 1.0, architecture: x86_64, serial: 20261123_0522}
source: {downloader: rootfs-http, url: 'file:///mnt/root.tar'}
targets: {lxc: {config: [{type: all, content: x}]}}
packages:
  manager: MANAGER
  update: true
  cleanup: true
  sets:
  - {action: install, packages: [a, b]}
  - {action: install, packages: [c], flags: [-x, --y=z]}
  - {action: remove, packages: [d, e]}
";

const REPOSITORIES: &str = "  repositories:
  - {name: extra, url: 'http://mirror.example.org/{{ image.release }}/$basearch', key: '-----BEGIN PGP PUBLIC KEY BLOCK-----'}
  - {name: other.list, url: 'http://mirror.example.org/x'}
";

fn world() -> Option<World> {
    let programs = PROGRAMS.map(|name| (format!("usr/bin/{name}"), PROGRAM));
    let programs = programs.iter().map(|(path, text)| (path.as_str(), *text));
    let fixed = [("etc/apk/repositories", "http://mirror.example.org/first\n"), ("etc/pacman.d/mirrorlist", "#\n")];
    let empty = [("etc/apk/keys/first", "k\n"), ("etc/apt/trusted.gpg.d/first.asc", "k\n")];
    Some(World::new()?.with_files(programs.chain(fixed).chain(empty)))
}

fn spec(manager: &str, repositories: bool) -> String {
    SPEC.replace("MANAGER", manager) + if repositories { REPOSITORIES } else { "" }
}

#[test]
fn every_manager_is_called_as_distrobuilder_calls_it() {
    let Some(world) = world() else { return };
    let mut found = serde_json::Map::new();
    for (manager, repositories) in MANAGERS {
        let path = world.path("manager.yaml");
        fs::write(&path, spec(manager, repositories)).unwrap();
        let source = format!("source.url=file://{}", world.path("root.tar").display());
        let variant = format!("image.variant={manager}");
        world.build(&path).args(["-o", &source, "-o", &variant]).assert().success();
        let tree = world.path(&format!("{manager}-tree"));
        fs::create_dir(&tree).unwrap();
        let archive = world.path(&format!("out/probe/1.0/amd64/{manager}/20261123_0522/rootfs.tar.xz"));
        assert!(Program::new("tar").arg("-xJf").arg(archive).arg("-C").arg(&tree).status().unwrap().success());
        found.insert(manager.to_owned(), seen(&tree));
    }
    let recorded: Value = serde_json::from_str(CALLS).unwrap();
    for (manager, calls) in &found {
        assert_eq!(calls, &recorded[manager], "{manager}: expected (right) is distrobuilder's");
    }
}

#[test]
fn the_recorded_calls_are_those_of_the_real_distrobuilder() {
    let Some(oracle) = Oracle::open() else { return };
    let Some(world) = world() else { return };
    let directory = tempfile::tempdir().unwrap();
    fs::copy(world.path("root.tar"), directory.path().join("root.tar")).unwrap();
    let mut script = "cd /mnt\n".to_owned();
    for (manager, repositories) in MANAGERS {
        fs::write(directory.path().join(format!("{manager}.yaml")), spec(manager, repositories)).unwrap();
        script.push_str(
            &["distrobuilder build-dir ", manager, ".yaml ", manager, " --sources-dir /tmp/s >/dev/null\n"].concat(),
        );
    }
    oracle.run(directory.path(), &script);
    let calls = MANAGERS.map(|(manager, _)| (manager.to_owned(), seen(&directory.path().join(manager))));
    let found = Value::Object(calls.into_iter().collect());
    if oracle.records {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oracle/managers.json");
        fs::write(path, format!("{found:#}\n")).unwrap();
    } else {
        assert_eq!(found, serde_json::from_str::<Value>(CALLS).unwrap());
    }
}

/// What was called, and the files about repositories. Left out is what is done in another way here: apt's cleaning,
/// from outside; the line with which distrobuilder marks its files; the
/// last newline.
fn seen(tree: &Path) -> Value {
    let trace = fs::read_to_string(tree.join("trace")).unwrap();
    let calls: Vec<&str> = trace.lines().filter(|call| *call != "apt-get -y clean").collect();
    let mut files = BTreeMap::new();
    for directory in ["etc/apt", "etc/apk", "etc/yum.repos.d", "etc/anise"] {
        collect(tree, directory, &mut files);
    }
    json!({"calls": calls, "files": files})
}

fn collect(tree: &Path, directory: &str, files: &mut BTreeMap<String, String>) {
    let Ok(entries) = fs::read_dir(tree.join(directory)) else { return };
    for entry in entries {
        let name = format!("{directory}/{}", entry.unwrap().file_name().into_string().unwrap());
        match fs::read_to_string(tree.join(&name)) {
            Ok(text) => {
                files.insert(name, text.replace("# Generated by distrobuilder\n", "").trim_end().to_owned());
            }
            Err(_) => collect(tree, &name, files),
        }
    }
}

const CALLS: &str = include_str!("managers.json");
