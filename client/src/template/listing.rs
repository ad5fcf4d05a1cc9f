//! The list of images, and the questions of the interactive mode.

use std::io::BufRead;

use terminal::Printer;

use super::TemplateError;
use super::options::Options;
use crate::catalog::{Build, Catalog};

/// Prints the images in the columns of the stock template (LXC 6: padded), every build of each.
pub(super) fn print(catalog: &Catalog, options: &Options, printer: &Printer) {
    let mut text = format!("\n---\n{}\n---\n", row(["DIST", "RELEASE", "ARCH", "VARIANT", "BUILD"]));
    for build in catalog.images.iter().flat_map(|image| &image.builds).filter(|build| is_wanted(build, options)) {
        let id = &build.image;
        let columns =
            [id.distribution.as_str(), id.release.as_str(), id.arch.as_str(), id.variant.as_str(), build.name.as_str()];
        text.push_str(&row(columns));
        text.push('\n');
    }
    text.push_str("---");
    printer.data(text);
}

fn is_wanted(build: &Build, options: &Options) -> bool {
    let id = &build.image;
    let is = |wanted: &str, found: &str| wanted.is_empty() || wanted == found;
    is(&options.dist, id.distribution.as_str())
        && is(&options.release, id.release.as_str())
        && (options.arch.is_empty() || options.arch.parse() == Ok(id.arch))
        && is(options.variant(), id.variant.as_str())
}

fn row([dist, release, arch, variant, build]: [&str; 5]) -> String {
    format!("{dist:<15}  {release:<10}  {arch:<5}  {variant:<7}  {build:<14}")
}

/// Asks for whatever part of the image's name is missing.
pub(super) fn ask(options: &mut Options, input: &mut impl BufRead, printer: &Printer) -> Result<(), TemplateError> {
    printer.data("");
    let questions = [
        ("Distribution: ", &mut options.dist),
        ("Release: ", &mut options.release),
        ("Architecture: ", &mut options.arch),
    ];
    for (question, answer) in questions {
        if answer.is_empty() {
            printer.data(question);
            let mut line = String::new();
            if input.read_line(&mut line).map_err(TemplateError::Input)? == 0 {
                return Err(TemplateError::NoAnswer { question: question.trim_end_matches(": ") });
            }
            line.trim().clone_into(answer);
        }
    }
    printer.data("");
    Ok(())
}

#[cfg(test)]
mod tests {
    use formats::index::Index;

    use super::*;

    fn options(line: &[&str]) -> Options {
        Options::parse(line.iter().map(std::ffi::OsString::from)).unwrap()
    }

    fn printed(line: &[&str]) -> String {
        let index = "alpine;3.20;amd64;default;20261120_07:42;/a/\nalpine;3.20;amd64;cloud;20261120_07:42;/b/\n\
            debian;bookworm;arm64;default;20261120_07:42;/c/\n";
        let (printer, captured) = Printer::captured(false);
        print(&Catalog::of_index(Index::parse(index).0), &options(line), &printer);
        captured.stdout()
    }

    #[test]
    fn columns_are_those_of_the_stock_template() {
        let expected = "\n---\n\
            DIST             RELEASE     ARCH   VARIANT  BUILD         \n---\n\
            alpine           3.20        amd64  default  20261120_07:42\n\
            debian           bookworm    arm64  default  20261120_07:42\n---\n";
        assert_eq!(printed(&[]), expected);
    }

    #[test]
    fn a_list_is_filtered_by_what_was_given_and_an_empty_variant_shows_all() {
        assert_eq!(printed(&["-d", "alpine"]).lines().count(), 6);
        assert_eq!(printed(&["--variant", ""]).lines().count(), 8);
        assert_eq!(printed(&["-a", "aarch64"]).lines().count(), 6);
    }

    #[test]
    fn only_what_is_missing_is_asked_for() {
        let (printer, captured) = Printer::captured(false);
        let mut options = options(&["-r", "bookworm"]);
        ask(&mut options, &mut &b"debian\n amd64 \n"[..], &printer).unwrap();
        assert_eq!((options.dist.as_str(), options.arch.as_str()), ("debian", "amd64"));
        assert_eq!(captured.stdout(), "\nDistribution: \nArchitecture: \n\n");
    }

    #[test]
    fn the_end_of_the_input_is_no_answer() {
        let (printer, _) = Printer::captured(false);
        let outcome = ask(&mut options(&[]), &mut &b"debian\n"[..], &printer);
        assert!(matches!(outcome, Err(TemplateError::NoAnswer { question: "Release" })));
    }
}
