//! Logs: `tracing` events on stderr or in a file.

use std::env;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{ParseError, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::TryInitError;

/// The log options of every LXC program. They are global: valid before and after a subcommand. A program whose
/// subcommands use `-o` for something else calls [`init`] with the default instead.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct LogArgs {
    /// Append the log to FILE instead of writing it to stderr; warnings and errors are in both.
    #[arg(short = 'o', long = "logfile", value_name = "FILE", global = true)]
    pub file: Option<PathBuf>,

    /// Log this and what is graver.
    #[arg(short = 'l', long = "logpriority", value_name = "LEVEL", ignore_case = true, global = true)]
    pub priority: Option<Priority>,
}

/// LXC's log priorities (`lxc-create(1)`, COMMON OPTIONS), the gravest first. Several of them are one level to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "UPPER")]
#[expect(missing_docs, reason = "the names are all there is to say")]
pub enum Priority {
    Fatal,
    Alert,
    Crit,
    Error,
    Warn,
    Notice,
    Info,
    Debug,
    Trace,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The log file cannot be opened.
    #[error("cannot open the log file `{}`", path.display())]
    Open {
        /// The path given by `--logfile`.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The filter in the environment is malformed.
    #[error("`{VARIABLE}` holds no log filter: found `{found}`")]
    Filter {
        /// The value of the variable.
        found: String,
        /// What is wrong with it.
        #[source]
        source: ParseError,
    },
    /// Logging was set up before.
    #[error("logging is set up twice")]
    Twice(#[source] TryInitError),
}

/// Sets up the log of this process: to stderr, or to the file, which is created readable by its owner only.
///
/// What is logged: `--logpriority`, else the filter in the environment variable `ROOTCELLAR_LOG`, else warnings and
/// errors. Below `TRACE`, the priority is about this project: libraries stay at warnings.
///
/// What the printer warns of, and the error that ends the program, are on stderr anyway. A file gets them, too.
pub fn init(args: &LogArgs) -> Result<(), LogError> {
    let filter = filter(args.priority, env::var(VARIABLE).ok())?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false);
    if let Some(path) = &args.file {
        let file = open(path).map_err(|source| LogError::Open { path: path.clone(), source })?;
        try_init(subscriber.with_writer(Mutex::new(file)).finish())
    } else {
        let subscriber = subscriber.with_writer(io::stderr).without_time().with_target(false).finish();
        try_init(subscriber.with(filter_fn(|event| event.target() != SAID)))
    }
}

fn try_init(subscriber: impl Into<tracing::Dispatch>) -> Result<(), LogError> {
    use tracing_subscriber::util::SubscriberInitExt;
    subscriber.try_init().map_err(LogError::Twice)
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

fn filter(priority: Option<Priority>, environment: Option<String>) -> Result<EnvFilter, LogError> {
    let (directives, found) = match (priority, environment) {
        (Some(priority), _) => (priority.directives().to_owned(), String::new()),
        (None, Some(value)) if !value.is_empty() => (value.clone(), value),
        (None, _) => (Priority::Warn.directives().to_owned(), String::new()),
    };
    EnvFilter::builder().parse(directives).map_err(|source| LogError::Filter { found, source })
}

impl Priority {
    fn directives(self) -> &'static str {
        match self {
            Self::Fatal | Self::Alert | Self::Crit | Self::Error => "error",
            Self::Warn => "warn",
            Self::Notice | Self::Info => "warn,rootcellar=info",
            Self::Debug => "warn,rootcellar=debug",
            Self::Trace => "trace",
        }
    }
}

/// Where events come from that are on stderr without any log.
pub(crate) const SAID: &str = "rootcellar::said";
const VARIABLE: &str = "ROOTCELLAR_LOG";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, Command, FromArgMatches};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn parse(words: &[&str]) -> Result<LogArgs, clap::Error> {
        let command = LogArgs::augment_args(Command::new("rootcellar")).subcommand(Command::new("list"));
        LogArgs::from_arg_matches(&command.try_get_matches_from(words)?)
    }

    #[test]
    fn priorities_are_read_in_any_case_and_on_both_sides_of_a_subcommand() {
        for words in [["rootcellar", "-l", "debug", "list"], ["rootcellar", "list", "--logpriority", "DEBUG"]] {
            assert_eq!(parse(&words).unwrap().priority, Some(Priority::Debug));
        }
    }

    #[test]
    fn an_unknown_priority_is_refused_with_the_list_of_known_ones() {
        let refusal = parse(&["rootcellar", "-l", "LOUD"]).unwrap_err().to_string();
        assert!(refusal.contains("FATAL, ALERT, CRIT, ERROR, WARN, NOTICE, INFO, DEBUG, TRACE"), "{refusal}");
    }

    #[test]
    fn a_priority_is_about_this_project_only() {
        assert_eq!(filter(Some(Priority::Notice), None).unwrap().to_string(), "rootcellar=info,warn");
    }

    #[test]
    fn the_flag_wins_over_the_environment_and_warnings_are_the_default() {
        let shown =
            |priority, environment: Option<&str>| filter(priority, environment.map(str::to_owned)).unwrap().to_string();
        assert_eq!(shown(Some(Priority::Crit), Some("trace")), "error");
        assert_eq!(shown(None, Some("trace")), "trace");
        assert_eq!(shown(None, Some("")), "warn");
        assert_eq!(shown(None, None), "warn");
    }

    #[test]
    fn a_malformed_filter_is_named() {
        let error = filter(None, Some("a=b=c".to_owned())).unwrap_err();
        assert_eq!(error.to_string(), "`ROOTCELLAR_LOG` holds no log filter: found `a=b=c`");
    }

    #[test]
    fn a_log_file_is_private_and_appended_to_and_a_second_setup_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        fs::write(&path, "before\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let args = LogArgs { file: Some(path.clone()), priority: Some(Priority::Warn) };
        init(&args).unwrap();
        tracing::warn!(size_bytes = 7, "image is small");
        tracing::debug!("unheard");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("before\n") && text.contains("image is small size_bytes=7"), "{text}");
        assert!(!text.contains("unheard"));
        assert!(matches!(init(&args), Err(LogError::Twice(_))));
        open(&directory.path().join("new")).unwrap();
        assert_eq!(fs::metadata(directory.path().join("new")).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_log_file_that_cannot_be_opened_is_named() {
        let path = PathBuf::from("/nonexistent/log");
        let error = init(&LogArgs { file: Some(path), priority: None }).unwrap_err();
        assert_eq!(error.to_string(), "cannot open the log file `/nonexistent/log`");
    }
}
