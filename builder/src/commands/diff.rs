//! `rootcellar-builder diff BUILD BUILD`

use std::path::PathBuf;

use terminal::{ExitStatus, OutputFormat, Printer, Table, human, plain};

use super::CommandError;
use crate::build::inventory::Package;
use crate::comparison::{
    Build, Change, Comparison, FileChanges, FileName, MemberChange, Name, PackageChanges, SizeChange,
};

/// Show what is different between two builds: packages, files, sizes, configuration.
///
/// Times, serials and how long a copy is fresh are no differences.
#[derive(Debug, clap::Args)]
pub(crate) struct DiffArgs {
    /// The first build directory.
    #[arg(value_name = "BUILD")]
    from: PathBuf,
    /// The second.
    #[arg(value_name = "BUILD")]
    to: PathBuf,
    /// How to print it.
    #[arg(long, default_value = "text")]
    format: OutputFormat,
}

/// Compares and prints the differences, whether there are any or not.
pub(crate) fn run(args: &DiffArgs, printer: &Printer) -> Result<ExitStatus, CommandError> {
    let found = Comparison::of(&Build::read(&args.from)?, &Build::read(&args.to)?)?;
    match args.format {
        OutputFormat::Json => printer.listing(args.format, &Table::new(["WHAT"]), &found),
        OutputFormat::Text => lines(&found).iter().for_each(|line| printer.data(line)),
    }
    if found.is_empty() {
        printer.say("The two builds have the same content");
    }
    Ok(ExitStatus::Done)
}

/// The differences for people: a heading for each kind, and below it a line for each.
fn lines(found: &Comparison) -> Vec<String> {
    let name = |name: &Name| format!("{} {}", name.image, name.serial);
    let mut lines = vec![format!("{} -> {}", name(&found.from), name(&found.to))];
    let mut section = |heading: String, below: Vec<String>| {
        if !below.is_empty() {
            lines.push(String::new());
            lines.push(heading);
            lines.extend(below.iter().map(|line| format!("  {}", plain(line).replace('\n', "\\n"))));
        }
    };
    section("How they were made".to_owned(), found.made.iter().map(change).collect());
    let PackageChanges { added, removed, changed } = &found.packages;
    section(
        format!("Packages: {} added, {} removed, {} changed", added.len(), removed.len(), changed.len()),
        packages(&found.packages),
    );
    let FileChanges { added, removed, changed, .. } = &found.files;
    section(
        format!("Files: {} added, {} removed, {} changed", added.len(), removed.len(), changed.len()),
        files(&found.files),
    );
    section("Sizes".to_owned(), found.sizes.iter().map(size).collect());
    section("Configuration".to_owned(), found.config.iter().flat_map(member).collect());
    lines
}

fn change(change: &Change) -> String {
    let or_nothing = |text: &str| if text.is_empty() { "nothing".to_owned() } else { text.to_owned() };
    format!("{} {} -> {}", change.what, or_nothing(&change.from), or_nothing(&change.to))
}

fn packages(packages: &PackageChanges) -> Vec<String> {
    let one = |sign: &str, package: &Package| format!("{sign} {}:{} {}", package.name, package.arch, package.version);
    let removed = packages.removed.iter().map(|package| one("-", package));
    let added = packages.added.iter().map(|package| one("+", package));
    let changed = packages.changed.iter().map(|package| format!("~ {}", change(package)));
    removed.chain(added).chain(changed).collect()
}

fn files(files: &FileChanges) -> Vec<String> {
    let one = |sign: &str, file: &FileName| {
        let what = file.size_bytes.map_or_else(|| file.kind.to_owned(), human::bytes);
        format!("{sign} {}  {what}", file.path)
    };
    let removed = files.removed.iter().map(|file| one("-", file));
    let added = files.added.iter().map(|file| one("+", file));
    let changed = files.changed.iter().map(|file| {
        let changes: Vec<_> = file.changes.iter().map(change).collect();
        format!("~ {}  {}", file.path, changes.join(", "))
    });
    let times = (files.only_times > 0).then(|| format!("{} more only in their times", human::count(files.only_times)));
    removed.chain(added).chain(changed).chain(times).collect()
}

fn size(size: &SizeChange) -> String {
    let shown = |size: Option<u64>| size.map_or_else(|| "nothing".to_owned(), human::bytes);
    let (from, to) = (size.from_bytes.unwrap_or_default(), size.to_bytes.unwrap_or_default());
    let sign = if to >= from { "+" } else { "-" };
    let by = human::bytes(from.abs_diff(to));
    format!("{} {} -> {} ({sign}{by})", size.file, shown(size.from_bytes), shown(size.to_bytes))
}

fn member(change: &MemberChange) -> Vec<String> {
    let name = change.member.as_ref().map_or_else(|| change.file.clone(), |member| format!("{} {member}", change.file));
    std::iter::once(name).chain(change.lines.iter().map(|line| format!("  {line}"))).collect()
}
