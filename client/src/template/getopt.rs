//! Reading a command line as util-linux getopt(1) does for the stock template.

use std::ffi::OsString;

/// One option as it was understood: its full name and its value, empty for options without.
pub(super) type Given = (&'static str, String);

/// Splits the arguments into options. As with getopt, options may follow other arguments, which are ignored; a long
/// name may be cut short while it is unambiguous; a value may be in the same argument or the next one.
///
/// liblxc adds `--mapped-uid` and `--mapped-gid` at the very end, where a `--` of the user hides them from getopt.
/// They are found all the same.
pub(super) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Vec<Given>, UsageError> {
    let words = arguments.into_iter().map(|word| word.into_string().map_err(|word| UsageError::NotText { word }));
    let words = words.collect::<Result<Vec<String>, _>>()?;
    let mut given = Vec::new();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        if word == "--" {
            given.extend(mapped_ids(rest.as_slice()));
            break;
        }
        if let Some(long) = word.strip_prefix("--") {
            let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
            let option = find(name)?;
            let value = match (option.takes_value, value) {
                (true, Some(value)) => value.to_owned(),
                (true, None) => rest.next().ok_or(UsageError::NoValue { option: option.name })?.clone(),
                (false, None) => String::new(),
                (false, Some(_)) => return Err(UsageError::Value { option: option.name }),
            };
            given.push((option.name, value));
        } else if let Some(cluster) = word.strip_prefix('-').filter(|cluster| !cluster.is_empty()) {
            short(cluster, &mut rest, &mut given)?;
        }
    }
    Ok(given)
}

/// `-hl`, `-d debian`, `-ddebian`, `-ldebian`.
fn short<'a>(
    cluster: &str,
    rest: &mut impl Iterator<Item = &'a String>,
    given: &mut Vec<Given>,
) -> Result<(), UsageError> {
    let mut letters = cluster.chars();
    while let Some(letter) = letters.next() {
        let option = OPTIONS.iter().find(|option| option.letter == Some(letter));
        let option = option.ok_or(UsageError::UnknownLetter { letter })?;
        if !option.takes_value {
            given.push((option.name, String::new()));
            continue;
        }
        let value = match letters.as_str() {
            "" => rest.next().ok_or(UsageError::NoValue { option: option.name })?.clone(),
            value => value.to_owned(),
        };
        given.push((option.name, value));
        break;
    }
    Ok(())
}

/// The pairs that liblxc put at the end of what follows a `--`.
fn mapped_ids(after: &[String]) -> Vec<Given> {
    let mut found = Vec::new();
    let mut rest = after;
    while let [before @ .., name, value] = rest {
        let Some(name) = MAPPED.into_iter().find(|mapped| name.strip_prefix("--") == Some(mapped)) else { break };
        found.push((name, value.clone()));
        rest = before;
    }
    found
}

/// The option of a long name that may be cut short. Names of the present stock template come first, so that what it
/// understands is understood the same way here, whatever other templates and we have added.
fn find(name: &str) -> Result<&'static Opt, UsageError> {
    if let Some(exact) = OPTIONS.iter().find(|option| option.name == name) {
        return Ok(exact);
    }
    for era in [Era::Present, Era::Other] {
        let candidates: Vec<_> = OPTIONS.iter().filter(|o| o.era == era && o.name.starts_with(name)).collect();
        match candidates[..] {
            [] => {}
            [only] => return Ok(only),
            [..] => {
                let names = candidates.iter().map(|option| option.name).collect();
                return Err(UsageError::Ambiguous { name: name.to_owned(), names });
            }
        }
    }
    Err(UsageError::Unknown { name: name.to_owned() })
}

/// Why a command line is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum UsageError {
    #[error("unrecognized option `--{name}`")]
    Unknown { name: String },
    #[error("unrecognized option `-{letter}`")]
    UnknownLetter { letter: char },
    #[error("option `--{name}` is ambiguous: it could be `--{}`", names.join("` or `--"))]
    Ambiguous { name: String, names: Vec<&'static str> },
    #[error("option `--{option}` needs a value")]
    NoValue { option: &'static str },
    #[error("option `--{option}` takes no value")]
    Value { option: &'static str },
    #[error("an argument is not text: {}", word.display())]
    NotText { word: OsString },
}

struct Opt {
    name: &'static str,
    letter: Option<char>,
    takes_value: bool,
    era: Era,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Era {
    /// What the stock template of LXC 5 knows.
    Present,
    /// What only others know: templates of the GPG era, LXC 6, ours.
    Other,
}

const fn opt(name: &'static str, letter: Option<char>, takes_value: bool, era: Era) -> Opt {
    Opt { name, letter, takes_value, era }
}

const OPTIONS: &[Opt] = &[
    opt("dist", Some('d'), true, Era::Present),
    opt("release", Some('r'), true, Era::Present),
    opt("arch", Some('a'), true, Era::Present),
    opt("help", Some('h'), false, Era::Present),
    opt("list", Some('l'), false, Era::Present),
    opt("variant", None, true, Era::Present),
    opt("server", None, true, Era::Present),
    opt("flush-cache", None, false, Era::Present),
    opt("force-cache", None, false, Era::Present),
    opt("name", None, true, Era::Present),
    opt("path", None, true, Era::Present),
    opt("rootfs", None, true, Era::Present),
    opt("mapped-uid", None, true, Era::Present),
    opt("mapped-gid", None, true, Era::Present),
    opt("keyid", None, true, Era::Other),
    opt("keyserver", None, true, Era::Other),
    opt("no-validate", None, false, Era::Other),
    opt("standard-resolver", None, false, Era::Other),
    opt("verbose", None, false, Era::Other),
    opt("fingerprint", None, true, Era::Other),
    opt("channel", None, true, Era::Other),
    opt("ca", None, true, Era::Other),
    opt("trust-tls", None, false, Era::Other),
    opt("accept-expired-index", None, false, Era::Other),
    opt("allow-config-key", None, true, Era::Other),
];

const MAPPED: [&str; 2] = ["mapped-uid", "mapped-gid"];

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &[&str]) -> Vec<(String, String)> {
        let given = parse(line.iter().map(OsString::from)).unwrap();
        given.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn refused(line: &[&str]) -> UsageError {
        parse(line.iter().map(OsString::from)).unwrap_err()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_value_may_be_joined_or_follow() {
        for line in [
            &["-d", "debian", "-rbookworm", "-a=x"][..],
            &["--dist=debian", "--release", "bookworm", "--arch", "=x"],
            &["-ddebian", "-r", "bookworm", "--ar==x"],
        ] {
            assert_eq!(parsed(line), pairs(&[("dist", "debian"), ("release", "bookworm"), ("arch", "=x")]), "{line:?}");
        }
    }

    #[test]
    fn stray_arguments_and_empty_values_of_bindings_are_ignored() {
        let line = ["stray", "--force-cache", "", "--variant", "", "--list", ""];
        assert_eq!(parsed(&line), pairs(&[("force-cache", ""), ("variant", ""), ("list", "")]));
    }

    #[test]
    fn a_name_may_be_cut_short_while_it_is_unambiguous_for_the_stock_template() {
        for (cut, full) in [
            ("--a", "arch"),
            ("--re", "release"),
            ("--s", "server"),
            ("--n", "name"),
            ("--v", "variant"),
            ("--h", "help"),
            ("--fl", "flush-cache"),
            ("--keyi", "keyid"),
            ("--no", "no-validate"),
            ("--verb", "verbose"),
            ("--fi", "fingerprint"),
        ] {
            assert_eq!(find(cut.strip_prefix("--").unwrap()).unwrap().name, full, "{cut}");
        }
        assert!(matches!(refused(&["--f"]), UsageError::Ambiguous { .. }));
        assert!(matches!(refused(&["--key", "x"]), UsageError::Ambiguous { .. }));
    }

    #[test]
    fn letters_can_be_joined() {
        assert_eq!(parsed(&["-lhd", "debian"]), pairs(&[("list", ""), ("help", ""), ("dist", "debian")]));
        assert_eq!(parsed(&["-lddebian"]), pairs(&[("list", ""), ("dist", "debian")]));
    }

    #[test]
    fn mapped_ids_are_found_behind_a_users_double_dash() {
        let line = ["-d", "debian", "--", "-r", "ignored", "--mapped-uid", "65536", "--mapped-gid", "65537"];
        let mut found = parsed(&line);
        found.sort();
        assert_eq!(found, pairs(&[("dist", "debian"), ("mapped-gid", "65537"), ("mapped-uid", "65536")]));
        assert_eq!(parsed(&["--", "--mapped-uid", "1", "stray"]), pairs(&[]));
    }

    #[test]
    fn repeated_options_are_all_given_in_order() {
        assert_eq!(parsed(&["-d", "a", "-d", "b"]), pairs(&[("dist", "a"), ("dist", "b")]));
    }

    #[test]
    fn what_getopt_refuses_is_refused() {
        assert!(matches!(refused(&["--color"]), UsageError::Unknown { .. }));
        assert!(matches!(refused(&["-x"]), UsageError::UnknownLetter { letter: 'x' }));
        assert!(matches!(refused(&["--dist"]), UsageError::NoValue { option: "dist" }));
        assert!(matches!(refused(&["-d"]), UsageError::NoValue { option: "dist" }));
        assert!(matches!(refused(&["--list=x"]), UsageError::Value { option: "list" }));
    }

    #[test]
    fn an_option_can_be_the_value_of_another_as_with_getopt() {
        assert_eq!(parsed(&["--dist", "--list"]), pairs(&[("dist", "--list")]));
    }
}
