//! The list of servers.

use std::path::PathBuf;

use formats::name::Name;
use serde::Serialize;
use terminal::{ExitStatus, Table};

use crate::commands::CommandError;
use crate::config::Config;
use crate::context::Context;
use crate::remote::{Remote, Trust};

#[derive(Serialize)]
struct Row {
    name: String,
    url: String,
    channel: String,
    /// `pinned` or `tls`.
    trust: &'static str,
    fingerprint: Option<String>,
    ca: Option<PathBuf>,
    /// Whether it is used where no remote is named.
    default: bool,
}

pub(super) fn list(context: &Context) -> Result<ExitStatus, CommandError> {
    let config = Config::load(&context.directories)?;
    let default = config.remote(None).ok().map(|(name, _)| name);
    let rows: Vec<Row> = config.remotes.iter().map(|(name, remote)| Row::of(name, remote, default)).collect();
    let mut table = Table::new(["NAME", "DEFAULT", "URL", "CHANNEL", "TRUST", "CA"]);
    for row in &rows {
        let default = if row.default { "yes" } else { "no" };
        let trust = row.fingerprint.as_deref().unwrap_or(row.trust);
        let ca = row.ca.as_ref().map_or_else(|| "-".to_owned(), |ca| ca.display().to_string());
        table.row([&row.name, default, &row.url, &row.channel, trust, &ca]);
    }
    context.printer.listing(context.format, &table, &rows);
    Ok(ExitStatus::Done)
}

impl Row {
    fn of(name: &Name, remote: &Remote, default: Option<&Name>) -> Self {
        let (trust, fingerprint) = match &remote.trust {
            Trust::Pinned(fingerprint) => ("pinned", Some(fingerprint.to_string())),
            Trust::Tls => ("tls", None),
        };
        Self {
            name: name.to_string(),
            url: remote.url.to_string(),
            channel: remote.channel.to_string(),
            trust,
            fingerprint,
            ca: remote.ca.clone(),
            default: default == Some(name),
        }
    }
}
