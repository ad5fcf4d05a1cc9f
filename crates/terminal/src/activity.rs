//! Something that goes on, and nobody knows how long.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::printer::Printer;

/// A step without a measure. On a terminal one line shows that it goes on, and since when; nowhere else it says
/// anything. Dropped, it leaves nothing behind: how the step ended is the caller's to say.
///
/// ```text
/// - [3/9] packages                    12s
/// ```
#[derive(Debug)]
pub struct Activity {
    bar: ProgressBar,
}

impl Activity {
    /// Begins a step. `place` is its number and how many there are.
    pub fn begin(printer: &Printer, label: &str, place: Option<(usize, usize)>) -> Self {
        let bar = printer.bars().add(ProgressBar::new_spinner());
        // The template is a constant of ours; a test parses it.
        let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_spinner());
        bar.set_style(style.tick_strings(&["-", "\\", "|", "/", " "]));
        bar.set_prefix(place.map_or_else(String::new, |(number, all)| format!("[{number}/{all}] ")));
        bar.set_message(label.to_owned());
        bar.enable_steady_tick(TICK);
        Self { bar }
    }
}

impl Drop for Activity {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

const TEMPLATE: &str = "{spinner} {prefix}{msg:28} {elapsed}";
const TICK: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use indicatif::{InMemoryTerm, ProgressDrawTarget};

    use super::*;

    #[test]
    fn off_a_terminal_it_says_nothing() {
        let (printer, captured) = Printer::captured(false);
        drop(Activity::begin(&printer, "unpack", Some((1, 9))));
        assert_eq!((captured.stderr(), captured.stdout()), (String::new(), String::new()));
    }

    #[test]
    fn on_a_terminal_it_shows_what_goes_on_and_then_goes() {
        let screen = InMemoryTerm::new(5, 120);
        let (printer, _) = Printer::captured(false);
        printer.bars().set_draw_target(ProgressDrawTarget::term_like(Box::new(screen.clone())));
        let activity = Activity::begin(&printer, "packages", Some((3, 9)));
        activity.bar.force_draw();
        let shown = screen.contents();
        assert!(shown.contains(" [3/9] packages  ") && shown.ends_with('s'), "{shown}");
        drop(activity);
        assert_eq!(screen.contents(), "");
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }
}
