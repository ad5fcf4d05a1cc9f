//! A small image that notes what happens to it, built by both programs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command as Program;

use serde_json::{Value, json};

use super::Oracle;
use crate::common::World;

/// Every kind of step once without a type and once for containers, files of every generator that needs no certain
/// distribution, and configuration for every kind of levels.
const SPEC: &str = r##"
image: {distribution: probe, release: 3.20, architecture: x86_64, variant: cloud, expiry: 2d, serial: 20261123_0522}
source: {downloader: rootfs-http, url: 'file:///mnt/root.tar'}
targets:
  lxc:
    create_message: "{{ image.description }} {{ nosuch.thing }}"
    config:
    - {type: all, before: 5, content: "old {{ image.architecture_personality }}"}
    - {type: user, before: 5, content: old user}
    - {type: all, after: 4, content: new}
    - {type: user, after: 4, content: new user}
    - {type: system, after: 1, before: 4, content: "middle\n"}
    - {type: all, after: 4, before: 2, content: outside, types: [container]}
    - {type: all, content: machine, types: [vm]}
files:
- {generator: hostname, path: /etc/hostname}
- {generator: hosts, path: /etc/hosts}
- {generator: hostname, path: /etc/nosuch}
- {generator: dump, path: /etc/motd, content: "{{ image.release }}", pongo: true}
- {generator: dump, path: /etc/issue, content: "LXC_NAME\n", templated: true}
- {generator: dump, path: /etc/empty}
- {generator: template, path: /etc/one, name: one, content: "{{ container.name }}", template: {when: [start]}}
- {generator: template, path: /etc/two, name: two, content: "x\n", template: {properties: {a: 1.0}}}
- {generator: template, path: /etc/vm, name: vm, content: x, types: [vm]}
packages:
  custom_manager:
    flags: []
    refresh: {cmd: sh, flags: [-c, 'echo refresh $* >> /trace', x]}
    update: {cmd: sh, flags: [-c, 'echo update $* >> /trace', x]}
    install: {cmd: sh, flags: [-c, 'echo install $* >> /trace', x]}
    remove: {cmd: sh, flags: [-c, 'echo remove $* >> /trace', x]}
    clean: {cmd: sh, flags: [-c, 'echo clean $* >> /trace', x]}
  update: true
  cleanup: true
  sets:
  - {action: install, packages: [a, b]}
  - {action: install, packages: [c], releases: [3.20]}
  - {action: install, packages: [no], releases: [3.2]}
  - {action: install, packages: [d], flags: [-x]}
  - {action: remove, packages: [e]}
  - {action: install, packages: [f], types: [container]}
  - {action: install, packages: [no], types: [vm]}
  - {action: install, packages: [g], variants: [cloud]}
actions:
- {trigger: post-packages, action: "#!/bin/sh\necho post-packages 1 >> /trace"}
- {trigger: post-unpack, action: "#!/bin/sh\necho post-unpack 2 >> /trace"}
- {trigger: post-unpack, action: "#!/bin/sh\necho post-unpack container 3 >> /trace", types: [container]}
- {trigger: post-packages, action: "#!/bin/sh\necho post-packages container 4 >> /trace", types: [container]}
- {trigger: post-update, action: "#!/bin/sh\necho post-update 5 >> /trace"}
- {trigger: post-files, action: "#!/bin/sh\necho post-files 6 >> /trace"}
- {trigger: post-files, action: "#!/bin/sh\necho post-files container $OWN 7 >> /trace", types: [container]}
- {trigger: post-files, action: "#!/bin/sh\necho no >> /trace", types: [vm]}
- {trigger: post-packages, action: "#!/bin/sh\necho {{ image.release }} 9 >> /trace", pongo: true}
environment: {variables: [{key: OWN, value: 1.10}]}
"##;

#[test]
fn a_probe_is_built_as_distrobuilder_builds_it() {
    let Some(world) = World::new() else { return };
    let spec = world.path("probe.yaml");
    fs::write(&spec, SPEC).unwrap();
    let source = format!("source.url=file://{}", world.path("root.tar").display());
    world.build_as(&spec, "lxc,incus").args(["-o", &source]).assert().success();
    let build = world.path("out/probe/3.20/amd64/cloud/20261123_0522");
    let found = world.path("found");
    fs::create_dir(&found).unwrap();
    let done = Program::new("sh").args(["-eu", "-c", EXTRACT, "sh"]).arg(&build).arg(&build).arg(&found).status();
    assert!(done.unwrap().success());
    let recorded: Value = serde_json::from_str(PROBE).unwrap();
    assert_eq!(seen(&found), recorded, "expected (right) is distrobuilder's");
}

#[test]
fn the_recorded_probe_is_that_of_the_real_distrobuilder() {
    let Some(oracle) = Oracle::open() else { return };
    let Some(world) = World::new() else { return };
    let directory = tempfile::tempdir().unwrap();
    fs::copy(world.path("root.tar"), directory.path().join("root.tar")).unwrap();
    fs::write(directory.path().join("probe.yaml"), SPEC).unwrap();
    oracle.run(directory.path(), &format!("{BUILD}set -- lxc incus found\n{EXTRACT}"));
    let found = seen(&directory.path().join("found"));
    if oracle.records {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oracle/probe.json");
        fs::write(path, format!("{found:#}\n")).unwrap();
    } else {
        assert_eq!(found, serde_json::from_str::<Value>(PROBE).unwrap());
    }
}

/// What is compared: the steps in order, the files of both kinds of metadata, and of the tree.
fn seen(directory: &Path) -> Value {
    let text = |path: &str| fs::read_to_string(directory.join(path)).unwrap();
    let mut metadata: Value = serde_saphyr::from_str(&text("incus/metadata.yaml")).unwrap();
    let map = metadata.as_object_mut().unwrap();
    let time = |key: &str| map[key].as_i64().unwrap();
    assert_eq!(time("expiry_date") - time("creation_date"), 2 * 86_400);
    for key in ["creation_date", "expiry_date"] {
        map.insert(key.to_owned(), json!("a time"));
    }
    let mut meta = contents(&directory.join("meta"));
    meta.insert("expiry".to_owned(), "a time".to_owned());
    let mut tree = contents(&directory.join("tree/etc"));
    // Distrobuilder empties the image's own.
    tree.remove("resolv.conf");
    json!({
        "steps": steps(&text("tree/trace")),
        "LXC metadata": meta,
        "Incus metadata": metadata,
        "Incus templates": contents(&directory.join("incus/templates")),
        "tree": tree,
    })
}

/// The steps, without fetching lists and upgrading packages a second time: distrobuilder does so for each of
/// its commands.
fn steps(trace: &str) -> Vec<&str> {
    let mut steps: Vec<&str> = Vec::new();
    for step in trace.lines().map(str::trim_end) {
        let again = ["refresh", "update"].contains(&step) && steps.contains(&step);
        if !again {
            steps.push(step);
        }
    }
    steps
}

fn contents(directory: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    files.map(|entry| (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap())).collect()
}

/// `build-dir`, then both ways of packing it.
const BUILD: &str = "cd /mnt\n\
                     mkdir lxc incus\n\
                     distrobuilder build-dir probe.yaml tree --cache-dir /tmp/c1 --sources-dir /tmp/s\n\
                     distrobuilder pack-lxc probe.yaml tree lxc --cache-dir /tmp/c2 --compression gzip\n\
                     distrobuilder pack-incus probe.yaml tree incus --cache-dir /tmp/c3 --compression gzip\n";

/// `$1` LXC's files, `$2` Incus's, `$3` where what is compared goes.
const EXTRACT: &str = "mkdir -p \"$3/meta\" \"$3/incus\" \"$3/tree\"\n\
                       tar -C \"$3/meta\" -xf \"$1\"/meta.tar.xz\n\
                       tar -C \"$3/incus\" -xf \"$2\"/incus.tar.?z*\n\
                       tar -C \"$3/tree\" -xf \"$1\"/rootfs.tar.?z* ./trace ./etc\n";

const PROBE: &str = include_str!("probe.json");
