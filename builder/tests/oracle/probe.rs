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
- {generator: hosts, path: /etc/hosts, template: {when: [start], properties: {looks: "3.20", odd: "a: b #c"}}}
- {generator: hostname, path: /etc/nosuch}
- {generator: dump, path: /etc/motd, content: "{{ image.release }}", pongo: true}
- {generator: dump, path: /etc/issue, content: "LXC_NAME\n", templated: true}
- {generator: dump, path: /etc/empty}
- {generator: template, path: /etc/one, name: one, content: "{{ container.name }}", template: {when: [start]}}
- {generator: template, path: /etc/two, name: two, content: "x\n", template: {properties: {a: 1.0}}}
- {generator: template, path: /etc/vm, name: vm, content: x, types: [vm]}
- {generator: copy, source: beside, path: /etc/copied, mode: 0640}
- {generator: copy, source: besides, path: /etc/directory}
- {generator: dump, path: /etc/gone/x, content: x}
- {generator: remove, path: /etc/gone}
- {generator: incus-agent, types: [vm]}
- {generator: fstab, types: [vm]}
- {generator: cloud-init, name: user-data}
- {generator: cloud-init, name: meta-data}
- {generator: cloud-init, name: vendor-data, content: "#cloud-config\npackages: [less]\n"}
- {generator: cloud-init, name: network-config, path: /etc/network-config}
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
    put_beside(&world.path(""));
    let source = format!("source.url=file://{}", world.path("root.tar").display());
    world.build_as(&spec, "lxc,incus,unified").args(["-o", &source]).assert().success();
    let build = world.path("out/probe/3.20/amd64/cloud/20261123_0522");
    let found = world.path("found");
    fs::create_dir(&found).unwrap();
    let mut extract = Program::new("sh");
    extract.args(["-eu", "-c", EXTRACT, "sh"]).args([&build, &build, &build, &found]);
    assert!(extract.status().unwrap().success());
    let mut recorded: Value = serde_json::from_str(PROBE).unwrap();
    let one_command = recorded.as_object_mut().unwrap().remove(ONE_COMMAND).unwrap();
    let seen = seen(&found);
    assert_eq!(seen, recorded, "expected (right) is distrobuilder's");
    // Its single commands take the same steps in the order of the file, whatever their types.
    for steps in one_command.as_object().unwrap().values() {
        assert_ne!(*steps, seen["steps"]);
        assert_eq!(sorted(steps), sorted(&seen["steps"]));
    }
}

/// What the entries with the generator `copy` copy.
fn put_beside(directory: &Path) {
    fs::write(directory.join("beside"), "copied\n").unwrap();
    fs::create_dir_all(directory.join("besides/inner")).unwrap();
    fs::write(directory.join("besides/inner/file"), "copied too\n").unwrap();
}

/// The steps without their order. Packages that are neighbours with the same flags are installed by one call, so they
/// are counted one by one; lists are fetched and caches cleaned once for each pass over the sets.
fn sorted(steps: &Value) -> Vec<String> {
    let steps = steps.as_array().unwrap().iter().map(|step| step.as_str().unwrap());
    let mut sorted: Vec<String> = steps
        .flat_map(|step| match step.strip_prefix("install ") {
            Some(packages) if !packages.starts_with('-') => {
                packages.split(' ').map(|package| format!("install {package}")).collect()
            }
            _ => vec![step.to_owned()],
        })
        .collect();
    sorted.sort();
    sorted.dedup();
    sorted
}

#[test]
fn the_recorded_probe_is_that_of_the_real_distrobuilder() {
    let Some(oracle) = Oracle::open() else { return };
    let Some(world) = World::new() else { return };
    let directory = tempfile::tempdir().unwrap();
    fs::copy(world.path("root.tar"), directory.path().join("root.tar")).unwrap();
    fs::write(directory.path().join("probe.yaml"), SPEC).unwrap();
    put_beside(directory.path());
    oracle.run(directory.path(), &format!("{BUILD}set -- lxc incus unified found\n{EXTRACT}"));
    let mut found = seen(&directory.path().join("found"));
    let traces = ["build-lxc", "build-incus"].map(|command| {
        let trace = fs::read_to_string(directory.path().join(command).join("trace")).unwrap();
        (command.to_owned(), json!(steps(&trace)))
    });
    found.as_object_mut().unwrap().insert(ONE_COMMAND.to_owned(), Value::Object(traces.into_iter().collect()));
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
    let yaml = text("incus/metadata.yaml");
    let metadata: Value = serde_saphyr::from_str(&yaml).unwrap();
    let time = |key: &str| metadata[key].as_i64().unwrap();
    assert_eq!(time("expiry_date") - time("creation_date"), 2 * 86_400);
    let without_times = |yaml: &str| {
        let is_time = |line: &&str| line.starts_with("creation_date: ") || line.starts_with("expiry_date: ");
        assert_eq!(yaml.lines().filter(is_time).count(), 2);
        yaml.lines().filter(|line| !is_time(line)).map(str::to_owned).collect::<Vec<_>>()
    };
    let mut meta = contents(&directory.join("meta"));
    meta.insert("expiry".to_owned(), "a time".to_owned());
    let mut tree = contents(&directory.join("tree/etc"));
    // Distrobuilder empties the image's own.
    tree.remove("resolv.conf");
    tree.insert("directory/inner/file".to_owned(), text("tree/etc/directory/inner/file"));
    tree.insert("cloud/cloud-init.disabled".to_owned(), text("tree/etc/cloud/cloud-init.disabled"));
    assert!(!directory.join("tree/etc/gone").exists());
    let names = text("unified.txt");
    json!({
        "steps": steps(&text("tree/trace")),
        "LXC metadata": meta,
        "Incus metadata": without_times(&yaml),
        "Incus templates": contents(&directory.join("incus/templates")),
        "tree": tree,
        "unified tarball": names.lines().collect::<Vec<_>>(),
        "unified metadata": without_times(&text("unified/metadata.yaml")),
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

/// `build-dir`, then every way of packing it; then the commands that do both.
const BUILD: &str = "cd /mnt\n\
                     mkdir lxc incus unified\n\
                     distrobuilder build-dir probe.yaml tree --cache-dir /tmp/c1 --sources-dir /tmp/s\n\
                     distrobuilder pack-lxc probe.yaml tree lxc --cache-dir /tmp/c2 --compression gzip\n\
                     distrobuilder pack-incus probe.yaml tree incus --cache-dir /tmp/c3 --compression gzip\n\
                     distrobuilder pack-incus probe.yaml tree unified --cache-dir /tmp/c4 --compression gzip --type unified\n\
                     mv unified/*.tar.gz unified/unified.tar.gz\n\
                     distrobuilder build-lxc probe.yaml build-lxc --cache-dir /tmp/c5 --compression gzip --sources-dir /tmp/s\n\
                     tar -C build-lxc -xf build-lxc/rootfs.tar.gz ./trace\n\
                     distrobuilder build-incus probe.yaml build-incus --cache-dir /tmp/c6 --compression gzip --type unified \
                     --sources-dir /tmp/s\n\
                     tar -C build-incus --strip-components 1 -xf build-incus/*.tar.gz rootfs/trace\n";

/// `$1` LXC's files, `$2` Incus's, `$3` the unified tarball's directory, `$4` where what is compared goes.
const EXTRACT: &str = "mkdir -p \"$4/meta\" \"$4/incus\" \"$4/tree\" \"$4/unified\"\n\
                       tar -C \"$4/meta\" -xf \"$1\"/meta.tar.xz\n\
                       tar -C \"$4/incus\" -xf \"$2\"/incus.tar.?z*\n\
                       tar -C \"$4/tree\" -xf \"$1\"/rootfs.tar.?z* ./trace ./etc\n\
                       tar -C \"$4/unified\" -xf \"$3\"/unified.tar.?z metadata.yaml\n\
                       tar -tf \"$3\"/unified.tar.?z | grep -E '^(metadata|templates/|rootfs/(etc|bin)/)' | \
                       grep -v resolv.conf | LC_ALL=C sort >\"$4/unified.txt\"\n";

/// The steps of distrobuilder's commands that do everything at once.
const ONE_COMMAND: &str = "steps of one command";

const PROBE: &str = include_str!("probe.json");
