//! Running programs.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// How a program ended and what it said.
pub(crate) struct Outcome {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    what: String,
}

/// Runs a program to its end.
pub(crate) fn run(command: &mut Command) -> Outcome {
    let output = command.stdin(Stdio::null()).output();
    let Output { status, stdout, stderr } = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let [stdout, stderr] = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Outcome { status: status.code(), stdout, stderr, what: format!("{command:?}") }
}

/// Whether a program is in the search path.
pub(crate) fn is_installed(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| Path::new(&directory).join(name).is_file())
}

impl Outcome {
    /// Fails the test unless the program succeeded.
    pub(crate) fn succeeds(self) -> Self {
        assert_eq!(self.status, Some(0), "{self}");
        self
    }

    /// Fails the test unless the program ended with this status and said these words on stderr.
    pub(crate) fn fails_with(self, status: i32, words: &str) -> Self {
        assert_eq!(self.status, Some(status), "{self}");
        assert!(self.stderr.contains(words), "expected `{words}` in {self}");
        self
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\nstatus {:?}\n{}\n{}", self.what, self.status, self.stdout, self.stderr)
    }
}
