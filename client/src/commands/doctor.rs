//! `rootcellar doctor`

use terminal::{ExitStatus, Table};

use super::CommandError;
use crate::config::Config;
use crate::context::Context;
use crate::doctor::{Machine, Verdict, examine};

/// Say what this host has and lacks for running containers, with the command that helps.
///
/// Ends with 0 when nothing is missing that containers do not run without, else with 1.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {}

/// Examines this machine as the user who asks.
pub fn run(_: &Args, context: &Context) -> Result<ExitStatus, CommandError> {
    let checks = examine(&Machine::this(), &context.directories, &Config::load(&context.directories)?);
    let mut table = Table::new(["STATE", "CHECK", "FOUND", "FIX"]);
    for check in &checks {
        table.row([check.verdict.word(), check.name, &check.found, check.fix.as_deref().unwrap_or_default()]);
    }
    context.printer.listing(context.format, &table, &checks);
    let is_well = checks.iter().all(|check| check.verdict != Verdict::Missing);
    Ok(if is_well { ExitStatus::Done } else { ExitStatus::Refused })
}
