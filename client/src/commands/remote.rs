//! `rootcellar remote`

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;

use formats::certificate::Fingerprint;
use formats::name::Name;
use formats::verified::PastValidity;
use serde::Serialize;
use terminal::{ExitStatus, Table};

use super::CommandError;
use crate::config::{Config, ConfigFile};
use crate::context::Context;
use crate::files::Owner;
use crate::remote::{Origin, Remote, ServerUrl, Trust, default_channel};
use crate::repository::{Repository, RepositoryError, introduce};
use crate::state::RemoteState;

/// Servers by name, each with its pinned key.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    /// Add a server. Without `--fingerprint` its key is shown and asked about, once.
    Add {
        /// What to call it. `default` is used where no remote is named.
        name: Name,
        /// Where it is.
        url: ServerUrl,
        /// The fingerprint of its certificate.
        #[arg(long, value_name = "FINGERPRINT")]
        fingerprint: Option<Fingerprint>,
        /// Its channel.
        #[arg(long, value_name = "CHANNEL", default_value_t = default_channel())]
        channel: Name,
        /// A PEM file of certificates to trust for TLS besides the system's.
        #[arg(long, value_name = "FILE")]
        ca: Option<PathBuf>,
    },
    /// List the servers.
    List,
    /// Forget a server. The newest index seen of it stays remembered.
    Remove {
        /// Its name.
        name: Name,
    },
    /// Pin the key that a server uses now, in place of the one that was pinned.
    Trust {
        /// Its name.
        name: Name,
        /// The fingerprint of its certificate.
        #[arg(long, value_name = "FINGERPRINT")]
        fingerprint: Option<Fingerprint>,
    },
}

/// Does it.
pub fn run(args: &Args, context: &Context) -> Result<ExitStatus, CommandError> {
    match &args.action {
        Action::Add { name, url, fingerprint, channel, ca } => {
            if Config::load(&context.directories)?.remotes.contains_key(name) {
                return Err(CommandError::RemoteExists { name: name.clone() });
            }
            let ca = ca.as_ref().map(std::path::absolute).transpose();
            let ca = ca.map_err(|source| CommandError::Unreadable { path: PathBuf::from("."), source })?;
            let place = Place { url: url.clone(), channel: channel.clone(), ca };
            let fingerprint = place.key(context, fingerprint.as_ref(), |key| place.command_to_add(name, key))?;
            pin(context, name, place, fingerprint)
        }
        Action::Trust { name, fingerprint } => {
            let config = Config::load(&context.directories)?;
            let (_, remote) = config.remote(Some(name))?;
            context.printer.say(format_args!("Pinned until now  {}", remote.fingerprint.grouped()));
            let Remote { url, channel, ca, .. } = remote.clone();
            let place = Place { url, channel, ca };
            let command = |key: &Fingerprint| format!("rootcellar remote trust {name} --fingerprint {key}");
            let fingerprint = place.key(context, fingerprint.as_ref(), command)?;
            pin(context, name, place, fingerprint)
        }
        Action::Remove { name } => {
            ConfigFile::open(&context.directories)?.take(name)?;
            context.printer.say(format_args!("Removed the remote `{name}`"));
            Ok(ExitStatus::Done)
        }
        Action::List => list(context),
    }
}

/// A remote without its key.
struct Place {
    url: ServerUrl,
    channel: Name,
    ca: Option<PathBuf>,
}

impl Place {
    /// The given key, or the one the user confirms: it is shown and asked about, as ssh does. Without a terminal the
    /// command that gives it is shown.
    fn key(
        &self,
        context: &Context,
        given: Option<&Fingerprint>,
        command: impl FnOnce(&Fingerprint) -> String,
    ) -> Result<Fingerprint, CommandError> {
        if let Some(given) = given {
            return Ok(given.clone());
        }
        // Nothing is pinned yet, and nothing but the introduction is asked for.
        let Self { url, channel, ca } = self;
        let unknown = Origin { url: url.clone(), trust: Trust::Tls, channel: channel.clone(), ca: ca.clone() };
        let introduction = introduce(&Repository::connect(unknown)?, channel, context.now())?;
        let fingerprint = introduction.certificate.fingerprint();
        let url = url.to_string();
        context.printer.say(format_args!("`{url}` signs with the key\n\n    {}\n", fingerprint.grouped()));
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Err(CommandError::NobodyToAsk { url, command: command(&fingerprint) });
        }
        if confirmed().map_err(CommandError::Ask)? { Ok(fingerprint) } else { Err(CommandError::NotConfirmed { url }) }
    }

    fn command_to_add(&self, name: &Name, key: &Fingerprint) -> String {
        let Self { url, channel, ca } = self;
        let channel = if *channel == default_channel() { String::new() } else { format!(" --channel {channel}") };
        let ca = ca.as_ref().map(|ca| format!(" --ca {}", ca.display())).unwrap_or_default();
        format!("rootcellar remote add {name} {url} --fingerprint {key}{channel}{ca}")
    }
}

/// Asks on the terminal. The question is written without the printer, which writes whole lines only.
fn confirmed() -> io::Result<bool> {
    let (mut prompt, mut answer) = (io::stderr(), String::new());
    write!(prompt, "Is this the fingerprint its operator published? [y/N] ")?;
    prompt.flush()?;
    io::stdin().lock().read_line(&mut answer)?;
    Ok(["y", "Y", "yes"].contains(&answer.trim()))
}

/// Pins a key, once the server has shown that it uses it.
fn pin(context: &Context, name: &Name, place: Place, fingerprint: Fingerprint) -> Result<ExitStatus, CommandError> {
    let Place { url, channel, ca } = place;
    let remote = Remote { url, fingerprint, channel, ca };
    let origin = remote.origin();
    let state = RemoteState::open(&context.directories.state, &origin, Owner::SELF).map_err(RepositoryError::from)?;
    let index = Repository::connect(origin)?.index(&state, context.now(), PastValidity::Refuse)?;
    ConfigFile::open(&context.directories)?.put(name, &remote)?;
    context.printer.say(format_args!("{:<29} {}", format!("Pinned `{name}`"), remote.fingerprint.grouped()));
    context.printer.say(format_args!("{:<29} serial {}, valid until {}", "Its index", index.serial, index.expires));
    Ok(ExitStatus::Done)
}

#[derive(Serialize)]
struct Row {
    name: String,
    url: String,
    channel: String,
    fingerprint: String,
}

fn list(context: &Context) -> Result<ExitStatus, CommandError> {
    let config = Config::load(&context.directories)?;
    let row = |(name, remote): (&Name, &Remote)| Row {
        name: name.to_string(),
        url: remote.url.to_string(),
        channel: remote.channel.to_string(),
        fingerprint: remote.fingerprint.to_string(),
    };
    let rows: Vec<Row> = config.remotes.iter().map(row).collect();
    let mut table = Table::new(["NAME", "URL", "CHANNEL", "FINGERPRINT"]);
    for row in &rows {
        table.row([&row.name, &row.url, &row.channel, &row.fingerprint]);
    }
    context.printer.listing(context.format, &table, &rows);
    Ok(ExitStatus::Done)
}
