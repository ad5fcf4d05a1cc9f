//! Why the runtime could not do what it was asked.

use std::io;
use std::path::PathBuf;

use terminal::{Advice, ExitStatus};

use crate::caller::Caller;
use crate::container::create::CreateError;
use crate::container::rootfs::RootfsError;

/// What a call of the runtime ends with when it is not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such container directory.
    #[error("there is no container `{name}` in `{}`", containers.display())]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// Where it was looked for.
        containers: PathBuf,
    },
    /// The container runs, and must not for this.
    #[error("container `{name}` is already running{}", in_parentheses(*pid))]
    Running {
        /// The container.
        name: String,
        /// Its init, in the host's pid namespace.
        pid: Option<i32>,
    },
    /// The container does not run, and must for this.
    #[error("container `{name}` is not running")]
    NotRunning {
        /// The container.
        name: String,
    },
    /// The container is frozen, and must not be for this.
    #[error("container `{name}` is frozen")]
    Frozen {
        /// The container.
        name: String,
    },
    /// There is no cgroup to freeze the container in.
    #[error("container `{name}` cannot be frozen: it has no cgroup of its own")]
    NoFreezer {
        /// The container.
        name: String,
    },
    /// Nobody holds the container's terminals any more.
    #[error("container `{name}` runs, but its monitor was killed, and its console with it")]
    Unwatched {
        /// The container.
        name: String,
    },
    /// Somebody sits at the terminal.
    #[error("{} in use in container `{name}`", tty_is(*tty))]
    TtyBusy {
        /// The container.
        name: String,
        /// The terminal; `None` when all are.
        tty: Option<u32>,
    },
    /// There is no such terminal.
    #[error("container `{name}` has {count} terminals (`lxc.tty.max`) beside its console, which is number 0")]
    NoTty {
        /// The container.
        name: String,
        /// How many there are.
        count: u32,
    },
    /// liblxc runs the container.
    #[error("container `{name}` is running under LXC, not under the embedded runtime")]
    UnderLxc {
        /// The container.
        name: String,
    },
    /// Another command is at work on the container.
    #[error("container `{name}` is busy: another command has been at work on it for {seconds} s")]
    Busy {
        /// The container.
        name: String,
        /// How long was waited for it.
        seconds: u64,
    },
    /// The configuration cannot be followed.
    #[error("cannot run container `{name}` as `{}` says: {problem}", file.display())]
    Config {
        /// The container.
        name: String,
        /// The file that says so.
        file: PathBuf,
        /// What is wrong.
        problem: ConfigProblem,
    },
    /// The container was not started.
    #[error("container `{name}` did not start: {reason}")]
    Start {
        /// The container.
        name: String,
        /// What the monitor reported.
        reason: String,
    },
    /// The command was not run in the container.
    #[error("cannot run a command in container `{name}`: {reason}")]
    Exec {
        /// The container.
        name: String,
        /// What went wrong.
        reason: String,
    },
    /// The command itself could not be executed.
    #[error("{reason} (container `{name}`)")]
    Command {
        /// The container.
        name: String,
        /// What went wrong.
        reason: String,
        /// 127 when there is no such command, 126 otherwise, as a shell has it.
        code: u8,
    },
    /// The container has parts that must not be deleted with it.
    #[error("container `{name}` was not destroyed: {reason}")]
    Destroy {
        /// The container.
        name: String,
        /// What stands in the way.
        reason: String,
    },
    /// Other containers need this one.
    #[error("container `{name}` has clones: {}", quoted(clones))]
    HasClones {
        /// The container.
        name: String,
        /// Those that need it.
        clones: Vec<String>,
    },
    /// The container has snapshots, which would be deleted with it.
    #[error("container `{name}` has snapshots: {}", quoted(snapshots))]
    HasSnapshots {
        /// The container.
        name: String,
        /// Their names.
        snapshots: Vec<String>,
    },
    /// There is no such snapshot.
    #[error("container `{name}` has no snapshot `{snapshot}`")]
    NoSnapshot {
        /// The container.
        name: String,
        /// What was asked for.
        snapshot: String,
    },
    /// The directory of a copy was not made.
    #[error(transparent)]
    Create(Box<CreateError>),
    /// The user may not do this.
    #[error("container `{name}` maps no ids (`lxc.idmap`), and only root runs such containers")]
    NotRoot {
        /// The container.
        name: String,
    },
    /// Work in a user namespace was not done.
    #[error("{said}")]
    Mapped {
        /// What the process there said.
        said: String,
        /// What the user can do about it.
        hint: Option<String>,
        /// Whether the data is bad, and not the machine.
        is_data: bool,
    },
    /// The caller has threads, where the runtime must be alone.
    #[error("the runtime was called in a process with {threads} threads")]
    Threads {
        /// How many there are.
        threads: usize,
    },
    /// The system refused something.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried, as in "cannot read".
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// What is wrong with a container's configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigProblem {
    /// A value has the wrong form.
    #[error("`{key}` must be {expected}, found `{found}`")]
    Value {
        /// The key.
        key: String,
        /// What belongs there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// The configuration names no root file system.
    #[error("it has no `lxc.rootfs.path`")]
    NoRootfs,
    /// The root file system is not there.
    #[error("its root file system `{}` is not a directory", .0.display())]
    MissingRootfs(PathBuf),
    /// A kind of root file system that the embedded runtime does not do.
    #[error(
        "its root file system is a `{0}`, and only directories (`dir:`, `btrfs:`) and overlays (`overlay:`) are done"
    )]
    RootfsKind(String),
    /// The user namespace cannot be made.
    #[error(transparent)]
    IdMap(#[from] super::idmap::IdMapError),
    /// An included file is not there.
    #[error("it includes `{}`, which is missing", .0.display())]
    MissingInclude(PathBuf),
    /// Files include each other without end.
    #[error("its includes are nested more than {0} deep")]
    IncludeDepth(usize),
    /// A mount whose source is not there.
    #[error("it mounts `{}`, which is missing", .0.display())]
    MissingMountSource(PathBuf),
    /// A mount whose target is not there.
    #[error("it mounts onto `{}`, which is missing in the root file system", .0.display())]
    MissingMountTarget(PathBuf),
    /// A limit that this host cannot keep.
    #[error("`{key}` cannot be kept here: {reason}")]
    Limit {
        /// The key.
        key: String,
        /// Why not.
        reason: String,
    },
}

impl Advice for Error {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Unknown { .. } => {
                "`rootcellar ls` shows the containers there are; `-P DIR` names another directory".to_owned()
            }
            Self::Running { name, .. } => format!("`rootcellar stop {name}` stops it"),
            Self::NotRunning { name } => format!("`rootcellar start {name}` starts it"),
            Self::Frozen { name } => format!("`rootcellar unfreeze {name}` lets it go on"),
            Self::NoFreezer { .. } => "plain users have to be given a cgroup when they start a container, as \
                                       `systemd-run --user --scope -p Delegate=yes rootcellar start …` does"
                .to_owned(),
            Self::Unwatched { name } => format!("`rootcellar restart {name}` gives it a monitor again"),
            Self::TtyBusy { name, .. } => format!("`rootcellar console --tty 0 {name}` shares its console"),
            Self::UnderLxc { name } => format!("`lxc-stop -n {name}` stops it"),
            Self::Busy { .. } => "wait for the other command, then try again".to_owned(),
            Self::Config { problem, .. } => return problem.hint(),
            Self::HasClones { .. } => "destroy the clones first, or copy them without `--snapshot`".to_owned(),
            Self::HasSnapshots { name, .. } => {
                format!("`rootcellar snapshot {name} --delete SNAPSHOT` deletes one, `destroy --snapshots` all")
            }
            Self::NoSnapshot { name, .. } => format!("`rootcellar snapshot {name} --list` shows those there are"),
            Self::Create(error) => return error.hint(),
            Self::Mapped { hint, .. } => return hint.clone(),
            Self::NotRoot { .. } => "create a container as this user, or run the command as root".to_owned(),
            Self::Start { .. }
            | Self::Exec { .. }
            | Self::Command { .. }
            | Self::NoTty { .. }
            | Self::Destroy { .. }
            | Self::Threads { .. }
            | Self::Io { .. } => return None,
        };
        Some(hint)
    }

    fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Unknown { .. }
            | Self::Running { .. }
            | Self::NotRunning { .. }
            | Self::Frozen { .. }
            | Self::NoFreezer { .. }
            | Self::Unwatched { .. }
            | Self::TtyBusy { .. }
            | Self::NoTty { .. }
            | Self::UnderLxc { .. }
            | Self::Config { .. }
            | Self::NotRoot { .. }
            | Self::Mapped { is_data: true, .. }
            | Self::HasClones { .. }
            | Self::HasSnapshots { .. }
            | Self::NoSnapshot { .. }
            | Self::Destroy { .. } => ExitStatus::Refused,
            Self::Create(error) if !error.is_failure() => ExitStatus::Refused,
            Self::Command { code, .. } => ExitStatus::Code(*code),
            Self::Busy { .. }
            | Self::Start { .. }
            | Self::Exec { .. }
            | Self::Mapped { is_data: false, .. }
            | Self::Create(_)
            | Self::Threads { .. }
            | Self::Io { .. } => ExitStatus::Failed,
        }
    }
}

impl ConfigProblem {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::MissingMountSource(_) => {
                "the mount option `optional` leaves the mount out when its source is missing"
            }
            Self::MissingMountTarget(_) => "the mount options `create=dir` and `create=file` make the target",
            Self::RootfsKind(_) => "`lxc-start` can run this container",
            Self::Value { .. }
            | Self::NoRootfs
            | Self::MissingRootfs(_)
            | Self::MissingInclude(_)
            | Self::IncludeDepth(_)
            | Self::IdMap(_)
            | Self::Limit { .. } => return None,
        };
        Some(hint.to_owned())
    }
}

impl Error {
    /// In a user namespace, what is wrong with the data that was handed to the process there.
    pub(crate) fn of_data(error: &dyn std::error::Error) -> Self {
        Self::Mapped { said: chain(error), hint: None, is_data: true }
    }
}

impl From<RootfsError> for Error {
    fn from(error: RootfsError) -> Self {
        Self::Mapped { said: chain(&error), hint: error.hint(Caller::OfflineCommand), is_data: !error.is_failure() }
    }
}

impl From<CreateError> for Error {
    fn from(error: CreateError) -> Self {
        Self::Create(Box::new(error))
    }
}

/// Names what was tried and on what, for `map_err` on an [`io::Error`] or anything that becomes one.
pub(crate) fn failed<E: Into<io::Error>>(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(E) -> Error {
    let path = path.into();
    move |source| Error::Io { action, path, source: source.into() }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn tty_is(tty: Option<u32>) -> String {
    tty.map_or_else(|| "every terminal is".to_owned(), |number| format!("terminal {number} is"))
}

fn in_parentheses(pid: Option<i32>) -> String {
    pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
}
