//! Who this user is to a server that asks: names and passwords from `.netrc`, where wget and curl look, too.
//!
//! On a command line everybody who lists processes reads them, and LXC writes the options of a template into the
//! configuration of the container.

use std::env;
use std::path::PathBuf;

use terminal::Printer;

use crate::files;
use crate::remote::ServerUrl;

/// A name and a password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password: String,
}

/// What `.netrc` has for a server. Nothing for one whose address has a password already, nor for one to which it would go
/// unencrypted over a network.
pub(crate) fn of_netrc(url: &ServerUrl) -> Option<Login> {
    if url.has_password() || !(url.is_https() || url.is_loopback()) {
        return None;
    }
    let path = netrc()?;
    match files::read_if_there(&path) {
        Ok(content) => find(&String::from_utf8_lossy(&content?), &url.name(), |user| url.is_for(user)),
        Err(error) => {
            tracing::warn!("`{}` is not read: {error}", path.display());
            None
        }
    }
}

fn netrc() -> Option<PathBuf> {
    let find = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    find("NETRC").or_else(|| Some(find("HOME")?.join(".netrc")))
}

/// Says what becomes of a password in `--server`, if there is one. `kept` is by whom else it is read.
pub(crate) fn warn_of_typed(url: &ServerUrl, kept: &str, printer: &Printer) {
    if url.has_password() {
        printer.warn(format_args!(
            "everybody who lists processes reads the password in `--server`{kept}; in `~/.netrc` it is yours alone: \
             `machine {} login USER password PASSWORD`",
            url.name()
        ));
    }
}

/// The first entry for this machine and the user that is meant, else the default one (GNU inetutils, `netrc`).
fn find(netrc: &str, machine: &str, is_user: impl Fn(&str) -> bool) -> Option<Login> {
    let mut words = words(netrc).into_iter();
    let mut is_it = false;
    let [mut user, mut password]: [Option<String>; 2] = [None, None];
    loop {
        let word = words.next();
        match word.as_deref() {
            None | Some("machine" | "default") => {
                if let (true, Some(user), Some(password)) = (is_it, user.take(), password.take())
                    && is_user(&user)
                {
                    return Some(Login { user, password });
                }
                let word = word?;
                is_it = word == "default" || words.next().is_some_and(|name| name.eq_ignore_ascii_case(machine));
            }
            Some("login") => user = words.next(),
            Some("password") => password = words.next(),
            Some("account") => drop(words.next()),
            Some(_) => {}
        }
    }
}

/// The words of the file, without comments and macros. A word may be in quotes, and a backslash takes what follows as it
/// is.
fn words(netrc: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut in_macro = false;
    for line in netrc.lines() {
        if in_macro || line.trim_start().starts_with('#') {
            in_macro &= !line.trim().is_empty();
            continue;
        }
        let mut letters = line.chars().peekable();
        while let Some(first) = letters.find(|letter| !letter.is_whitespace()) {
            let is_quoted = first == '"';
            let mut word = String::new();
            let mut next = if is_quoted { letters.next() } else { Some(first) };
            while let Some(letter) = next {
                let is_end = if is_quoted { letter == '"' } else { letter.is_whitespace() };
                if is_end {
                    break;
                }
                word.extend(if letter == '\\' { letters.next() } else { Some(letter) });
                next = letters.next();
            }
            in_macro |= word == "macdef" && !is_quoted;
            words.push(word);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const NETRC: &str = "# mine\nmachine one.example.org login ann password \"a b\\\"c\"\n\
        machine two.example.org\n  login bob\n  password secret\nmacdef init\nmachine three login x password y\n\n\
        machine two.example.org login eve password other\ndefault login anonymous password none\n";

    /// The name and the password, with a colon between.
    fn found(machine: &str, user: Option<&str>) -> Option<String> {
        let login = find(NETRC, machine, |found| user.is_none_or(|user| user == found))?;
        Some(format!("{}:{}", login.user, login.password))
    }

    #[test]
    fn the_first_entry_of_a_machine_counts_and_the_default_for_others() {
        assert_eq!(found("one.example.org", None).as_deref(), Some("ann:a b\"c"));
        assert_eq!(found("TWO.example.org", None).as_deref(), Some("bob:secret"));
        assert_eq!(found("three", None).as_deref(), Some("anonymous:none"));
        assert!(find("machine a login b", "a", |_| true).is_none());
        assert!(find("machine a login b password c", "x", |_| true).is_none());
    }

    #[test]
    fn an_entry_of_another_user_is_not_taken() {
        assert_eq!(found("two.example.org", Some("eve")).as_deref(), Some("eve:other"));
        assert_eq!(found("two.example.org", Some("nobody")), None);
    }
}
