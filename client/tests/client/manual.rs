//! Shells complete the command line, and man shows its pages.

use std::fs;
use std::process::Command;

use crate::world::{Host, PROGRAM, Said};

#[test]
fn bash_completes_commands_and_options() {
    if Command::new("bash").arg("--version").output().is_err() {
        eprintln!("SKIP: there is no `bash`");
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
        assert!(text.contains("\n.SH SYNOPSIS\n"), "{}", page.display());
    }
    let Ok(shown) = Command::new("man").args(["--warnings", "-l"]).arg(pages.join("rootcellar.1")).output() else {
        eprintln!("SKIP: there is no `man`");
        return;
    };
    let shown = Said::of(&shown).succeeds();
    assert!(shown.stdout.contains("SYNOPSIS") && shown.stdout.contains("rootcellar-create(1)"), "{}", shown.stdout);
    assert_eq!(shown.stderr, "");
}
