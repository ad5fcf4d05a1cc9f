//! Pages for man(1), with what the command line does not know of itself.

use std::io;
use std::path::Path;

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

/// What a program's pages say besides its command line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manual<'a> {
    /// The last sections of every page.
    pub sections: &'a [Section<'a>],
    /// Pages of their own.
    pub pages: &'a [Page<'a>],
}

/// A page of its own.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// Its name, `lxc-download`.
    pub name: &'a str,
    /// What it is about, in half a sentence.
    pub about: &'a str,
    /// What it says; the sections that every page has come after these.
    pub sections: &'a [Section<'a>],
}

/// A section of a page.
#[derive(Clone, Copy, Debug)]
pub struct Section<'a> {
    /// Its title, in capital letters.
    pub title: &'a str,
    /// What it says.
    pub body: Body<'a>,
}

/// What a section says.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// Paragraphs.
    Text(&'a [&'a str]),
    /// Words and what each of them means.
    Items(&'a [(&'a str, &'a str)]),
    /// Lines that stay as they are.
    Verbatim(&'a str),
}

impl Manual<'_> {
    /// The page of a command.
    pub(super) fn render(&self, command: Command) -> io::Result<String> {
        let mut page = Vec::new();
        Man::new(command).render(&mut page)?;
        Ok(String::from_utf8_lossy(&page).into_owned() + &self.end())
    }

    /// Writes a page for each command that is for people, and those of their own.
    pub(super) fn write(&self, program: Command, directory: &Path) -> io::Result<()> {
        let mut program = program.disable_help_subcommand(true);
        program.build();
        self.write_commands(&program, directory)?;
        for Page { name, about, sections } in self.pages {
            let mut roff = Roff::new();
            roff.control("TH", [*name, "1"]);
            roff.control("SH", ["NAME"]).text([roman(format!("{name} - {about}"))]);
            sections.iter().for_each(|section| section.render(&mut roff));
            std::fs::write(directory.join(format!("{name}.1")), roff.to_roff() + &self.end())?;
        }
        Ok(())
    }

    fn write_commands(&self, command: &Command, directory: &Path) -> io::Result<()> {
        for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
            self.write_commands(inner, directory)?;
        }
        let name = Man::new(command.clone()).get_filename();
        std::fs::write(directory.join(name), self.render(command.clone())?)
    }

    fn end(&self) -> String {
        let mut roff = Roff::new();
        [EXIT_STATUS].iter().chain(self.sections).for_each(|section| section.render(&mut roff));
        roff.render()
    }
}

impl Section<'_> {
    fn render(&self, roff: &mut Roff) {
        roff.control("SH", [self.title]);
        match self.body {
            Body::Text(paragraphs) => {
                for paragraph in paragraphs {
                    roff.control("PP", []).text([roman(*paragraph)]);
                }
            }
            Body::Items(items) => {
                for (word, meaning) in items {
                    roff.control("TP", []).text([bold(*word)]).text([roman(*meaning)]);
                }
            }
            Body::Verbatim(lines) => {
                roff.control("nf", []);
                for line in lines.lines() {
                    roff.text([roman(line)]);
                }
                roff.control("fi", []);
            }
        }
    }
}

/// The same for all programs: [`ExitStatus`](crate::ExitStatus).
const EXIT_STATUS: Section<'static> = Section {
    title: "EXIT STATUS",
    body: Body::Items(&[
        ("0", "Done."),
        ("1", "The command line, an input or what a server sent is bad, or the answer is no."),
        ("2", "This machine or the program failed: no network, no room, no rights."),
        ("other", "That of a command that was run, such as one in a container; 128 and more for a signal."),
    ]),
};
