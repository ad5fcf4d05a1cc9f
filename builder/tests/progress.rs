//! Progress is for who watches: on a terminal a line that moves, elsewhere one plain line for each stage.

use std::process::Command as Program;

use crate::common::{World, output_of};

const SPEC: &str = "files:\n- {generator: dump, path: /etc/motd, content: x}\n\
                    actions:\n- {trigger: post-files, action: \"#!/bin/sh\\nsleep 1\"}\n";

#[test]
fn elsewhere_than_on_a_terminal_there_is_one_plain_line_for_each_stage() {
    let Some(world) = World::new() else { return };
    let said = output_of(&world.build(&world.spec(SPEC)).assert().success()).1;
    let stages: Vec<&str> = said.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(stages, ["unpack", "files", "post-files", "tidy", "lxc", "Built"], "{said}");
    assert!(!said.contains(['\u{1b}', '\r']), "{said:?}");
}

#[test]
fn on_a_terminal_the_stage_at_work_is_shown_with_its_place() {
    let Some(world) = World::new() else { return };
    if Program::new("script").arg("--version").output().is_err() {
        testkit::skip("no script: install the package `bsdutils`");
        return;
    }
    let spec = world.spec(SPEC);
    // `script` runs a shell's line on a terminal of its own.
    let line = format!(
        "'{}' build '{}' --output '{}' --no-cache --formats lxc --xz-level 0 --serial 20261123_0522",
        env!("CARGO_BIN_EXE_rootcellar-builder"),
        spec.display(),
        world.path("out").display()
    );
    let mut terminal = Program::new("script");
    terminal.args(["--quiet", "--return", "--command", &line, "/dev/null"]).env("TERM", "xterm").env("COLUMNS", "120");
    let output = terminal.output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{shown}");
    assert!(shown.contains("[3/5] post-files"), "{shown:?}");
    assert!(shown.contains("Built test/1.0/amd64/default 20261123_0522"), "{shown:?}");
}
