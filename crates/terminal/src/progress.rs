//! Progress of something measured in bytes.

use std::fmt::{self, Display};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::human;
use crate::printer::Printer;

/// The progress of one step. On a terminal a bar shows rate and time left; everywhere the step ends with one line:
///
/// ```text
/// Downloading the rootfs        48.2 MiB in 0.4s
/// ```
///
/// Dropped without an end, it leaves nothing behind.
#[derive(Debug)]
pub struct Progress {
    printer: Printer,
    label: String,
    bar: ProgressBar,
    started: Instant,
    /// Bytes moved by this step, without those that were there before it.
    moved: AtomicU64,
}

impl Progress {
    /// Begins a step of `total` bytes, if that is known yet.
    pub fn new(printer: &Printer, label: impl Into<String>, total: Option<u64>) -> Self {
        let label = label.into();
        let bar = printer.bars().add(ProgressBar::no_length());
        bar.set_style(style(total.is_some()));
        bar.set_message(padded(&label));
        if let Some(total) = total {
            bar.set_length(total);
        }
        Self { printer: printer.clone(), label, bar, started: Instant::now(), moved: AtomicU64::new(0) }
    }

    /// Sets the total and where the step begins: bytes that were there before it count for the bar, not for the rate.
    /// A step that begins again calls this again.
    pub fn begin(&self, total: u64, already: u64) {
        self.bar.set_style(style(true));
        self.bar.set_length(total);
        self.bar.set_position(already);
        self.bar.reset_eta();
    }

    /// `bytes` more are done.
    pub fn advance(&self, bytes: u64) {
        self.moved.fetch_add(bytes, Ordering::Relaxed);
        self.bar.inc(bytes);
    }

    /// Ends the step with a line of its label and `summary`.
    pub fn finish(self, summary: impl Display) {
        self.bar.finish_and_clear();
        self.printer.say(format_args!("{}{summary}", padded(&self.label)));
    }

    /// Ends the step with the number of bytes moved and the time taken.
    pub fn finish_measured(self) {
        let moved = human::bytes(self.moved.load(Ordering::Relaxed));
        let elapsed = human::elapsed(self.started.elapsed());
        self.finish(format_args!("{moved} in {elapsed}"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn padded(label: &str) -> String {
    format!("{label:<width$}  ", width = LABEL_WIDTH - 2)
}

fn style(total_known: bool) -> ProgressStyle {
    let template = if total_known { WITH_TOTAL } else { WITHOUT_TOTAL };
    // The templates are constants of ours; a test parses both.
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("#- ")
        .with_key("done", |state: &ProgressState, out: &mut dyn fmt::Write| {
            let _ = out.write_str(&human::bytes(state.pos()));
        })
        .with_key("total", |state: &ProgressState, out: &mut dyn fmt::Write| {
            let _ = out.write_str(&human::bytes(state.len().unwrap_or_default()));
        })
        .with_key("rate", |state: &ProgressState, out: &mut dyn fmt::Write| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate for people")]
            let _ = write!(out, "{}/s", human::bytes(state.per_sec() as u64));
        })
        .with_key("left", |state: &ProgressState, out: &mut dyn fmt::Write| {
            let _ = out.write_str(&human::elapsed(state.eta()));
        })
}

const LABEL_WIDTH: usize = 30;
const WITH_TOTAL: &str = "{msg}{done} / {total}  [{bar:20}]  {rate}  {left} left";
const WITHOUT_TOTAL: &str = "{msg}{done}  {rate}";

#[cfg(test)]
mod tests {
    use super::*;
    use indicatif::{InMemoryTerm, ProgressDrawTarget};

    #[test]
    fn off_a_terminal_there_is_one_line_at_the_end() {
        let (printer, captured) = Printer::captured(false);
        let progress = Progress::new(&printer, "Downloading the rootfs", Some(10));
        progress.advance(10);
        assert_eq!(captured.stderr(), "");
        progress.finish("48.2 MiB in 0.4s");
        assert_eq!(captured.stderr(), "Downloading the rootfs        48.2 MiB in 0.4s\n");
    }

    #[test]
    fn a_long_label_keeps_its_distance() {
        let (printer, captured) = Printer::captured(false);
        Progress::new(&printer, "Downloading the metadata of everything", None).finish("done");
        assert_eq!(captured.stderr(), "Downloading the metadata of everything  done\n");
    }

    #[test]
    fn quiet_and_unfinished_steps_say_nothing() {
        let (printer, captured) = Printer::captured(true);
        Progress::new(&printer, "a", None).finish("b");
        let (loud, heard) = Printer::captured(false);
        drop(Progress::new(&loud, "a", None));
        assert_eq!((captured.stderr(), heard.stderr()), (String::new(), String::new()));
    }

    #[test]
    fn what_was_there_before_does_not_count_as_moved() {
        let (printer, captured) = Printer::captured(false);
        let progress = Progress::new(&printer, "a", None);
        progress.begin(4096, 1024);
        progress.advance(3072);
        progress.finish_measured();
        assert!(captured.stderr().contains("3.0 KiB in 0.0s"), "{}", captured.stderr());
    }

    #[test]
    fn on_a_terminal_a_bar_shows_done_total_rate_and_time_left_and_then_goes() {
        let screen = InMemoryTerm::new(5, 120);
        let (printer, _) = Printer::captured(false);
        printer.bars().set_draw_target(ProgressDrawTarget::term_like(Box::new(screen.clone())));
        let progress = Progress::new(&printer, "Downloading the rootfs", None);
        progress.begin(4096, 1024);
        // What it cannot know yet it shows as nothing; a rate takes several looks at the clock.
        for _ in 0..8 {
            std::thread::sleep(std::time::Duration::from_millis(30));
            progress.advance(128);
        }
        progress.bar.force_draw();
        let shown = screen.contents();
        let facts = shown
            .strip_prefix("Downloading the rootfs        2.0 KiB / 4.0 KiB  [#")
            .unwrap_or_else(|| panic!("{shown}"));
        let (_, facts) = facts.split_once("]  ").unwrap();
        let (rate, left) = facts.trim_end().split_once("  ").unwrap();
        // A KiB in a quarter of a second, and two more to go.
        let kibibytes: f64 = rate.strip_suffix(" KiB/s").unwrap_or_else(|| panic!("{shown}")).parse().unwrap();
        assert!((0.5..8.0).contains(&kibibytes), "{shown}");
        let seconds: f64 = left.strip_suffix("s left").unwrap_or_else(|| panic!("{shown}")).parse().unwrap();
        assert!((0.2..5.0).contains(&seconds), "{shown}");
        drop(progress);
        assert_eq!(screen.contents(), "");
    }

    #[test]
    fn both_bar_templates_parse() {
        assert!([WITH_TOTAL, WITHOUT_TOTAL].into_iter().all(|template| ProgressStyle::with_template(template).is_ok()));
    }
}
