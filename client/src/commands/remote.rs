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
            let at = Place { url: url.clone(), channel: channel.clone(), ca };
            pin(context, name, at, fingerprint.as_ref())
        }
        Action::Trust { name, fingerprint } => {
            let config = Config::load(&context.directories)?;
            let (_, remote) = config.remote(Some(name))?;
            context.printer.say(format_args!("Pinned until now  {}", remote.fingerprint.grouped()));
            let Remote { url, channel, ca, .. } = remote.clone();
            pin(context, name, Place { url, channel, ca }, fingerprint.as_ref())
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

/// Pins the given key, or the one the user confirms, once the server has shown that it uses it.
fn pin(
    context: &Context,
    name: &Name,
    place: Place,
    fingerprint: Option<&Fingerprint>,
) -> Result<ExitStatus, CommandError> {
    let fingerprint = match fingerprint {
        Some(fingerprint) => fingerprint.clone(),
        None => ask(context, name, &place)?,
    };
    let Place { url, channel, ca } = place;
    let remote = Remote { url, fingerprint, channel, ca };
    let origin = remote.origin();
    let state = RemoteState::open(&context.directories.state, &origin, Owner::SELF).map_err(RepositoryError::from)?;
    let index = Repository::connect(origin)?.index(&state, context.now(), PastValidity::Refuse)?;
    let mut file = ConfigFile::open(&context.directories)?;
    file.put(name, &remote)?;
    context.printer.say(format_args!(
        "Pinned `{name}`     {}\nIts index has serial {} and is valid until {}",
        remote.fingerprint.grouped(),
        index.serial,
        index.expires
    ));
    Ok(ExitStatus::Done)
}

/// Shows the key of an unknown server and asks about it, as ssh does.
fn ask(context: &Context, name: &Name, place: &Place) -> Result<Fingerprint, CommandError> {
    // Nothing is pinned yet, and nothing but the introduction is asked for.
    let Place { url, channel, ca } = place;
    let unknown = Origin { url: url.clone(), trust: Trust::Tls, channel: channel.clone(), ca: ca.clone() };
    let introduction = introduce(&Repository::connect(unknown)?, channel, context.now())?;
    let fingerprint = introduction.certificate.fingerprint();
    let url = url.to_string();
    context.printer.say(format_args!("`{url}` signs with the key\n\n    {}\n", fingerprint.grouped()));
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(CommandError::NobodyToAsk { name: name.clone(), url, fingerprint });
    }
    let mut answer = String::new();
    let mut prompt = io::stderr();
    write!(prompt, "Is this the fingerprint its operator published? [y/N] ")
        .and_then(|()| prompt.flush())
        .and_then(|()| io::stdin().lock().read_line(&mut answer))
        .map_err(CommandError::Ask)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(fingerprint),
        _ => Err(CommandError::NotConfirmed { url }),
    }
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
