//! A test that cannot run here says so where everybody sees it: a skip that is silent looks like a promise kept.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Write as _};
use std::thread;

/// Says that a test does not run, and why: `SKIP: TEST: REASON`. The harness of the tests shows nothing that a test prints
/// and passes, so this goes past it, to file descriptor 2; and it becomes a line of the file that
/// `ROOTCELLAR_TEST_SKIPS` names, if it names one. `tests/run.sh` shows these lines at the end.
pub fn skip(reason: impl Display) {
    let line = line(thread::current().name(), &reason.to_string());
    // Whole lines, each by one call: tests run side by side.
    io::stderr().lock().write_all(line.as_bytes()).expect("stderr can be written to");
    if let Some(path) = std::env::var_os(LIST) {
        let list = File::options().append(true).create(true).open(&path);
        list.and_then(|mut list| list.write_all(line.as_bytes())).expect("the list of skipped tests can be written");
    }
}

/// The harness names the thread of each test after it.
fn line(thread: Option<&str>, reason: &str) -> String {
    match thread.filter(|name| *name != "main") {
        Some(test) => format!("SKIP: {test}: {reason}\n"),
        None => format!("SKIP: {reason}\n"),
    }
}

const LIST: &str = "ROOTCELLAR_TEST_SKIPS";

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_skipped_test_is_named_with_its_reason() {
        assert_eq!(line(Some("pack::one"), "no tar"), "SKIP: pack::one: no tar\n");
        assert_eq!(line(Some("main"), "no tar"), "SKIP: no tar\n");
        assert_eq!(line(None, "no tar"), "SKIP: no tar\n");
    }

    #[test]
    fn the_harness_does_not_hide_it_and_the_list_has_it() {
        if std::env::var_os("ROOTCELLAR_TEST_SKIPS_ITSELF").is_some() {
            skip("as it was told");
            return;
        }
        let list = tempfile::NamedTempFile::new().expect("a file");
        let name = thread::current().name().expect("a name").to_owned();
        let mut itself = Command::new(std::env::current_exe().expect("a program"));
        itself.args(["--exact", &name]).env("ROOTCELLAR_TEST_SKIPS_ITSELF", "1").env(LIST, list.path());
        let said = itself.output().expect("it runs");
        let expected = format!("SKIP: {name}: as it was told\n");
        assert!(said.status.success());
        assert_eq!(String::from_utf8_lossy(&said.stderr), expected);
        assert_eq!(std::fs::read_to_string(list.path()).expect("a list"), expected);
    }
}
