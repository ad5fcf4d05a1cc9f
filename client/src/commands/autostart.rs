//! `rootcellar autostart`

use std::time::Duration;

use serde::Serialize;
use terminal::{Advice, ExitStatus, Table};

use crate::commands::stop;
use crate::context::Context;
use crate::runtime::{self, Autostart, Choice, Container, Error, StartOptions, State, StopOptions};

/// Start the containers that start with the machine, or stop or list them.
///
/// Those with `lxc.start.auto = 1` and no `lxc.group`: the higher `lxc.start.order` first, with `lxc.start.delay` seconds
/// after each. They are stopped in the opposite order. One that fails stops none of the others; the exit status is then
/// 2.
#[derive(Clone, Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct Args {
    /// Stop them.
    #[arg(short = 's', long, conflicts_with_all = ["kill", "list"])]
    pub stop: bool,

    /// Kill them.
    #[arg(short = 'k', long, conflicts_with = "list")]
    pub kill: bool,

    /// List them in the order of their start.
    #[arg(short = 'L', long)]
    pub list: bool,

    /// The groups to take, one after the other; an empty name stands for the containers in no group.
    #[arg(short = 'g', long = "groups", value_name = "GROUP,…", value_delimiter = ',')]
    pub groups: Vec<String>,

    /// Take containers of any group.
    #[arg(short = 'a', long, conflicts_with = "groups")]
    pub all: bool,

    /// Take also those without `lxc.start.auto`.
    #[arg(short = 'A', long)]
    pub ignore_auto: bool,

    /// How many seconds each may take to shut down before it is killed.
    #[arg(short = 't', long, value_name = "SECONDS", default_value_t = 60)]
    pub timeout: u64,
}

/// One container of the listing.
#[derive(Serialize)]
struct Row {
    name: String,
    state: State,
    #[serde(flatten)]
    autostart: Autostart,
}

/// Starts, stops or lists them.
pub fn run(args: &Args, context: &Context) -> Result<ExitStatus, Error> {
    let mut failures = 0;
    let mut all = Vec::new();
    for container in runtime::list(&context.directories.containers)? {
        match container.autostart() {
            Ok(autostart) => all.push((container, autostart)),
            // A configuration that cannot be read must not keep the others from starting.
            Err(error) => report(context, &error, &mut failures),
        }
    }
    let choice = Choice { groups: args.groups.clone(), ignores_groups: args.all, ignores_auto: args.ignore_auto };
    let mut chosen = runtime::chosen(all, &choice, |(container, autostart)| (container.name().as_str(), autostart));
    if args.list {
        list(&chosen, context);
    } else if args.stop || args.kill {
        chosen.reverse();
        let options = StopOptions { timeout: Duration::from_secs(args.timeout), kill: args.kill };
        for (container, _) in &chosen {
            match container.stop(&options) {
                Ok(stopped) => stop::say(container.name(), stopped, args.timeout, context),
                Err(Error::NotRunning { .. }) => {}
                Err(error) => report(context, &error, &mut failures),
            }
        }
    } else {
        start(&chosen, context, &mut failures);
    }
    Ok(if failures == 0 { ExitStatus::Done } else { ExitStatus::Failed })
}

fn start(chosen: &[(Container, Autostart)], context: &Context, failures: &mut usize) {
    for (place, (container, autostart)) in chosen.iter().enumerate() {
        match container.start(&StartOptions::default()) {
            Ok(started) => {
                for notice in &started.notices {
                    context.printer.warn(format_args!("`{}`: {notice}", container.name()));
                }
                context.printer.say(format_args!("Started `{}` (pid {})", container.name(), started.pid));
                if place + 1 < chosen.len() {
                    std::thread::sleep(Duration::from_secs(autostart.delay_seconds));
                }
            }
            Err(Error::Running { .. }) => {}
            Err(error) => report(context, &error, failures),
        }
    }
}

fn list(chosen: &[(Container, Autostart)], context: &Context) {
    let row = |(container, autostart): &(Container, Autostart)| Row {
        name: container.name().to_string(),
        state: container.status().state,
        autostart: autostart.clone(),
    };
    let rows: Vec<Row> = chosen.iter().map(row).collect();
    let mut table = Table::new(["NAME", "STATE", "ORDER", "DELAY", "GROUPS"]);
    for Row { name, state, autostart } in &rows {
        let groups = if autostart.groups.is_empty() { "-".to_owned() } else { autostart.groups.join(", ") };
        let (order, delay) = (autostart.order.to_string(), autostart.delay_seconds.to_string());
        table.row([name.clone(), state.to_string(), order, delay, groups]);
    }
    context.printer.listing(context.format, &table, &rows);
}

fn report(context: &Context, error: &Error, failures: &mut usize) {
    *failures += 1;
    context.printer.error(error, error.hint().as_deref());
}
