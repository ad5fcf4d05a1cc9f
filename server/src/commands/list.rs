//! `rootcellar-server list`.

use clap::Args;
use formats::name::Name;
use serde::Serialize;
use terminal::{ExitStatus, OutputFormat, Table, human};

use crate::channel::Channel;
use crate::cli::Context;
use crate::error::Error;
use crate::store::Store;

/// List the builds in the store.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// List only what this channel offers.
    #[arg(long)]
    channel: Option<Name>,

    /// Write a table for people or JSON for programs.
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
}

/// Runs `rootcellar-server list`.
pub fn run(args: &ListArgs, context: &Context) -> Result<ExitStatus, Error> {
    let store = Store::new(&context.data);
    let channels = Channel::all(&context.data)?;
    let mut table = Table::new(["IMAGE", "SERIAL", "SIZE", "CHANNELS"]);
    let mut rows = Vec::new();
    for build in store.builds()? {
        let Some(record) = store.record(&build)? else { continue };
        let names: Vec<_> = channels
            .iter()
            .filter(|channel| channel.builds.contains(&build))
            .map(|channel| channel.name.to_string())
            .collect();
        if args.channel.as_ref().is_some_and(|channel| !names.iter().any(|name| name == channel.as_str())) {
            continue;
        }
        let size_bytes = record.files.values().map(|file| file.size_bytes).sum();
        let (image, serial) = (build.image.to_string(), build.serial.to_string());
        table.row([&image, &serial, &human::bytes(size_bytes), &names.join(", ")]);
        rows.push(Row { image, serial, size_bytes, channels: names });
    }
    context.printer.listing(args.format, &table, &rows);
    match &args.channel {
        _ if !rows.is_empty() => {}
        Some(channel) => context.printer.say(format_args!("Channel `{channel}` offers no build")),
        None => context.printer.say("The store is empty: `rootcellar-server import DIR` brings builds in"),
    }
    Ok(ExitStatus::Done)
}

#[derive(Serialize)]
struct Row {
    image: String,
    serial: String,
    size_bytes: u64,
    channels: Vec<String>,
}
