//! What a program knows about its own command line: completions for shells, and pages for man.

mod names;
mod page;

use std::fs;
use std::io;
use std::path::PathBuf;

use clap::{Command, Subcommand, ValueEnum};

use crate::exit::{Advice, ExitStatus};
use crate::printer::Printer;

pub use names::NAMES_COMMAND;
pub use page::{Body, Manual, Page, Section};

/// The two commands that every program of ours has for its own sake. Programs flatten them into their own.
#[derive(Clone, Debug, Subcommand)]
pub enum ManualCommand {
    /// Print what a shell needs to complete this program's command line.
    Completions {
        /// Which shell.
        shell: Shell,
    },
    /// Print the manual page, or write the pages of all commands.
    Man {
        /// Where to write a page for each command, `PROGRAM-COMMAND.1`.
        directory: Option<PathBuf>,
    },
}

/// The shells that completions are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl ManualCommand {
    /// Does it for the program with this command line.
    pub fn run(&self, program: Command, printer: &Printer) -> Result<ExitStatus, ManualError> {
        self.run_with(program, &Manual::default(), printer)
    }

    /// The same for a program whose pages say more.
    pub fn run_with(&self, program: Command, more: &Manual<'_>, printer: &Printer) -> Result<ExitStatus, ManualError> {
        let failed = |directory: &PathBuf| {
            let directory = directory.clone();
            |source| ManualError { directory, source }
        };
        match self {
            Self::Completions { shell } => printer.data(completions(&program, *shell).trim_end()),
            Self::Man { directory: None } => {
                printer.data(more.render(program).map_err(failed(&PathBuf::from(".")))?.trim_end());
            }
            Self::Man { directory: Some(directory) } => {
                fs::create_dir_all(directory).map_err(failed(directory))?;
                more.write(program, directory).map_err(failed(directory))?;
            }
        }
        Ok(ExitStatus::Done)
    }
}

fn completions(whole: &Command, asked: Shell) -> String {
    let mut script = Vec::new();
    // clap keeps names for as long as the process lives.
    let name: &'static str = whole.get_name().to_owned().leak();
    // Commands that are not for people are not offered to them.
    let shown = whole.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    let mut program = Command::new(name).args(whole.get_arguments().cloned()).subcommands(shown);
    let shell = match asked {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    clap_complete::generate(shell, &mut program, name, &mut script);
    names::asking(String::from_utf8_lossy(&script).into_owned(), whole, asked)
}

/// The pages could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write manual pages to `{}`", directory.display())]
pub struct ManualError {
    directory: PathBuf,
    source: io::Error,
}

impl Advice for ManualError {
    fn hint(&self) -> Option<String> {
        None
    }

    fn exit_status(&self) -> ExitStatus {
        ExitStatus::Failed
    }
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches as _;

    use super::*;

    /// What `cellar WORDS` prints.
    fn printed(words: &[&str]) -> String {
        let program = ManualCommand::augment_subcommands(Command::new("cellar").about("Keeps roots."));
        let matches = program.clone().try_get_matches_from([&["cellar"], words].concat()).unwrap();
        let (printer, captured) = Printer::captured(false);
        ManualCommand::from_arg_matches(&matches).unwrap().run(program, &printer).unwrap();
        captured.stdout()
    }

    #[test]
    fn every_shell_is_told_of_every_command() {
        for shell in ["bash", "zsh", "fish"] {
            let script = printed(&["completions", shell]);
            assert!(script.contains("cellar") && script.contains("completions"), "{shell}: {script}");
        }
    }

    #[test]
    fn a_program_that_knows_names_is_asked_for_them_and_no_other_is() {
        let plain = Command::new("cellar");
        let knowing = plain.clone().subcommand(Command::new(NAMES_COMMAND).hide(true));
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            assert!(!completions(&plain, shell).contains(NAMES_COMMAND), "{shell:?}");
            let script = completions(&knowing, shell);
            assert!(script.contains(NAMES_COMMAND) && !script.contains("PROGRAM"), "{shell:?}: {script}");
        }
    }

    #[test]
    fn a_page_is_printed_or_written_for_each_command() {
        assert!(printed(&["man"]).contains(".TH cellar 1"));
        let directory = tempfile::tempdir().unwrap();
        let pages = directory.path().join("man1");
        assert_eq!(printed(&["man", pages.to_str().unwrap()]), "");
        for page in ["cellar.1", "cellar-completions.1", "cellar-man.1"] {
            let text = fs::read_to_string(pages.join(page)).unwrap();
            assert!(text.contains(".SH \"EXIT STATUS\""), "{page}: {text}");
        }
        let (printer, _) = Printer::captured(false);
        let nowhere = ManualCommand::Man { directory: Some(pages.join("cellar.1/x")) };
        assert!(nowhere.run(Command::new("cellar"), &printer).is_err());
    }
}
