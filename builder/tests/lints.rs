//! A build is not called good when its image has what no image should have, unless that is allowed by name.

use std::fs;

use crate::common::{World, output_of};

const KEY: &str = "-----BEGIN PRIVATE KEY-----";

#[test]
fn an_image_with_a_secret_is_refused_and_its_tree_is_kept() {
    let Some(world) = World::new() else { return };
    let spec = world.spec(&format!("files:\n- {{generator: dump, path: /etc/ssl/key.pem, content: '{KEY}'}}\n"));
    let stderr = output_of(&world.build(&spec).assert().code(1)).1;
    for expected in ["the image is not good", "private-keys: `/etc/ssl/key.pem`", "hint: ", "--allow-lint private-keys"]
    {
        assert!(stderr.contains(expected), "expected `{expected}` in: {stderr}");
    }
    assert!(!world.built().exists());
    assert_eq!(world.kept().len(), 1);
    let other = output_of(&world.build(&spec).args(["--allow-lint", "machine-id"]).assert().code(1)).1;
    assert!(other.contains("private-keys: "), "{other}");
    let allowed = world.build(&spec).args(["--allow-lint", "private-keys"]).assert().success();
    assert!(output_of(&allowed).1.contains("private-keys: `/etc/ssl/key.pem`, allowed by `--allow-lint private-keys`"));
    assert!(world.built().join("build.json").exists());
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let Some(world) = World::new() else { return };
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let spec = world.spec(&format!(
        "files:\n- {{generator: dump, path: /etc/issue, content: LXC_NAME, templated: on}}\n\
         - {{generator: dump, path: /etc/mailname, content: {}}}\n\
         - {{generator: dump, path: /etc/dropbear/dropbear_rsa_host_key, content: x}}\n\
         - {{generator: dump, path: /etc/apt/sources.list, content: 'deb http://127.0.0.1:9/x sid main'}}\n\
         actions:\n- {{trigger: post-files, action: \"#!/bin/sh\\nrm /etc/issue\"}}\n",
        host.trim()
    ));
    let mirror = "source.url=http://127.0.0.1:9/x";
    let archive = format!("source.url=file://{}", world.path("root.tar").display());
    let stderr = output_of(&world.build(&spec).args(["-o", mirror, "-o", &archive]).assert().code(1)).1;
    for expected in ["templates: `/etc/issue`", "ssh-host-keys: `/etc/dropbear/"] {
        assert!(stderr.contains(expected), "expected `{expected}` in: {stderr}");
    }
    let says_nothing = ["localhost", "(none)", "debian", "host"].contains(&host.trim());
    assert!(says_nothing || stderr.contains("host-name: `/etc/mailname`"), "{stderr}");
    // A mirror that was given counts, and the last one that was given is the one.
    assert!(!stderr.contains("mirror: "), "{stderr}");
}

#[test]
fn an_image_that_suddenly_lost_half_its_size_is_refused() {
    let Some(world) = World::new() else { return };
    fs::File::create(world.path("large")).unwrap().set_len(40 << 20).unwrap();
    let spec = world.spec("files:\n- {generator: copy, path: /srv/large, source: large}\n");
    world.build(&spec).assert().success();
    fs::rename(world.built(), world.built().with_file_name("20261122_0522")).unwrap();
    let spec = world.spec("");
    let stderr = output_of(&world.build(&spec).assert().code(1)).1;
    assert!(stderr.contains("size: ") && stderr.contains("in the build before"), "{stderr}");
    world.build(&spec).args(["--allow-lint", "size"]).assert().success();
}
