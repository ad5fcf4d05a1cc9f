//! Running programs and judging what they did.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A program with its arguments and environment.
pub(crate) struct Program {
    command: Command,
}

impl Program {
    /// One of ours, as it was compiled beside this test.
    pub(crate) fn ours(name: &str) -> Self {
        Self::new(ours(name))
    }

    /// Any program, by name or path.
    pub(crate) fn new(name: impl AsRef<OsStr>) -> Self {
        let name = name.as_ref();
        let mut command = Command::new(found(Path::new(name)).as_deref().unwrap_or(name.as_ref()));
        command.arg0(name);
        command.stdin(Stdio::null());
        Self { command }
    }

    pub(crate) fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn arg(self, arg: impl AsRef<OsStr>) -> Self {
        self.args([arg])
    }

    pub(crate) fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    pub(crate) fn envs(self, envs: impl IntoIterator<Item = (&'static str, PathBuf)>) -> Self {
        envs.into_iter().fold(self, |program, (key, value)| program.env(key, value))
    }

    /// Runs it to its end.
    pub(crate) fn run(mut self) -> Outcome {
        let output = self.command.output().unwrap_or_else(|error| panic!("{:?}: {error}", self.command));
        Outcome { command: format!("{:?}", self.command), output }
    }

    /// The command, for a caller that starts it in the background.
    pub(crate) fn into_command(self) -> Command {
        self.command
    }
}

/// How a program ended and what it said.
pub(crate) struct Outcome {
    command: String,
    output: Output,
}

impl Outcome {
    /// Fails the test unless the program succeeded; gives what it wrote to stdout.
    pub(crate) fn succeeds(&self) -> String {
        assert!(self.output.status.success(), "{self:?}");
        self.stdout()
    }

    /// Fails the test unless the program ended with `status` and said `words` on stderr (or stdout).
    pub(crate) fn fails_with(&self, status: i32, words: &str) {
        assert_eq!(self.output.status.code(), Some(status), "{self:?}");
        let said = self.stderr() + &self.stdout();
        assert!(said.contains(words), "expected `{words}` in {self:?}");
    }

    pub(crate) fn is_success(&self) -> bool {
        self.output.status.success()
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }
}

impl std::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n{}\n{}\n{}", self.command, self.output.status, self.stdout(), self.stderr())
    }
}

/// Where one of our programs is.
pub(crate) fn ours(name: &str) -> PathBuf {
    let program = programs().join(name);
    assert!(program.is_file(), "{} is not there: run `cargo build --workspace --bins` first", program.display());
    program
}

/// The directory of our programs: the one above this test's own.
pub(crate) fn programs() -> PathBuf {
    let test = std::env::current_exe().expect("this test is a file");
    test.parent().and_then(Path::parent).expect("it lies in target/<profile>/deps").to_path_buf()
}

/// The root of the source tree.
pub(crate) fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in it").to_path_buf()
}

/// Whether a program is in the search path, or a library is where programs look for it.
pub(crate) fn is_installed(name: &str) -> bool {
    match name {
        "lxc-dev" => return Path::new("/usr/include/lxc/lxccontainer.h").exists(),
        // The distribution's own Python has the distribution's libraries.
        "python3-lxc" => return Path::new("/usr/lib/python3/dist-packages/lxc").exists(),
        _ => {}
    }
    found(Path::new(name)).is_some()
}

/// Where a program of this name is. A plain user's search path may lack the directories for administrators.
fn found(name: &Path) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let standard = ["/usr/sbin", "/sbin", "/usr/bin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(standard).map(|directory| directory.join(name)).find(|path| path.is_file())
}
