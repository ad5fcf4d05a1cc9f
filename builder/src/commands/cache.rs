//! `rootcellar-builder cache list|prune`

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::Subcommand;
use formats::time::{Span, Timestamp};
use serde_json::json;
use terminal::{ExitStatus, OutputFormat, Printer, Table, human};

use super::build::{absolute, cache_root};
use super::{CommandError, become_builder};
use crate::cache::Cache;
use crate::cache::prune::{self, Entry, Policy};
use crate::cache::stages::DIRECTORIES;
use crate::userns::Mode;

/// Show what earlier builds have kept, or remove some of it.
#[derive(Debug, clap::Args)]
pub(crate) struct CacheArgs {
    #[command(subcommand)]
    command: CacheCommand,
    /// Where it is kept [default: as for `build`].
    #[arg(long, env = "ROOTCELLAR_BUILDER_CACHE", value_name = "DIR", global = true)]
    cache: Option<PathBuf>,
    /// How to print it.
    #[arg(long, default_value = "text", global = true)]
    format: OutputFormat,
}

/// What happens to it.
#[derive(Debug, Subcommand)]
enum CacheCommand {
    /// Show it, what was used last at the end.
    List,
    /// Remove what was not used for long, or what is too much, and print it.
    Prune(PruneArgs),
}

/// What goes.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
struct PruneArgs {
    /// Whatever was not used for so long, such as `30d`.
    #[arg(long, value_name = "SPAN")]
    older_than: Option<Span>,
    /// What was not used longest, until the rest is no larger, such as `20G`.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_size: Option<u64>,
    /// Print it, but remove nothing.
    #[arg(long, requires = "PruneArgs")]
    dry_run: bool,
}

/// Lists or prunes.
pub(crate) fn run(args: &CacheArgs, printer: &Printer) -> Result<ExitStatus, CommandError> {
    let root = absolute(&cache_root(args.cache.clone())?)?;
    if !rustix::process::geteuid().is_root() && root.join(DIRECTORIES[1]).exists() {
        // What is in such trees belongs to the subordinate ids.
        become_builder(Mode::Userns, None)?;
    }
    let listed = match &args.command {
        CacheCommand::List => prune::list(&Cache::open(&root, None)?)?,
        CacheCommand::Prune(what) => {
            let cache = Cache::open_alone(&root)?;
            let policy = Policy { older_than: what.older_than.map(Duration::from), size_bytes: what.max_size };
            let chosen = prune::chosen(&prune::list(&cache)?, policy, SystemTime::now());
            if !what.dry_run {
                prune::remove(&cache, &chosen)?;
            }
            chosen
        }
    };
    let mut table = Table::new(["USED", "SIZE", "KIND", "NAME"]);
    for entry in &listed {
        let day = Timestamp::from(entry.used).date();
        table.row([day, human::bytes(entry.size_bytes), entry.kind.to_owned(), entry.name.clone()]);
    }
    let document: Vec<_> = listed.iter().map(shown).collect();
    printer.listing(args.format, &table, &json!(document));
    let total = human::bytes(listed.iter().map(|entry| entry.size_bytes).sum());
    let verb = match &args.command {
        CacheCommand::List => "in",
        CacheCommand::Prune(what) if what.dry_run => "would go from",
        CacheCommand::Prune(_) => "removed from",
    };
    printer.say(format_args!("{total} {verb} `{}`", root.display()));
    Ok(ExitStatus::Done)
}

fn shown(entry: &Entry) -> serde_json::Value {
    json!({
        "kind": entry.kind,
        "name": entry.name,
        "path": entry.path,
        "size_bytes": entry.size_bytes,
        "used": Timestamp::from(entry.used),
    })
}

/// A size in bytes, or with a unit: `20G`, `512MiB`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = text.get(digits.len()..).unwrap_or_default().trim();
    let shift = match unit.trim_end_matches('B').trim_end_matches('i') {
        "" => Some(0),
        "K" => Some(10),
        "M" => Some(20),
        "G" => Some(30),
        "T" => Some(40),
        _ => None,
    };
    let value = digits.parse::<u64>().ok().zip(shift).and_then(|(number, shift)| number.checked_mul(1 << shift));
    value.ok_or_else(|| "expected a size such as `512M` or `20G`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units() {
        assert_eq!(size("20G"), Ok(20 << 30));
        assert_eq!(size("512MiB"), Ok(512 << 20));
        assert_eq!(size("0"), Ok(0));
        for wrong in ["", "G", "20X", "-1", "1.5G", "99999999999T"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
