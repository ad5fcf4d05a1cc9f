//! What is being typed on a command line that is not complete yet.

use std::collections::BTreeMap;

use clap::{Arg, ArgAction, Command};

/// The last word of a command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// The command, such as `remote add`.
    pub(super) command: String,
    /// Which argument the last word is for, by its id: an option's value, or one of those without a name.
    pub(super) argument: Option<String>,
    /// The last word.
    pub(super) word: &'a str,
    /// The values of the options before it.
    pub(super) options: BTreeMap<String, &'a str>,
}

impl<'a> Line<'a> {
    /// Reads the words after the program's name as that program would.
    pub(super) fn of(program: &Command, words: &'a [String]) -> Self {
        let Some((word, before)) = words.split_last() else { return Self::default() };
        let mut line = Self { word, ..Self::default() };
        let (mut command, mut position, mut awaits) = (program, 0, None::<String>);
        for text in before {
            if let Some(option) = awaits.take() {
                line.options.insert(option, text);
            } else if text == "--" {
                // What follows belongs to another program.
                return line;
            } else if let Some(option) = option(program, command, text) {
                awaits = Some(option.get_id().to_string()).filter(|_| takes_value(option) && !text.contains('='));
            } else if let Some(inner) = command.find_subcommand(text) {
                command = inner;
                let gap = if line.command.is_empty() { "" } else { " " };
                line.command.extend([gap, text]);
            } else if !text.starts_with('-') {
                position += 1;
            }
        }
        let positionals: Vec<&Arg> = command.get_positionals().filter(|arg| !arg.is_last_set()).collect();
        let positional = positionals.get(position).or_else(|| positionals.last().filter(|last| is_many(last)));
        line.argument = awaits.or_else(|| Some(positional?.get_id().to_string()));
        line
    }
}

/// The option that a word is: of the command, or of the whole program.
fn option<'a>(program: &'a Command, command: &'a Command, text: &str) -> Option<&'a Arg> {
    let name = text.split('=').next()?;
    let is_it = |arg: &&Arg| match name.strip_prefix("--") {
        Some(long) => arg.get_long() == Some(long),
        None => name.strip_prefix('-').is_some_and(|rest| rest.chars().last() == arg.get_short() && !rest.is_empty()),
    };
    command
        .get_arguments()
        .find(is_it)
        .or_else(|| program.get_arguments().filter(|arg| arg.is_global_set()).find(is_it))
}

fn takes_value(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
}

fn is_many(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    fn of(line: &str) -> (String, Option<String>) {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let line = Line::of(&Cli::command(), &words);
        (line.command, line.argument)
    }

    #[test]
    fn the_argument_that_is_being_typed_is_found_behind_options_and_their_values() {
        for (line, command, argument) in [
            ("create ", "create", Some("name")),
            ("create web1 deb", "create", Some("image")),
            ("create -f file --offline web1 deb", "create", Some("image")),
            ("-P /x create --format json web1 deb", "create", Some("image")),
            ("cache warm one two thr", "cache warm", Some("images")),
            ("create --remote ho", "create", Some("remote")),
            ("create --remote=home web1 de", "create", Some("image")),
            ("start web1 ", "start", None),
            ("exec web1 -- de", "exec", None),
            ("remote remove ho", "remote remove", Some("name")),
            ("nonsense wo", "", None),
        ] {
            let expected = (command.to_owned(), argument.map(str::to_owned));
            assert_eq!(of(line), expected, "{line}");
        }
    }

    #[test]
    fn the_values_of_options_are_kept() {
        let words = ["-P", "/x", "start", "we"].map(str::to_owned);
        let line = Line::of(&Cli::command(), &words);
        assert_eq!((line.options["containers"], line.word), ("/x", "we"));
    }
}
