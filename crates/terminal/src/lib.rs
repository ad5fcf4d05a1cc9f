//! What every program of ours says, and how: data on stdout, conversation on stderr.
//!
//! | item | what it holds |
//! |---|---|
//! | [`Printer`] | the only way to stdout and stderr |
//! | [`ExitStatus`], [`Advice`], [`finish`] | how a program ends: its exit code, its last error, the hint |
//! | [`OutputFormat`], [`Table`] | listings, for people and for programs |
//! | [`Progress`] | bars on a terminal, one closing line everywhere |
//! | [`Activity`] | a step that goes on, shown on a terminal only |
//! | [`human`] | sizes, counts and durations for people |
//! | [`plain`] | foreign text made safe for a terminal |
//! | [`ManualCommand`] | completions for shells, pages for man |
//! | [`log`] | `-o`, `-l` and the subscriber behind `tracing` |

pub mod human;
pub mod log;

mod activity;
mod exit;
mod manual;
mod plain;
mod printer;
mod progress;
mod table;

pub use activity::Activity;
pub use exit::{Advice, ExitStatus, finish};
pub use manual::{Body, Manual, ManualCommand, ManualError, NAMES_COMMAND, Page, Section};
pub use plain::plain;
pub use printer::{Captured, Printer};
pub use progress::Progress;
pub use table::{OutputFormat, Table};
