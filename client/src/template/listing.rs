//! The list of images, and the questions of the interactive mode.

use std::collections::BTreeSet;
use std::io::BufRead;

use formats::image::ImageId;
use terminal::Printer;

use super::TemplateError;
use super::options::Options;
use crate::catalog::{Build, Catalog};

/// Prints the images in the columns of the stock template (LXC 6: padded), every build of each.
pub(super) fn print(catalog: &Catalog, options: &Options, printer: &Printer) {
    let mut text = format!("\n---\n{}\n---\n", row(["DIST", "RELEASE", "ARCH", "VARIANT", "BUILD"]));
    for build in wanted(catalog, options) {
        let id = &build.image;
        let columns =
            [id.distribution.as_str(), id.release.as_str(), id.arch.as_str(), id.variant.as_str(), build.name.as_str()];
        text.push_str(&row(columns));
        text.push('\n');
    }
    text.push_str("---");
    printer.data(text);
}

fn wanted<'a>(catalog: &'a Catalog, options: &Options) -> impl Iterator<Item = &'a Build> {
    let builds = catalog.images.iter().flat_map(|image| &image.builds);
    builds.filter(|build| is_wanted(build, options))
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

/// Shows the images to a person, and asks for whatever part of the name of one is missing.
///
/// A person at a terminal sees every variant, and is asked for one where there is more than the default one; the stock
/// template knows only that. A script that answers the three questions of the stock template is asked no fourth.
pub(super) fn choose(
    catalog: &Catalog,
    options: &mut Options,
    input: &mut impl BufRead,
    is_person: bool,
    printer: &Printer,
) -> Result<(), TemplateError> {
    if is_person && options.variant.is_none() {
        options.variant = Some(String::new());
    }
    print(catalog, options, printer);
    printer.data("");
    let questions =
        [("Distribution", &mut options.dist), ("Release", &mut options.release), ("Architecture", &mut options.arch)];
    for (question, value) in questions {
        if value.is_empty() {
            printer.data(format_args!("{question}: "));
            *value = answer(input)?.ok_or(TemplateError::NoAnswer { question })?;
        }
    }
    if is_person && options.variant().is_empty() {
        options.variant = Some(variant(catalog, options, input, printer)?);
    }
    printer.data("");
    Ok(())
}

/// The variant that is meant, which is asked for where there is a choice. Without an answer it is the default one, or
/// the only one.
fn variant(
    catalog: &Catalog,
    options: &Options,
    input: &mut impl BufRead,
    printer: &Printer,
) -> Result<String, TemplateError> {
    let there: BTreeSet<&str> = wanted(catalog, options).map(|build| build.image.variant.as_str()).collect();
    let mut only = there.iter().copied();
    let usual = match (there.contains(ImageId::DEFAULT_VARIANT), only.next(), only.next()) {
        (true, ..) | (false, None, _) => Some(ImageId::DEFAULT_VARIANT),
        (false, only, None) => only,
        (false, ..) => None,
    };
    if usual == Some(ImageId::DEFAULT_VARIANT) && there.len() < 2 {
        return Ok(ImageId::DEFAULT_VARIANT.to_owned());
    }
    let names = there.into_iter().collect::<Vec<_>>().join(", ");
    let or_usual = usual.map(|usual| format!("; else {usual}")).unwrap_or_default();
    printer.data(format_args!("Variant ({names}{or_usual}): "));
    let given = answer(input)?.filter(|given| !given.is_empty());
    given.or_else(|| usual.map(str::to_owned)).ok_or(TemplateError::NoAnswer { question: "Variant" })
}

/// The next line, unless the input has ended.
fn answer(input: &mut impl BufRead) -> Result<Option<String>, TemplateError> {
    let mut line = String::new();
    let count = input.read_line(&mut line).map_err(TemplateError::Input)?;
    Ok((count > 0).then(|| line.trim().to_owned()))
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

    const VARIANTS: &str = "alpine;3.20;amd64;cloud;1;/a/\nalpine;3.20;amd64;default;1;/b/\nalpine;3.20;arm64;default;1;/c/\n\
        mint;wilma;amd64;cinnamon;1;/d/\nmint;wilma;amd64;mate;1;/e/\nmint;wilma;arm64;mate;1;/f/\n";

    /// What is asked and which variant is taken.
    fn chosen(line: &[&str], answers: &str, is_person: bool) -> Result<(String, String), TemplateError> {
        let (printer, captured) = Printer::captured(false);
        let catalog = Catalog::of_index(Index::parse(VARIANTS).0);
        let mut options = options(line);
        choose(&catalog, &mut options, &mut answers.as_bytes(), is_person, &printer)?;
        let said = captured.stdout();
        let (_, asked) = said.rsplit_once("---\n\n").unwrap();
        Ok((asked.to_owned(), options.variant().to_owned()))
    }

    #[test]
    fn only_what_is_missing_is_asked_for() {
        let (asked, _) = chosen(&["-r", "3.20"], "alpine\n arm64 \n", true).unwrap();
        assert_eq!(asked, "Distribution: \nArchitecture: \n\n");
    }

    #[test]
    fn the_end_of_the_input_is_no_answer() {
        let outcome = chosen(&[], "alpine\n", false);
        assert!(matches!(outcome, Err(TemplateError::NoAnswer { question: "Release" })));
    }

    #[test]
    fn a_person_is_asked_for_the_variant_where_there_is_more_than_the_default_one() {
        let asked = |line: &[&str], answers: &str| chosen(line, answers, true);
        let (question, variant) = asked(&[], "alpine\n3.20\namd64\ncloud\n").unwrap();
        assert!(question.ends_with("Architecture: \nVariant (cloud, default; else default): \n\n"), "{question}");
        assert_eq!(variant, "cloud");
        for (answers, expected) in [
            ("alpine\n3.20\namd64\n\n", Some("default")),
            ("alpine\n3.20\namd64\n", Some("default")),
            ("alpine\n3.20\narm64\n", Some("default")),
            ("mint\nwilma\narm64\n\n", Some("mate")),
            ("mint\nwilma\namd64\nmate\n", Some("mate")),
            ("mint\nwilma\namd64\n\n", None),
            ("debian\nsid\namd64\n", Some("default")),
        ] {
            assert_eq!(asked(&[], answers).ok().map(|(_, variant)| variant).as_deref(), expected, "{answers}");
        }
        let (question, variant) = asked(&["--variant", "mate"], "mint\nwilma\namd64\n").unwrap();
        assert_eq!((question.contains("Variant"), variant.as_str()), (false, "mate"));
    }

    #[test]
    fn a_script_is_asked_three_questions_as_by_the_stock_template() {
        let (asked, variant) = chosen(&[], "alpine\n3.20\namd64\n", false).unwrap();
        assert_eq!((asked.as_str(), variant.as_str()), ("Distribution: \nRelease: \nArchitecture: \n\n", "default"));
        assert_eq!(chosen(&[], "mint\nwilma\narm64\n", false).unwrap().1, "default");
    }
}
