//! Shells complete what only this host knows: containers, cached images and builds, remotes; and ask nobody for it.

use std::fs;
use std::process::Command;

use testkit::FakeImage;

use crate::world::{Claims, Host, PROGRAM, Said, Server, bookworm, serial};

/// A host with a cached image of two builds, two remotes and two containers.
fn world() -> (Server, Host) {
    let older = bookworm().serial(&serial(60));
    let mut server = Server::publishing(&[older, FakeImage::new("alpine/3.20/arm64/cloud")]);
    let host = Host::new();
    let remote = |name: &str| {
        format!("[remotes.{name}]\nurl = \"{}\"\nfingerprint = \"{}\"\n", server.url(), server.fingerprint())
    };
    host.configure(&format!(
        "default_remote = \"home\"\n{}{}",
        remote("home"),
        remote("work").replace("127.0.0.1", "localhost")
    ));
    for image in ["debian/12", "alpine/3.20/arm64/cloud"] {
        host.run(&format!("fetch {image}")).succeeds();
    }
    server.add(bookworm(), Claims::fresh(5));
    host.run("cache warm debian/12").succeeds();
    for name in ["web1", "web2", "db"] {
        fs::create_dir_all(host.at(&format!("containers/{name}"))).unwrap();
        fs::write(host.at(&format!("containers/{name}/config")), "").unwrap();
    }
    (server, host)
}

/// What bash makes of a line whose last word is being typed: what readline took for words decides what it replaces.
const BASH: &str = r#"
source <("$0" completions bash)
COMP_LINE="$1"
COMP_POINT=${#COMP_LINE}
current="$2"
COMP_WORDS=("$0" "$current")
COMP_CWORD=1
function=$(complete -p rootcellar)
function=${function##*-F }
"${function%% *}" "$0" "$current" rootcellar
printf '%s\n' "${COMPREPLY[@]}"
"#;

fn bash(host: &Host, line: &str) -> Option<Vec<String>> {
    if Command::new("bash").arg("--version").output().is_err() {
        testkit::skip("there is no `bash`");
        return None;
    }
    let current = line.rsplit([' ', ':', '@', '=']).next().unwrap();
    let mut command = host.command("bash");
    let said = Said::of(&command.args(["--norc", "-c", BASH, PROGRAM, line, current]).output().unwrap()).succeeds();
    assert_eq!(said.stderr, "", "{line}");
    Some(said.stdout.lines().map(str::to_owned).collect())
}

#[test]
fn bash_completes_containers_images_builds_and_remotes_without_the_network() {
    let (server, host) = world();
    let asked = server.requests("");
    let (old, new) = (serial(60), serial(0));
    let whole_id = "debian/bookworm/amd64/default";
    let cases: Vec<(String, Vec<&str>)> = vec![
        ("rootcellar start w".to_owned(), vec!["web1", "web2"]),
        ("rootcellar exec web".to_owned(), vec!["web1", "web2"]),
        ("rootcellar create web3 deb".to_owned(), vec!["debian", "debian/12", "debian/bookworm", whole_id]),
        ("rootcellar create --offline web3 debian/1".to_owned(), vec!["debian/12"]),
        ("rootcellar fetch alp".to_owned(), vec!["alpine/3.20/arm64/cloud"]),
        // Readline replaces what follows the colon or the at sign.
        ("rootcellar fetch home:debian/1".to_owned(), vec!["debian/12"]),
        ("rootcellar fetch debian/12@".to_owned(), vec![&new, &old]),
        (format!("rootcellar fetch home:debian/12@{}", &old[..old.len() - 1]), vec![&old]),
        ("rootcellar fetch ho".to_owned(), vec!["home:"]),
        ("rootcellar remote remove ".to_owned(), vec!["home", "work"]),
        ("rootcellar create --remote wo".to_owned(), vec!["work"]),
        ("rootcellar info d".to_owned(), vec!["db", "debian", "debian/12", "debian/bookworm", whole_id]),
        // Nothing of the other remote is cached.
        ("rootcellar fetch --remote work deb".to_owned(), vec![]),
        // What has no names is completed as before.
        ("rootcellar cre".to_owned(), vec!["create"]),
    ];
    for (line, expected) in cases {
        let Some(found) = bash(&host, &line) else { return };
        let found: Vec<&str> = found.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
        if expected.is_empty() {
            assert!(!found.iter().any(|name| name.starts_with("deb")), "{line}: {found:?}");
        } else {
            assert_eq!(found, expected, "{line}");
        }
    }
    assert_eq!(server.requests(""), asked, "the server was asked");
}

#[test]
fn a_directory_that_is_typed_before_counts() {
    let (_server, host) = world();
    fs::create_dir_all(host.at("other/db2")).unwrap();
    fs::write(host.at("other/db2/config"), "").unwrap();
    let line = format!("rootcellar -P {} start d", host.at("other").display());
    let Some(found) = bash(&host, &line) else { return };
    assert_eq!(found, ["db2"]);
}

#[test]
fn where_nothing_can_be_read_there_are_no_names_and_no_complaints() {
    let host = Host::new();
    host.configure("nonsense");
    for words in ["start ", "create web1 ", "fetch x:", "fetch x@", "info ", "remote remove "] {
        let mut command = host.command(PROGRAM);
        let said = Said::of(&command.args(["internal-complete", "--"]).args(words.split(' ')).output().unwrap());
        assert_eq!((said.code, said.stdout.as_str(), said.stderr.as_str()), (0, "", ""), "{words}");
    }
    assert!(host.tree("cache").is_empty() && host.tree("state").is_empty(), "nothing is made");
}

#[test]
fn zsh_completes_names_too() {
    let Ok(_) = Command::new("zsh").arg("--version").output() else {
        testkit::skip("there is no `zsh`");
        return;
    };
    let (_server, host) = world();
    // A completion shows in an interactive shell alone, so one is run on a terminal of zsh's own.
    let script = r#"
        zmodload zsh/zpty
        zpty shell zsh -f -i
        zpty -w shell "PS1='ready> '; PS2=; unsetopt prompt_sp; autoload -U compinit; compinit -u -d $HOME/dump"
        zpty -w shell 'source <($PROGRAM completions zsh); print go''on'
        zpty -r shell text '*goon*ready> '
        for line in "$@"; do
            zpty -n -w shell "$line"$'\t'
            sleep 0.5
            # What the line has become is said instead of being run.
            zpty -n -w shell $'\x01print -r -- SAID \n'
            zpty -r shell text $'*\nSAID*ready> '
            print -r -- "${text//$'\r'/}"
        done
    "#;
    let mut command = host.command("zsh");
    command.env("PROGRAM", PROGRAM).args(["-f", "-c", script, "zsh"]);
    fs::create_dir_all(host.at("home")).unwrap();
    let directory = std::path::Path::new(PROGRAM).parent().unwrap().display().to_string();
    command.env("PATH", format!("{directory}:{}", std::env::var("PATH").unwrap()));
    let lines =
        ["rootcellar start d", "rootcellar fetch home:debian/1", "rootcellar fetch alp", "rootcellar remote tr"];
    let said = Said::of(&command.args(lines).output().unwrap()).succeeds();
    for shown in ["start db", "fetch home:debian/12", "fetch alpine/3.20/arm64/cloud", "remote trust"] {
        assert!(
            said.stdout.contains(&format!("\nSAID rootcellar {shown}\n")),
            "no `{shown}` in {}\n{}",
            said.stdout,
            said.stderr
        );
    }
}

#[test]
fn fish_completes_names_too() {
    let Ok(_) = Command::new("fish").arg("--version").output() else {
        testkit::skip("there is no `fish`");
        return;
    };
    let (_server, host) = world();
    let complete = |line: &str| {
        let mut command = host.command("fish");
        let directory = std::path::Path::new(PROGRAM).parent().unwrap().display().to_string();
        command.env("PATH", format!("{directory}:{}", std::env::var("PATH").unwrap()));
        let script = format!("rootcellar completions fish | source; complete -C '{line}'");
        let said = Said::of(&command.args(["--no-config", "-c", &script]).output().unwrap()).succeeds();
        assert_eq!(said.stderr, "", "{line}");
        let names = said.stdout.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned());
        names.collect::<Vec<String>>()
    };
    assert_eq!(complete("rootcellar start w"), ["web1", "web2"]);
    assert_eq!(complete("rootcellar fetch home:debian/1"), ["home:debian/12"]);
    assert_eq!(complete("rootcellar remote tr"), ["trust"]);
    assert!(complete("rootcellar create --off").contains(&"--offline".to_owned()));
}
