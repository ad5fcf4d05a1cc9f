//! `rootcellar-server prune`.

use std::path::PathBuf;

use clap::Args;
use formats::time::Span;
use terminal::ExitStatus;

use crate::channel::Channel;
use crate::checkpoint::checkpoint;
use crate::cli::Context;
use crate::commands::{DEFAULT_VALIDITY, publish_now};
use crate::config::Config;
use crate::data::DataDir;
use crate::delta;
use crate::error::Error;
use crate::retention::{Ledger, Plan, Retention, candidates, pins};
use crate::store::Store;

/// Forget old builds.
///
/// They leave their channels at once, and the store when no index of the last day names them. Pinned builds, and the
/// newest build of each image in each channel, stay.
#[derive(Debug, Args)]
pub struct PruneArgs {
    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,

    /// Keep the newest N builds of each image in each channel [default: 3].
    #[arg(long, value_name = "N", env = "ROOTCELLAR_SERVER_KEEP")]
    keep: Option<usize>,

    /// Keep every build that is younger than SPAN, such as `30d`.
    #[arg(long, value_name = "SPAN", env = "ROOTCELLAR_SERVER_OLDER_THAN")]
    older_than: Option<Span>,

    /// How long a build can be downloaded after the last generation that lists it [default: 1d].
    #[arg(long, value_name = "SPAN", env = "ROOTCELLAR_SERVER_GRACE")]
    grace: Option<Span>,

    /// Read the defaults from this configuration file.
    #[arg(long, value_name = "FILE", env = "ROOTCELLAR_SERVER_CONFIG")]
    config: Option<PathBuf>,

    /// How long clients may use the new generation.
    #[arg(long, env = "ROOTCELLAR_SERVER_VALIDITY")]
    validity: Option<Span>,
}

/// Runs `rootcellar-server prune`. What it does to each build is data on stdout.
pub fn run(args: &PruneArgs, context: &Context) -> Result<ExitStatus, Error> {
    let config = args.config.as_deref().map(Config::read).transpose()?.unwrap_or_default();
    let retention = Retention {
        keep: args.keep.or(config.keep).unwrap_or(Retention::KEEP),
        older_than: args.older_than.or(config.older_than),
        grace: args.grace.or(config.grace).unwrap_or(Retention::GRACE),
    };
    if args.dry_run {
        let plan = plan(&retention, &context.data, context)?;
        report(&plan, "would leave its channels", "would be removed", context);
        return Ok(ExitStatus::Done);
    }
    let writer = context.data.write(&context.printer)?;
    let store = Store::new(&writer);
    store.sweep(&writer)?;
    let first = plan(&retention, &writer, context)?;
    for mut channel in Channel::all(&writer)? {
        if channel.unlist(&first.unlist) {
            channel.write(&writer)?;
        }
    }
    // A selection that is not published yet may be that of a prune that was killed.
    if Channel::all(&writer)?.iter().any(|channel| !channel.is_published()) {
        let validity = args.validity.or(config.validity).unwrap_or(DEFAULT_VALIDITY);
        publish_now(&writer, validity, context)?;
    }
    checkpoint("prune:unlisted");
    let mut ledger = Ledger::read(&writer)?;
    ledger.note_unknown(&candidates(&store, context.now())?, context.now());
    ledger.write(&writer)?;
    let plan = Plan { unlist: first.unlist, ..plan(&retention, &writer, context)? };
    let gone = plan.unlist.union(&plan.remove).cloned().collect();
    for mut channel in Channel::all(&writer)? {
        if channel.forget(&gone) {
            channel.write(&writer)?;
        }
    }
    delta::forget(&writer, &plan.remove)?;
    for build in &plan.remove {
        store.remove(&writer, build)?;
        checkpoint("prune:removed-one");
    }
    ledger.forget(&plan.remove);
    ledger.write(&writer)?;
    report(&plan, "left its channels", "removed", context);
    Ok(ExitStatus::Done)
}

fn plan(retention: &Retention, data: &DataDir, context: &Context) -> Result<Plan, Error> {
    let candidates = candidates(&Store::new(data), context.now())?;
    let ledger = Ledger::read(data)?;
    Ok(retention.plan(&candidates, &Channel::all(data)?, &pins(data)?, &ledger, context.now()))
}

fn report(plan: &Plan, unlisted: &str, removed: &str, context: &Context) {
    for build in &plan.unlist {
        context.printer.data(format_args!("{build}: {unlisted}"));
    }
    for build in &plan.remove {
        context.printer.data(format_args!("{build}: {removed}"));
    }
    for (build, until) in &plan.waiting {
        context.printer.say(format_args!("{build} can be downloaded until {until}"));
    }
    if plan.unlist.is_empty() && plan.remove.is_empty() {
        context.printer.say("Nothing to prune");
    }
}
