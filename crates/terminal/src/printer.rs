//! The only way to stdout and stderr.

mod capture;

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::fmt::{Display, Write as _};
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indicatif::{MultiProgress, ProgressDrawTarget};
use serde::Serialize;

pub use capture::Captured;

use crate::log::SAID;
use crate::plain::{is_unsafe, plain, plain_line};
use crate::table::{OutputFormat, Table};

/// Says everything a program has to say: data on stdout, conversation on stderr. Clones share the two streams.
///
/// What is said on stderr passes through [`plain`], because messages quote servers and images. Data does not:
/// it is for other programs. Warnings and errors are in the log file, too, if there is one.
#[derive(Clone)]
pub struct Printer {
    shared: Arc<Shared>,
}

struct Shared {
    stdout: Mutex<Stdout>,
    stderr: Mutex<Box<dyn Write + Send>>,
    /// Where progress bars live; they step aside while a line is written.
    bars: MultiProgress,
    quiet: bool,
    coloured: bool,
}

struct Stdout {
    sink: Box<dyn Write + Send>,
    /// The reader closed the pipe (`rootcellar list | head -1`): it has what it wanted.
    closed: bool,
    failure: Option<io::Error>,
}

impl Printer {
    /// A printer over the stdout and stderr of this process. `quiet` silences what is neither data, warning nor error.
    pub fn new(quiet: bool) -> Self {
        let on_terminal = io::stderr().is_terminal();
        let bars = if on_terminal && !quiet { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let coloured = on_terminal && environment_allows_colour(|name| env::var_os(name));
        Self::assemble(Box::new(io::stdout()), Box::new(io::stderr()), bars, quiet, coloured)
    }

    /// A printer over any two sinks: no colour, no progress bars.
    pub fn over(stdout: impl Write + Send + 'static, stderr: impl Write + Send + 'static, quiet: bool) -> Self {
        Self::assemble(Box::new(stdout), Box::new(stderr), ProgressDrawTarget::hidden(), quiet, false)
    }

    /// A printer whose output can be read back, for tests.
    pub fn captured(quiet: bool) -> (Self, Captured) {
        let captured = Captured::default();
        (Self::over(captured.stdout_sink(), captured.stderr_sink(), quiet), captured)
    }

    fn assemble(
        sink: Box<dyn Write + Send>,
        stderr: Box<dyn Write + Send>,
        bars: ProgressDrawTarget,
        quiet: bool,
        coloured: bool,
    ) -> Self {
        let stdout = Mutex::new(Stdout { sink, closed: false, failure: None });
        let bars = MultiProgress::with_draw_target(bars);
        Self { shared: Arc::new(Shared { stdout, stderr: Mutex::new(stderr), bars, quiet, coloured }) }
    }

    /// One line of data on stdout. A closed pipe ends the output quietly; any other failure is kept for
    /// [`flush`](Self::flush).
    pub fn data(&self, line: impl Display) {
        self.write_data(&format!("{line}\n"));
    }

    fn write_data(&self, lines: &str) {
        self.shared.bars.suspend(|| locked(&self.shared.stdout).attempt(|sink| sink.write_all(lines.as_bytes())));
    }

    /// A listing on stdout: the table, or `value` as JSON. In JSON, too, nothing a terminal would obey is left
    /// unescaped.
    pub fn listing(&self, format: OutputFormat, table: &Table, value: &impl Serialize) {
        match format {
            OutputFormat::Text => {
                self.shared.bars.suspend(|| locked(&self.shared.stdout).attempt(|sink| table.write_to(sink)));
            }
            OutputFormat::Json => self.json(value),
        }
    }

    /// A value on stdout as JSON, as [`listing`](Self::listing) writes it.
    pub fn json(&self, value: &impl Serialize) {
        match serde_json::to_string_pretty(value) {
            Ok(json) => self.data(escape_json(&json)),
            Err(error) => locked(&self.shared.stdout).failure = Some(error.into()),
        }
    }

    /// A line of conversation on stderr, unless quiet.
    pub fn say(&self, line: impl Display) {
        if !self.shared.quiet {
            self.converse(&format!("{}\n", plain(&line.to_string())));
        }
    }

    /// `warning: …` on stderr.
    pub fn warn(&self, message: impl Display) {
        let message = message.to_string();
        tracing::warn!(target: SAID, "{}", plain_line(&message));
        self.converse(&self.labelled("warning", YELLOW, &message));
    }

    /// `error: …` on stderr, then its causes, then the hint. A cause whose text its parent already contains is
    /// skipped. Further lines of a message are indented, so that a quoted text cannot pass for a hint of ours.
    pub fn error(&self, error: &dyn Error, hint: Option<&str>) {
        let mut shown = error.to_string();
        tracing::error!(target: SAID, "{}", plain_line(&shown));
        let mut text = self.labelled("error", RED, &shown);
        let mut next = error.source();
        while let Some(cause) = next {
            let message = cause.to_string();
            if !shown.contains(&message) {
                tracing::error!(target: SAID, "caused by: {}", plain_line(&message));
                // Writing to a String cannot fail.
                let _ = writeln!(text, "  caused by: {}", indented(&message, "    "));
                shown = message;
            }
            next = cause.source();
        }
        if let Some(hint) = hint {
            tracing::error!(target: SAID, "hint: {}", plain_line(hint));
            text.push_str(&self.labelled("hint", CYAN, hint));
        }
        self.converse(&text);
    }

    /// Flushes stdout and reports the first failure to write data since the last call.
    pub fn flush(&self) -> io::Result<()> {
        let mut stdout = locked(&self.shared.stdout);
        stdout.attempt(Write::flush);
        stdout.failure.take().map_or(Ok(()), Err)
    }

    pub(crate) fn bars(&self) -> &MultiProgress {
        &self.shared.bars
    }

    fn labelled(&self, label: &str, colour: &str, message: &str) -> String {
        let message = indented(message, "  ");
        if self.shared.coloured {
            format!("{colour}{label}{RESET}: {message}\n")
        } else {
            format!("{label}: {message}\n")
        }
    }

    /// There is nobody left to tell when stderr is gone.
    fn converse(&self, text: &str) {
        self.shared.bars.suspend(|| {
            let _ = locked(&self.shared.stderr).write_all(text.as_bytes());
        });
    }
}

impl std::fmt::Debug for Printer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Printer").field("quiet", &self.shared.quiet).finish_non_exhaustive()
    }
}

impl Stdout {
    fn attempt(&mut self, write: impl FnOnce(&mut Box<dyn Write + Send>) -> io::Result<()>) {
        if self.closed {
            return;
        }
        match write(&mut self.sink) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.closed = true,
            Err(error) => {
                self.failure.get_or_insert(error);
            }
        }
    }
}

/// A stream stays usable when a thread panicked while writing to it.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn indented(message: &str, indent: &str) -> String {
    plain(message).trim_end().replace('\n', &format!("\n{indent}"))
}

/// JSON escapes C0 by its grammar; what else a terminal acts on can only stand in strings, where `\u` is allowed.
fn escape_json(json: &str) -> String {
    json.chars().fold(String::with_capacity(json.len()), |mut text, character| {
        if character != '\n' && is_unsafe(character) {
            let _ = write!(text, "\\u{:04x}", u32::from(character));
        } else {
            text.push(character);
        }
        text
    })
}

/// The rule of no-color.org: any value but the empty one switches colour off; so does a terminal that has none.
fn environment_allows_colour(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    variable("NO_COLOR").is_none_or(|value| value.is_empty()) && variable("TERM").is_none_or(|term| term != "dumb")
}

const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[1;33m";
const CYAN: &str = "\x1b[1;36m";
const RESET: &str = "\x1b[0m";

#[cfg(test)]
mod tests;
