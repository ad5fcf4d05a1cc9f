//! The verbs that need neither root nor network: what they print, and the codes they end with.

use crate::common::{builder, output_of};
use assert_cmd::Command;

const SPEC: &str = "image: {distribution: debian, release: bookworm, architecture: amd64}\n\
                    source: {downloader: debootstrap, variant: minbase}\n\
                    packages: {manager: apt, sets: [{action: install, packages: [less]}]}\n\
                    targets: {lxc: {config: [{type: all, content: lxc.include = x}]}}\n\
                    mappings: {architecture_map: debian}\n";

fn spec(text: &str) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("spec.yaml");
    std::fs::write(&path, text).unwrap();
    let path = path.display().to_string();
    (directory, path)
}

/// The image specs of this project, and how many images each is for.
const SPECS: [(&str, usize); 10] = [
    ("alpine", 59),
    ("archlinux", 4),
    ("busybox", 2),
    ("debian", 12),
    ("devuan", 10),
    ("fedora", 8),
    ("kali", 4),
    ("opensuse", 8),
    ("ubuntu", 22),
    ("voidlinux", 4),
];

#[test]
fn every_spec_of_this_project_is_valid_and_has_a_plan_for_each_of_its_images() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../image-specs");
    let specs = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut specs: Vec<_> =
        specs.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")).collect();
    specs.sort();
    builder().arg("validate").args(&specs).assert().success();
    let mut found = Vec::new();
    for path in &specs {
        let done = builder().arg("matrix").arg(path).args(["--format", "json"]).assert().success();
        let cells: Vec<serde_json::Value> = serde_json::from_str(&output_of(&done).0).unwrap();
        found.push((path.file_stem().unwrap().to_str().unwrap().to_owned(), cells.len()));
        for cell in cells {
            let options = cell["options"].as_array().unwrap().iter().map(|option| option.as_str().unwrap());
            let words = options.flat_map(|option| ["-o", option]);
            let plan = builder().arg("plan").arg(path).args(words).args(["--format", "json"]).assert().success();
            let plan: serde_json::Value = serde_json::from_str(&output_of(&plan).0).unwrap();
            assert_eq!(plan["image"], cell["image"]);
        }
    }
    assert_eq!(found, SPECS.map(|(name, cells)| (name.to_owned(), cells)));
}

#[test]
fn validate_reports_every_bad_spec_and_ends_with_one() {
    let (_good, good) = spec(SPEC);
    let (_bad, bad) = spec(&format!("{SPEC}colour: red\n"));
    let (_worse, worse) = spec(&SPEC.replace("manager: apt", "manager: aptitude"));
    builder().args(["validate", &good]).assert().code(0);
    let output = builder().args(["validate", &bad, &good, &worse]).assert().code(1);
    let (stdout, stderr) = output_of(&output);
    assert_eq!(stdout, "");
    for expected in ["unknown field `colour`", "line 6", "`aptitude`", "debian/bookworm/amd64/default", "hint: "] {
        assert!(stderr.contains(expected), "expected `{expected}` in: {stderr}");
    }
}

#[test]
fn a_spec_is_read_from_standard_input_with_its_lines() {
    builder().args(["validate", "-"]).write_stdin(SPEC).assert().success();
}

#[test]
fn a_plan_is_data_and_also_json() {
    let (_directory, path) = spec(SPEC);
    let text = builder().args(["plan", &path, "-o", "image.release=trixie"]).assert().success();
    let (stdout, stderr) = output_of(&text);
    assert!(stdout.contains("bootstrap trixie (minbase, amd64)"), "{stdout}");
    assert_eq!(stderr, "");
    let json = builder().args(["plan", &path, "--format", "json"]).assert().success();
    let document: serde_json::Value = serde_json::from_str(&output_of(&json).0).unwrap();
    assert_eq!(document["image"], "debian/bookworm/amd64/default");
    assert_eq!(document["stages"][0]["stage"], "unpack");
}

#[test]
fn a_matrix_is_the_images_of_a_spec_with_the_options_that_build_them() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../image-specs/debian.yaml");
    let text = builder().args(["matrix", path]).assert().success();
    assert!(output_of(&text).0.contains("debian/trixie/arm64/cloud"));
    let json = builder().args(["matrix", path, "--format", "json"]).assert().success();
    let cells: Vec<serde_json::Value> = serde_json::from_str(&output_of(&json).0).unwrap();
    assert_eq!(cells.len(), 12);
    assert_eq!(cells[0]["timeout_seconds"], 3600);
    for cell in cells {
        let options = cell["options"].as_array().unwrap().iter();
        let words = options.flat_map(|option| ["-o", option.as_str().unwrap()]);
        let plan = builder().args(["plan", path, "--format", "json"]).args(words).assert().success();
        let plan: serde_json::Value = serde_json::from_str(&output_of(&plan).0).unwrap();
        assert_eq!(plan["image"], cell["image"]);
    }
}

#[test]
fn bad_overrides_and_what_cannot_be_built_are_refused_with_one() {
    let (_directory, path) = spec(SPEC);
    for (option, expected) in [
        ("source.keys.0=", "`source.keys` has 0 entries"),
        ("image.colour=red", "unknown field `colour`"),
        ("source.downloader=openwrt-http", "`source.downloader`"),
    ] {
        let refused = builder().args(["plan", &path, "-o", option]).assert().code(1);
        let stderr = output_of(&refused).1;
        assert!(stderr.contains(expected), "{option}: {stderr}");
    }
}

#[test]
fn the_mirror_is_the_given_one() {
    let (_directory, path) = spec(SPEC);
    let plan =
        builder().args(["plan", &path, "-o", "source.url=http://mirror.example.org/{{ image.release }}"]).assert();
    assert!(output_of(&plan.success()).0.contains("from http://mirror.example.org/bookworm"));
}

#[test]
fn a_time_that_is_no_number_is_refused() {
    let (_directory, path) = spec(SPEC);
    let mut command: Command = builder();
    let refused = command.args(["plan", &path]).env("SOURCE_DATE_EPOCH", "yesterday").assert().code(1);
    assert!(output_of(&refused).1.contains("`SOURCE_DATE_EPOCH`"));
}
