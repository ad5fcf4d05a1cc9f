//! `diff` says what changed between two builds, and only of builds that are what their records say.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::common::{World, builder, output_of};

fn status(packages: &[(&str, &str)]) -> String {
    let one = |(name, version): &(&str, &str)| {
        format!("Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n\n")
    };
    packages.iter().map(one).collect()
}

/// A build of a tree with these packages, and of this spec.
fn build(world: World, packages: &[(&str, &str)], text: &str, config: &str, serial: &str) -> (World, PathBuf) {
    let status = status(packages);
    let world = world.with_files([("var/lib/dpkg/status", status.as_str())]);
    let spec = world.spec(text);
    let replaced = fs::read_to_string(&spec).unwrap().replace("lxc.include = x", config);
    fs::write(&spec, replaced).unwrap();
    let mut command = builder();
    command.arg("build").arg(&spec).arg("--output").arg(world.path("out")).args(["--no-cache", "--formats", "lxc"]);
    let done = command.args(["--xz-level", "0", "--serial", serial]).assert().success();
    let directory = PathBuf::from(output_of(&done).0.trim_end());
    (world, directory)
}

const FIRST: &str = "files:\n- {generator: dump, path: /etc/kept, content: same}\n\
                     - {generator: dump, path: /etc/motd, content: one}\n\
                     - {generator: dump, path: /etc/secret, content: x, mode: 0644}\n\
                     - {generator: dump, path: /etc/gone, content: x}\n";
const SECOND: &str = "files:\n- {generator: dump, path: /etc/kept, content: same}\n\
                      - {generator: dump, path: /etc/motd, content: three}\n\
                      - {generator: dump, path: /etc/secret, content: x, mode: 0600}\n\
                      - {generator: dump, path: /etc/new, content: abc}\n";

#[test]
fn packages_files_sizes_and_configuration_that_changed_are_named() {
    let Some(world) = World::new() else { return };
    let (world, from) =
        build(world, &[("dash", "0.5"), ("gone", "1"), ("libc6", "2.36")], FIRST, "lxc.arch = old", "20261123_0001");
    let (_world, to) =
        build(world, &[("dash", "0.6"), ("libc6", "2.36"), ("new", "7")], SECOND, "lxc.arch = new", "20261124_0001");
    let text = output_of(&builder().arg("diff").args([&from, &to]).assert().success()).0;
    for expected in [
        "test/1.0/amd64/default 20261123_0001 -> test/1.0/amd64/default 20261124_0001\n",
        "\nHow they were made\n  spec ",
        "\nPackages: 1 added, 1 removed, 1 changed\n  - gone:amd64 1\n  + new:amd64 7\n  ~ dash:amd64 0.5 -> 0.6\n",
        "\nFiles: 1 added, 1 removed, 3 changed\n  - /etc/gone  2 B\n  + /etc/new  4 B\n  ~ /etc/motd  content 4 bytes ",
        "\n  ~ /etc/secret  mode 0644 -> 0600\n  ~ /var/lib/dpkg/status  content ",
        "\nSizes\n",
        "\nConfiguration\n  meta.tar.xz config\n    -lxc.arch = old\n    +lxc.arch = new\n",
        "\n  image.yaml\n    -",
    ] {
        assert!(text.contains(expected), "expected `{expected}` in: {text}");
    }
    assert!(!text.contains("kept") && !text.contains("expiry") && !text.contains("libc6"), "{text}");
    let json = output_of(&builder().arg("diff").args([&from, &to]).args(["--format", "json"]).assert().success()).0;
    let found: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(found["packages"]["changed"][0]["to"], "0.6");
    assert_eq!(found["files"]["added"][0]["path"], "/etc/new");
    assert_eq!(found["files"]["changed"][1]["changes"][0]["what"], "mode");
    let config = found["config"].as_array().unwrap().iter().find(|one| one["member"] == "config.3").unwrap();
    assert_eq!(config["lines"], serde_json::json!(["-lxc.arch = old", "+lxc.arch = new"]));
    assert_eq!(found["same_inputs"], false);
}

#[test]
fn a_build_that_was_made_again_differs_in_nothing() {
    let Some(world) = World::new() else { return };
    let (world, from) = build(world, &[("dash", "0.5")], FIRST, "lxc.arch = x", "20261123_0001");
    let (_world, to) = build(world, &[("dash", "0.5")], FIRST, "lxc.arch = x", "20261124_0001");
    let done = builder().arg("diff").args([&from, &to]).assert().success();
    let (text, said) = output_of(&done);
    assert!(!text.contains("Packages") && !text.contains("Configuration"), "{text}");
    // The files of the spec were written at different times.
    assert!(!text.contains("Files: ") || text.contains("0 added, 0 removed, 0 changed\n"), "{text}");
    let same = builder().arg("diff").args([&from, &from]).assert().success();
    assert!(output_of(&same).1.contains("The two builds have the same content"), "{said}");
}

#[test]
fn a_build_that_is_not_what_its_record_says_is_refused() {
    let Some(world) = World::new() else { return };
    let (world, from) = build(world, &[("dash", "0.5")], FIRST, "lxc.arch = x", "20261123_0001");
    let (world, to) = build(world, &[("dash", "0.5")], SECOND, "lxc.arch = x", "20261124_0001");
    let packages = to.join("packages.json");
    let text = fs::read_to_string(&packages).unwrap();
    fs::write(&packages, text.replace("0.5", "0.6")).unwrap();
    let refused = output_of(&builder().arg("diff").args([&from, &to]).assert().code(1)).1;
    assert!(refused.contains("packages.json` is not what the build's record says"), "{refused}");
    fs::write(&packages, text).unwrap();
    fs::copy(from.join("rootfs.tar.xz"), to.join("rootfs.tar.xz")).unwrap();
    let refused = output_of(&builder().arg("diff").args([&from, &to]).assert().code(1)).1;
    assert!(refused.contains("rootfs.tar.xz` is not what the build's record says"), "{refused}");
    let nothing = output_of(&builder().arg("diff").arg(&from).arg(world.path("")).assert().code(1)).1;
    assert!(nothing.contains("no build is in") && nothing.contains("hint: "), "{nothing}");
}
