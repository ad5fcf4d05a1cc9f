use formats::record::BuildFile;
use formats::time::Timestamp;

use super::*;
use crate::spec::overrides::Override;

const BASE: &str = "image: {distribution: debian, release: bookworm, architecture: amd64}\n\
                    source: {downloader: debootstrap, variant: minbase}\n\
                    mappings: {architecture_map: debian}\n\
                    targets: {lxc: {config: [{type: all, content: lxc.include = x}]}}\n";

fn formats() -> Formats {
    Formats { lxc: true, incus: true, unified: false }
}

fn plan_with(text: &str, overrides: &[&str]) -> Result<Plan, PlanError> {
    let overrides: Vec<Override> = overrides.iter().map(|text| text.parse().unwrap()).collect();
    let spec = Spec::parse(&format!("{BASE}{text}"), &overrides, Timestamp::from_unix(1_795_411_320)).unwrap();
    Plan::of(&spec, formats())
}

fn plan(text: &str) -> Result<Plan, PlanError> {
    plan_with(text, &[])
}

fn labels(plan: &Plan) -> Vec<String> {
    plan.lines().into_iter().map(|line| format!("{}: {}", line.stage, line.what)).collect()
}

#[test]
fn stages_run_in_distrobuilders_order_whatever_the_order_in_the_file() {
    let plan = plan(
        "actions:\n\
         - {trigger: post-files, action: '#!/bin/sh'}\n\
         - {trigger: post-packages, action: '#!/bin/sh'}\n\
         - {trigger: post-packages, action: '#!/bin/sh', types: [container]}\n\
         - {trigger: post-update, action: '#!/bin/sh'}\n\
         - {trigger: post-unpack, action: '#!/bin/sh'}\n\
         files:\n- {generator: hostname, path: /etc/hostname}\n- {generator: remove, path: /a, types: [vm]}\n\
         packages:\n  manager: apt\n  update: true\n  cleanup: true\n  sets:\n\
         \x20 - {action: install, packages: [a]}\n  - {action: install, packages: [b, c]}\n\
         \x20 - {action: remove, packages: [d]}\n  - {action: install, packages: [e], types: [container]}\n\
         \x20 repositories:\n  - {name: extra, url: 'deb x {{ image.release }} main'}\n",
    )
    .unwrap();
    assert_eq!(
        labels(&plan),
        [
            "unpack: bootstrap bookworm (minbase, amd64)",
            "repositories: write /etc/apt/sources.list.d/extra.list",
            "post-unpack: post-unpack action actions[4] (line 10)",
            "refresh: refresh the package lists",
            "packages: upgrade packages",
            "packages: post-update action actions[3] (line 9)",
            "packages: install 3 packages",
            "packages: remove d",
            "post-packages: post-packages action actions[1] (line 7)",
            "container-packages: install e",
            "container-post-packages: post-packages action actions[2] (line 8)",
            "files: put the container's name in /etc/hostname",
            "post-files: post-files action actions[0] (line 6)",
            "tidy: remove caches, logs, host names, keys and machine ids",
            "incus: rootfs.squashfs",
            "incus: incus.tar.xz",
            "incus: lxd.tar.xz",
            "lxc: rootfs.tar.xz",
            "lxc: meta.tar.xz",
            "record: image.yaml",
            "record: packages.json",
            "record: sbom.spdx.json",
        ]
    );
    assert_eq!(plan.installs[0].repositories[0].content, "deb x bookworm main\n");
}

#[test]
fn every_stage_says_which_tree_it_goes_on_from() {
    let text = "packages: {manager: apt}\nactions:\n- {trigger: post-files, action: '#!/a'}\n\
                - {trigger: post-files, action: '#!/b'}\n- {trigger: post-unpack, action: '#!/c'}\n";
    let lines = plan(text).unwrap().lines();
    let after: Vec<_> = lines.iter().map(|line| (line.stage.as_str(), line.after.as_deref())).collect();
    let first = [
        ("unpack", None),
        ("post-unpack", Some("unpack")),
        ("post-files.1", Some("post-unpack")),
        ("post-files.2", Some("post-files.1")),
        ("tidy", Some("post-files.2")),
        ("incus", Some("tidy")),
    ];
    assert_eq!(after[..first.len()], first);
    assert!(after.contains(&("lxc", Some("tidy"))));
}

#[test]
fn lists_that_the_bootstrap_has_just_fetched_are_not_fetched_again() {
    let plan = plan("packages: {manager: apt, sets: [{action: install, packages: [a]}]}\n").unwrap();
    let Run::Command(command) = &plan.installs[0].steps[0].run else { panic!("{plan:?}") };
    assert_eq!(command, &["apt-get", "-y", "install", "a"]);
    assert_eq!(plan.installs[0].steps.len(), 1);
}

#[test]
fn a_custom_manager_runs_its_own_commands_with_and_without_flags() {
    let plan = plan(
        "packages:\n  update: true\n  cleanup: true\n  custom_manager:\n    flags: [-q]\n    clean: {cmd: true}\n\
         \x20   install: {cmd: in, flags: [-y]}\n    remove: {cmd: rm}\n    refresh: {cmd: re}\n    update: {cmd: up}\n\
         \x20 sets: [{action: install, packages: [a], flags: [-z]}, {action: install, packages: [b]}]\n\
         \x20 repositories: []\nactions: [{trigger: post-unpack, action: '#!/x'}]\n",
    )
    .unwrap();
    let commands: Vec<String> = plan
        .installs
        .iter()
        .flat_map(|install| &install.steps)
        .filter_map(|step| match &step.run {
            Run::Command(words) => Some(words.join(" ")),
            Run::Script(_) => None,
        })
        .collect();
    assert_eq!(commands, ["re -q", "up -q", "in -q -y -z a", "in -q -y b", "true -q"]);
}

#[test]
fn repositories_of_one_name_share_a_file_and_keys_go_beside_it() {
    let plan = plan(
        "packages:\n  manager: apt\n  repositories:\n  - {name: sources.list, url: deb a}\n\
         \x20 - {name: sources.list, url: deb b, architectures: [arm64]}\n  - {name: sources.list, url: deb c}\n\
         \x20 - {name: x, url: deb d, key: '-----BEGIN PGP PUBLIC KEY BLOCK-----'}\n",
    )
    .unwrap();
    let files: Vec<_> =
        plan.installs[0].repositories.iter().map(|file| (file.path.as_str(), file.content.as_str())).collect();
    assert_eq!(files[0], ("/etc/apt/sources.list", "deb a\ndeb c\n"));
    assert_eq!(files[1], ("/etc/apt/sources.list.d/x.list", "deb d\n"));
    assert_eq!(files[2].0, "/etc/apt/trusted.gpg.d/x.asc");
}

#[test]
fn what_this_version_cannot_do_is_refused_by_the_name_of_its_key() {
    let apt = "packages: {manager: apt}\n";
    for (text, overrides, expected) in [
        ("packages: {manager: pacman, repositories: [{name: a}]}\n", &[][..], "packages.repositories[0]"),
        ("packages: {manager: zypper, repositories: [{name: a}]}\n", &[], "`url`"),
        ("packages: {manager: equo, repositories: [{name: a, type: b}]}\n", &[], "`b`"),
        (apt, &["source.downloader=openwrt-http"], "`source.downloader`"),
        (apt, &["source.downloader=rootfs-http", "source.url=ftp://h/a.tar"], "`url`"),
        (apt, &["source.downloader=alpinelinux-http", "source.url=file:///a"], "`url`"),
        (apt, &["source.downloader=rootfs-http", "source.url=http://h/a.tar"], "nothing vouches"),
        (apt, &["source.downloader=rootfs-http", "source.url=https://h/a.tar"], "nothing vouches"),
        (apt, &["source.downloader=fedora-http", "source.url=https://h"], "nothing vouches"),
        (apt, &["source.downloader=voidlinux-http", "source.url=http://h"], "nothing vouches"),
        (apt, &["source.downloader=rootfs-http", "source.url=https://h/a", "source.checksum=ab"], "`source.checksum`"),
        (apt, &["source.downloader=rootfs-http", "source.url=https://h/a", "source.keyserver=k"], "`source.keyserver`"),
        (apt, &["source.downloader=ubuntu-http", "source.url=https://h/a", "image.variant=core"], "`image.variant`"),
        (apt, &["source.keyserver=h"], "`source.keyserver`"),
        (apt, &["source.variant=desktop"], "`source.variant`"),
        (apt, &["targets.incus.vm.size=5"], "`targets.incus.vm`"),
        ("packages: {manager: apt, sets: [{action: remove, early: yes, packages: [a]}]}\n", &[], "packages.sets[0]"),
        ("packages: {manager: apt, repositories: [{name: ../x, url: a}]}\n", &[], "packages.repositories[0]"),
        ("packages: {manager: apt}\nfiles: [{generator: fstab, path: /etc/fstab}]\n", &[], "types: [vm]"),
        ("packages: {manager: apt}\nfiles: [{generator: dump, path: /}]\n", &[], "`path`"),
        ("packages: {manager: apt}\nfiles: [{generator: dump, path: /a, uid: root}]\n", &[], "`uid`"),
        ("packages: {manager: apt}\nfiles: [{generator: hosts, path: /a, mode: 0600}]\n", &[], "`mode`"),
        ("packages: {manager: apt}\nfiles: [{generator: template, path: /a, name: ../a}]\n", &[], "files[0]"),
        ("packages: {manager: apt}\nfiles: [{generator: cloud-init, name: data}]\n", &[], "`data`"),
        ("packages: {manager: apt}\nactions: [{trigger: post-files, action: echo}]\n", &[], "must begin with `#!`"),
        (
            "packages: {manager: apt}\nactions: [{trigger: post-files, pongo: on, action: '#!{% x'}]\n",
            &[],
            "actions[0]",
        ),
    ] {
        let error = plan_with(text, overrides).map(|plan| labels(&plan)).unwrap_err().to_string();
        assert!(error.contains(expected), "expected `{expected}` in `{error}`");
    }
}

#[test]
fn an_image_that_no_lxc_could_start_is_refused() {
    let error = plan_with("packages: {manager: apt}\n", &["targets.lxc.config.0.before=5"]).unwrap_err();
    assert!(matches!(error, PlanError::NoConfig { .. }), "{error}");
}

#[test]
fn the_environment_has_the_contracts_defaults_and_the_specs_own_win() {
    let text = "packages: {manager: apt}\nenvironment: {variables: [{key: PATH, value: /x}, {key: A, value: 1.0}, \
                {key: B, value: b, variants: [cloud]}]}\n";
    let environment = plan(text).unwrap().environment;
    let shown = |key: &str| environment.get(key).map(String::as_str);
    assert_eq!(
        [shown("PATH"), shown("A"), shown("B"), shown("SHELL")],
        [Some("/x"), Some("1.0"), None, Some("/bin/sh")]
    );
    let cleared = plan_with(text, &["environment.clear_defaults=true"]).unwrap().environment;
    assert_eq!(cleared.len(), 2);
}

#[test]
fn early_sets_are_installed_by_the_source() {
    let text = "packages: {manager: apt, sets: [{action: install, early: yes, packages: [gpg]}]}\n";
    let plan = plan(text).unwrap();
    let Source::Debootstrap(source) = &plan.source else { panic!("{plan:?}") };
    assert_eq!(source.include, ["gpg"]);
    assert!(plan.installs.is_empty());
    assert!(plan.formats.files().contains(&BuildFile::RootfsTarXz));
}
