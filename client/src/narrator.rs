//! What is said while an image is fetched and unpacked.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use terminal::{Printer, Progress, human};
use transfer::Reporter;

/// Tells the steps of a create, in the words of the stock template: people and scripts look for them. The template
/// says them on stdout, as scripts expect; the program says them to people, on stderr, with sizes and times.
#[derive(Clone, Debug)]
pub struct Narrator {
    printer: Printer,
    voice: Voice,
}

/// Who listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice {
    /// Whoever called `rootcellar`.
    Program,
    /// Whoever called `lxc-create`.
    Template,
}

/// A step of a create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the texts below say what they are")]
pub enum Step {
    Flushing,
    Expired,
    Index,
    UpToDate,
    Cached,
    Rootfs,
    Changes,
    Metadata,
    Ready,
    Unpacking,
}

impl Step {
    /// The line of the stock template (lxc `templates/lxc-download.in`).
    pub fn text(self) -> &'static str {
        match self {
            Self::Flushing => "Flushing the cache...",
            Self::Expired => "The cached copy has expired, re-downloading...",
            Self::Index => "Downloading the image index",
            Self::UpToDate => "The cache is already up to date",
            Self::Cached => "Using image from local cache",
            Self::Rootfs => "Downloading the rootfs",
            Self::Changes => "Downloading the changes",
            Self::Metadata => "Downloading the metadata",
            Self::Ready => "The image cache is now ready",
            Self::Unpacking => "Unpacking the rootfs",
        }
    }
}

impl Narrator {
    /// A narrator for these listeners.
    pub fn new(printer: &Printer, voice: Voice) -> Self {
        Self { printer: printer.clone(), voice }
    }

    /// The printer behind.
    pub fn printer(&self) -> &Printer {
        &self.printer
    }

    /// A step that is over as soon as it is said.
    pub fn tell(&self, step: Step) {
        self.tell_about(step, "");
    }

    /// The same, with what it is about.
    pub fn tell_about(&self, step: Step, detail: &str) {
        tracing::info!(detail, "{}", step.text());
        match self.voice {
            Voice::Program => self.printer.say(format!("{:<29} {detail}", step.text()).trim_end()),
            Voice::Template => self.printer.data(step.text()),
        }
    }

    /// A download that begins. The returned reporter shows how far it is.
    pub fn download(&self, step: Step) -> Download {
        tracing::info!("{}", step.text());
        if self.voice == Voice::Template {
            // The stock template knows of whole files only, and scripts wait for its lines.
            self.printer.data(if step == Step::Changes { Step::Rootfs } else { step }.text());
        }
        Download { voice: self.voice, progress: Mutex::new(Some(Progress::new(&self.printer, step.text(), None))) }
    }

    /// Another process of ours is at work on something that cannot be done twice at a time.
    pub fn waiting(&self, what_it_does: &str) {
        waiting(&self.printer, what_it_does);
    }

    /// Unpacking begins. The program says it when it is done.
    pub fn unpacking(&self) {
        if self.voice == Voice::Template {
            self.printer.data(Step::Unpacking.text());
        }
    }

    /// Unpacking is done.
    pub fn unpacked(&self, entries: u64, elapsed: Duration) {
        if self.voice == Voice::Program {
            let detail = format!("{} entries in {}", human::count(entries), human::elapsed(elapsed));
            self.tell_about(Step::Unpacking, &detail);
        }
    }
}

/// What a process does that keeps everybody out of the cache.
pub(crate) const PRUNES: &str = "prunes the cache";

/// What a process does that keeps others from checking an index of the same server.
pub(crate) const CHECKS: &str = "checks the index of this server";

/// Says that another process of ours is waited for.
pub fn waiting(printer: &Printer, what_it_does: &str) {
    printer.say(format_args!("Waiting for another rootcellar that {what_it_does}"));
}

/// Shows one download.
#[derive(Debug)]
pub struct Download {
    voice: Voice,
    progress: Mutex<Option<Progress>>,
}

impl Download {
    fn with(&self, act: impl FnOnce(&Progress)) {
        if let Some(progress) = self.progress.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            act(progress);
        }
    }
}

impl Reporter for Download {
    fn started(&self, total: u64, resumed_from: u64) {
        self.with(|progress| progress.begin(total, resumed_from));
    }

    fn advanced(&self, bytes: u64) {
        self.with(|progress| progress.advance(bytes));
    }

    fn finished(&self) {
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (progress, self.voice) {
            (Some(progress), Voice::Program) => progress.finish_measured(),
            (progress, _) => drop(progress),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn download(voice: Voice) -> (String, String) {
        let (printer, captured) = Printer::captured(false);
        let narrator = Narrator::new(&printer, voice);
        let download = narrator.download(Step::Rootfs);
        download.started(2048, 0);
        download.advanced(2048);
        download.finished();
        narrator.tell_about(Step::Ready, "debian");
        narrator.unpacking();
        narrator.unpacked(31_204, Duration::from_millis(900));
        (captured.stdout(), captured.stderr())
    }

    #[test]
    fn the_template_says_the_stock_lines_on_stdout_and_nothing_else() {
        let expected = "Downloading the rootfs\nThe image cache is now ready\nUnpacking the rootfs\n";
        assert_eq!(download(Voice::Template), (expected.to_owned(), String::new()));
    }

    #[test]
    fn the_program_says_the_same_on_stderr_with_sizes_and_times() {
        let (stdout, stderr) = download(Voice::Program);
        assert_eq!(stdout, "");
        let lines: Vec<_> = stderr.lines().collect();
        assert!(lines[0].starts_with("Downloading the rootfs        2.0 KiB in "), "{stderr}");
        assert_eq!(lines[1], "The image cache is now ready  debian");
        assert_eq!(lines[2], "Unpacking the rootfs          31,204 entries in 0.9s");
    }
}
