//! Shells complete the command line, and man shows its pages.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::world::{Host, PROGRAM, Said};

#[test]
fn bash_completes_commands_and_options() {
    if Command::new("bash").arg("--version").output().is_err() {
        testkit::skip("there is no `bash`");
        return;
    }
    let complete = |words: &str, last: &str| {
        let script = format!(
            "source <(\"$0\" completions bash); COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _rootcellar rootcellar {last} rootcellar; echo \"${{COMPREPLY[*]}}\"; complete -p rootcellar"
        );
        let said = Command::new("bash").args(["--norc", "-c", &script, PROGRAM]).output().unwrap();
        Said::of(&said).succeeds().stdout
    };
    assert!(complete("rootcellar cre", "cre").starts_with("create\n"));
    assert!(complete("rootcellar remote tr", "tr").starts_with("trust\n"));
    assert!(complete("rootcellar create --off", "--off").starts_with("--offline\n"));
    assert!(!complete("rootcellar internal", "internal").starts_with("internal"));
    assert!(complete("rootcellar cre", "cre").contains("complete "));
}

/// Names of environment variables in the sources, in quotes as code has them.
fn variables() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut waiting = vec![root.join("src"), root.join("../crates/terminal/src")];
    let mut found = BTreeSet::new();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        let is_name = |word: &&str| {
            ["ROOTCELLAR_", "XDG_", "LXC_CACHE"].iter().any(|start| word.starts_with(start))
                && word.chars().all(|c| c.is_ascii_uppercase() || c == '_')
        };
        found.extend(text.split('"').filter(is_name).map(str::to_owned));
    }
    // Only tests set it, and only builds for tests look at it.
    found.remove("ROOTCELLAR_CHECKPOINT");
    found
}

#[test]
fn the_readme_and_the_pages_name_every_variable_and_every_command() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let host = Host::new();
    host.run(&format!("man {}", host.at("man1").display())).succeeds();
    let page = fs::read_to_string(host.at("man1/rootcellar.1")).unwrap().replace("\\-", "-");
    let variables = variables();
    assert!(variables.len() >= 10, "{variables:?}");
    for variable in variables {
        assert!(readme.contains(&format!("`{variable}`")), "the README does not name {variable}");
        assert!(page.contains(&variable), "the page does not name {variable}");
    }
    for page in host.tree("man1") {
        let name = page.file_stem().unwrap().to_str().unwrap().to_owned();
        let Some(command) = name.strip_prefix("rootcellar-") else { continue };
        let last = command.rsplit_once('-').filter(|(group, _)| ["cache", "remote", "template"].contains(group));
        let word =
            if command == "remote-config-template" { "config-template" } else { last.map_or(command, |last| last.1) };
        let is_named = ["`", " "].iter().any(|end| {
            readme.contains(&format!("`{word}{end}")) || readme.contains(&format!("`rootcellar {word}{end}"))
        });
        assert!(is_named || readme.contains(&format!(" {word}`")), "the README does not name `{command}`");
    }
}

#[test]
fn the_template_has_a_page_and_its_help_names_all_it_takes() {
    let host = Host::new();
    host.run(&format!("man {}", host.at("man1").display())).succeeds();
    let page = fs::read_to_string(host.at("man1/lxc-download.1")).unwrap().replace("\\-", "-");
    let help = Said::of(&host.template().arg("--help").output().unwrap()).stdout;
    let options = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/template/getopt.rs")).unwrap();
    let options: Vec<&str> = options.split("opt(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(options.len() > 20, "{options:?}");
    let options = options.iter().map(|option| format!("--{option}"));
    for word in options.chain(["ROOTCELLAR_FINGERPRINT".to_owned(), "ROOTCELLAR_CA".to_owned()]) {
        assert!(help.contains(&word), "the help does not name {word}");
        assert!(page.contains(&word), "the page does not name {word}");
    }
    for section in ["SYNOPSIS", "OPTIONS", "EXIT STATUS", "FILES", "ENVIRONMENT"] {
        assert!(
            page.contains(&format!(".SH {section}\n")) || page.contains(&format!(".SH \"{section}\"\n")),
            "{section}"
        );
    }
}

#[test]
fn the_template_of_the_configuration_can_be_had_and_is_one() {
    let host = Host::new();
    let template = host.run("remote config-template").succeeds().stdout;
    assert!(template.contains("#[remotes.home]") && template.contains("#default_remote"), "{template}");
    host.configure(&template);
    host.run("remote list").succeeds();
}

#[test]
fn every_command_has_a_page_that_man_can_show() {
    let host = Host::new();
    let pages = host.at("man1");
    host.run(&format!("man {}", pages.display())).succeeds();
    let names = host.tree("man1");
    assert!(names.contains(&pages.join("rootcellar.1")) && names.contains(&pages.join("rootcellar-remote-add.1")));
    assert!(!names.iter().any(|page| page.display().to_string().contains("internal")), "{names:?}");
    for page in &names {
        let text = fs::read_to_string(page).unwrap();
        for section in ["SYNOPSIS", "\"EXIT STATUS\"", "FILES", "ENVIRONMENT"] {
            assert!(text.contains(&format!("\n.SH {section}\n")), "no {section} in {}", page.display());
        }
    }
    let show = |page: &str| Command::new("man").args(["--warnings", "-l"]).arg(pages.join(page)).output();
    let (Ok(shown), Ok(of_template)) = (show("rootcellar.1"), show("lxc-download.1")) else {
        testkit::skip("there is no `man`");
        return;
    };
    assert_eq!(Said::of(&of_template).succeeds().stderr, "");
    let shown = Said::of(&shown).succeeds();
    assert!(shown.stdout.contains("SYNOPSIS") && shown.stdout.contains("rootcellar-create(1)"), "{}", shown.stdout);
    assert_eq!(shown.stderr, "");
}
