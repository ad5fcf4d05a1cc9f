use std::error::Error;

use super::text::Text;
use super::*;

const MINIMAL: &str = "image: {distribution: debian, release: bookworm, architecture: x86_64}\n\
                       source: {downloader: debootstrap}\npackages: {manager: apt}\n\
                       mappings: {architecture_map: debian}\n";

fn now() -> Timestamp {
    Timestamp::from_unix(1_795_411_320)
}

fn parse(yaml: &str) -> Result<Spec, SpecErrorKind> {
    Spec::parse(yaml, &[], now())
}

/// Every message of the error, outermost first.
fn message(yaml: &str) -> String {
    let error = parse(yaml).err().unwrap_or_else(|| panic!("accepted:\n{yaml}"));
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[test]
fn what_is_left_out_gets_the_defaults_of_the_field() {
    let spec = parse(MINIMAL).unwrap();
    assert_eq!(spec.image.to_string(), "debian/bookworm/amd64/default");
    assert_eq!(spec.serial.as_str(), "20261123_0522");
    assert_eq!(spec.cache_span, Span::from_days(30));
    let image = &spec.definition.image;
    assert_eq!(image.architecture_mapped, "amd64");
    assert_eq!(image.architecture_kernel, "x86_64");
    assert_eq!(image.architecture_personality, "linux64");
    let templates = spec.templates().unwrap();
    let shown = |text: &Text| templates.render("image", text).unwrap();
    assert_eq!(shown(&image.name), "debian-bookworm-amd64-default-20261123_0522");
    assert_eq!(shown(&image.description), "Debian bookworm amd64 (20261123_0522)");
}

#[test]
fn scalars_keep_their_spelling_whatever_yaml_would_make_of_them() {
    let yaml = format!(
        "{MINIMAL}files:\n- {{generator: dump, path: /a, mode: 0600, content: ~, uid: 1_000}}\n\
         actions:\n- {{trigger: post-files, action: yes, releases: [16.0, 3.20, 8, true, 0x10, null]}}\n"
    );
    let definition = parse(&yaml).unwrap().definition;
    let file = &definition.files[0];
    assert_eq!([&file.mode, &file.content, &file.uid], [&"0600".into(), &"".into(), &Text::from("1_000")]);
    assert_eq!(definition.actions[0].action, "yes");
    assert_eq!(definition.actions[0].releases, ["16.0", "3.20", "8", "true", "0x10", ""].map(Text::from));
}

#[test]
fn a_command_that_looks_like_a_boolean_stays_a_command() {
    let yaml = "image: {distribution: busybox}\nsource: {downloader: busybox}\npackages:\n  custom_manager:\n    \
                clean: {cmd: true}\n    install: {cmd: true}\n    remove: {cmd: true}\n    refresh: {cmd: true}\n    \
                update: {cmd: true}\n";
    assert_eq!(parse(yaml).unwrap().definition.packages.custom_manager.unwrap().clean.cmd, "true");
}

#[test]
fn booleans_are_read_as_yaml_1_1_spells_them() {
    for (text, expected) in [("yes", true), ("on", true), ("True", true), ("no", false), ("off", false)] {
        let yaml = MINIMAL.replace("{manager: apt}", &format!("{{manager: apt, update: {text}}}"));
        assert_eq!(parse(&yaml).unwrap().definition.packages.update, expected, "{text}");
    }
    assert!(parse(&MINIMAL.replace("{manager: apt}", "{manager: apt, update: 7}")).is_err());
}

#[test]
fn keys_without_a_value_are_empty() {
    let spec = parse(&format!("{MINIMAL}files:\nactions: ~\nenvironment:\ntargets:\n  lxc:\n")).unwrap();
    assert!(spec.definition.files.is_empty());
}

#[test]
fn every_key_of_the_field_is_accepted() {
    let yaml = "
image: {distribution: d, release: r, architecture: amd64, variant: v, expiry: 1h 30m, serial: 20261123_0522,
        name: n, description: d, architecture_mapped: a, architecture_kernel: a, architecture_personality: a}
source: {downloader: rootfs-http, url: u, keys: [k], keyserver: k, variant: v, suite: s, same_as: 3.12,
         skip_verification: on, components: [main]}
targets:
  lxc:
    create_message: m
    config:
    - {type: user, before: 5, after: 1, content: c, releases: [r], architectures: [a], variants: [v], types: [vm]}
  lxd: {vm: {size: 4294967296, filesystem: ext4, boot_size: 104857600}}
files:
- {generator: cloud-init, path: p, content: c, name: n, template: {properties: {a: 1}, when: [create]},
   templated: no, mode: 0755, gid: 0, uid: 0, pongo: yes, source: s, releases: [], types: [container, vm]}
packages:
  manager: apt
  update: yes
  cleanup: yes
  sets:
  - {packages: [a], action: install, early: true, flags: [-x], variants: [v]}
  repositories:
  - {name: n, url: u, type: t, key: k, architectures: [amd64]}
actions:
- {trigger: post-update, action: a, pongo: true, releases: [r]}
mappings: {architecture_map: debian, architectures: {a: b}}
environment: {clear_defaults: true, variables: [{key: k, value: 1.10, variants: [v]}]}
";
    let definition = parse(yaml).unwrap().definition;
    assert_eq!(definition.source.same_as, "3.12");
    assert_eq!(definition.targets.incus.vm.unwrap().boot_size, Some(104_857_600));
    assert_eq!(definition.environment.variables[0].value, "1.10");
}

#[test]
fn specs_that_lie_are_refused_with_the_reason_and_the_place() {
    let with = |text: &str| format!("{MINIMAL}{text}");
    for (yaml, expected) in [
        (with("colour: red\n"), "unknown field `colour`"),
        (with("files:\n- {generator: dump, colour: red}\n"), "unknown field `colour`"),
        (with("mappings: {}\n"), "duplicate"),
        (with("actions:\n- {trigger: post-install, action: x}\n"), "post-install"),
        (with("actions:\n- {trigger: Post-Files, action: x}\n"), "Post-Files"),
        (with("actions:\n- {action: x}\n"), "trigger"),
        (with("files:\n- {generator: ' dump'}\n"), "dump"),
        (with("files:\n- {path: /a}\n"), "generator"),
        (with("files:\n- {generator: dump, types: [lxc]}\n"), "lxc"),
        (with("files:\n- {generator: dump, path: /a, mode: 0999}\n"), "files[0] (line 6)"),
        (with("targets: {lxc: {config: [{type: sytem, content: x}]}}\n"), "sytem"),
        (MINIMAL.replace("manager: apt", "manager: aptitude"), "`aptitude`"),
        (MINIMAL.replace("manager: apt", "update: true"), "no package manager"),
        (MINIMAL.replace("manager: apt", "manager: apt, custom_manager: {}"), "both"),
        (MINIMAL.replace("manager: apt", "custom_manager: {clean: {cmd: x}}"), "custom_manager.install.cmd"),
        (MINIMAL.replace("distribution: debian", "distribution: ' '"), "`image.distribution`"),
        (MINIMAL.replace("distribution: debian", "distribution: ../etc"), "`image.distribution`"),
        (MINIMAL.replace("release: bookworm", "release: a/b"), "`image.release`"),
        (MINIMAL.replace("architecture: x86_64", "architecture: vax"), "`vax`"),
        (MINIMAL.replace("downloader: debootstrap", "downloader: ftp"), "`ftp`"),
        (MINIMAL.replace("architecture_map: debian", "architecture_map: gnu"), "`gnu`"),
        (MINIMAL.replace("release: bookworm", "expiry: soon"), "`image.expiry`"),
        (MINIMAL.replace("release: bookworm", "serial: today"), "`image.serial`"),
        ("- a list\n".to_owned(), "line"),
        ("image: [\n".to_owned(), "line"),
    ] {
        let message = message(&yaml);
        assert!(message.contains(expected), "expected `{expected}` in: {message}\n{yaml}");
    }
}

#[test]
fn an_error_in_the_text_names_its_line() {
    let message = message(&format!("{MINIMAL}files:\n- generator: dump\n  colour: red\n"));
    assert!(message.contains("line 7") || message.contains(":7:"), "{message}");
}

#[test]
fn an_override_wins_before_defaults_and_checks() {
    let overrides = ["image.release=trixie", "image.architecture=arm64", "source.downloader=rootfs-http"]
        .map(|text| text.parse().unwrap());
    let spec = Spec::parse(MINIMAL, &overrides, now()).unwrap();
    assert_eq!(spec.image.to_string(), "debian/trixie/arm64/default");
    assert_eq!(spec.definition.image.architecture_mapped, "arm64");
}

#[test]
fn the_resolved_spec_is_a_spec_for_the_same_image() {
    let yaml = format!(
        "{MINIMAL}files:\n- {{generator: dump, path: /a, mode: 0644, content: \"a: '1'\\n\", releases: [3.20, '']}}\n\
         environment: {{variables: [{{key: A, value: no}}]}}\n"
    );
    let spec = parse(&yaml).unwrap();
    let resolved = spec.to_yaml().unwrap();
    assert!(!resolved.contains("pongo"), "{resolved}");
    let again = Spec::parse(&resolved, &[], Timestamp::from_unix(0)).unwrap();
    assert_eq!(again.definition, spec.definition, "{resolved}");
}
