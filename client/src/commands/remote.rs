//! `rootcellar remote`

mod listing;
mod place;

use std::path::PathBuf;

use formats::certificate::Fingerprint;
use formats::name::Name;
use formats::verified::PastValidity;
use terminal::ExitStatus;

use super::{CommandError, SourceArgs};
use crate::config::{Config, ConfigFile};
use crate::context::Context;
use crate::files::Owner;
use crate::narrator;
use crate::remote::{Remote, ServerUrl, Trust, default_channel};
use crate::repository::{Repository, RepositoryError};
use crate::state::RemoteState;

use place::Place;

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
        /// Trust whatever it sends because of its TLS certificate, without any signature, from now on. For servers with
        /// the classic layout alone.
        #[arg(long, conflicts_with = "fingerprint")]
        trust_tls: bool,
        /// Its channel.
        #[arg(long, value_name = "CHANNEL", default_value_t = default_channel())]
        channel: Name,
        /// A PEM file of certificates to trust for TLS besides the system's.
        #[arg(long, value_name = "FILE")]
        ca: Option<PathBuf>,
    },
    /// List the servers, and why each is trusted.
    List,
    /// Forget a server. The newest index seen of it stays remembered.
    Remove {
        /// Its name.
        name: Name,
    },
    /// Pin the key that a server uses now, in place of what was trusted until now.
    Trust {
        /// Its name.
        name: Name,
        /// The fingerprint of its certificate.
        #[arg(long, value_name = "FINGERPRINT")]
        fingerprint: Option<Fingerprint>,
    },
    /// Print a `client.toml` that explains every key.
    ConfigTemplate,
}

/// Does it.
pub fn run(args: &Args, context: &Context) -> Result<ExitStatus, CommandError> {
    match &args.action {
        Action::Add { name, url, fingerprint, trust_tls, channel, ca } => {
            if Config::load(&context.directories)?.remotes.contains_key(name) {
                return Err(CommandError::RemoteExists { name: name.clone() });
            }
            if url.has_password() {
                return Err(CommandError::PasswordInAddress { url: url.to_string(), machine: url.name() });
            }
            let ca = ca.as_ref().map(std::path::absolute).transpose();
            let ca = ca.map_err(|source| CommandError::Unreadable { path: PathBuf::from("."), source })?;
            let place = Place { url: url.clone(), channel: channel.clone(), ca };
            if *trust_tls {
                return add_unpinned(context, name, place);
            }
            let fingerprint = place.key(context, fingerprint.as_ref(), |key| place.command_to_add(name, key))?;
            pin(context, name, place, fingerprint)
        }
        Action::Trust { name, fingerprint } => {
            let config = Config::load(&context.directories)?;
            let Remote { url, trust, channel, ca } = config.remote(Some(name))?.1.clone();
            match trust {
                Trust::Pinned(key) => context.printer.say(format_args!("Pinned until now  {}", key.grouped())),
                Trust::Tls => context.printer.say("Trusted until now for its TLS certificate alone"),
            }
            let place = Place { url, channel, ca };
            let command = |key: &Fingerprint| format!("rootcellar remote trust {name} --fingerprint {key}");
            let fingerprint = place.key(context, fingerprint.as_ref(), command)?;
            pin(context, name, place, fingerprint)
        }
        Action::Remove { name } => remove(context, name),
        Action::List => listing::list(context),
        Action::ConfigTemplate => {
            context.printer.data(crate::config::TEMPLATE.trim_end());
            Ok(ExitStatus::Done)
        }
    }
}

/// Pins a key, once the server has shown that it uses it.
fn pin(context: &Context, name: &Name, place: Place, fingerprint: Fingerprint) -> Result<ExitStatus, CommandError> {
    let pinned = format!("{:<29} {}", format!("Pinned `{name}`"), fingerprint.grouped());
    let remote = place.trusted(Trust::Pinned(fingerprint));
    let origin = remote.origin();
    let state = RemoteState::open(&context.directories.state, &origin, Owner::SELF).map_err(RepositoryError::from)?;
    let waiting = || narrator::waiting(&context.printer, narrator::CHECKS);
    let index = Repository::connect(origin)?.index(&state, context.now(), PastValidity::Refuse, waiting)?;
    ConfigFile::open(&context.directories)?.put(name, &remote)?;
    context.printer.say(pinned);
    context.printer.say(format_args!("{:<29} serial {}, valid until {}", "Its index", index.serial, index.expires));
    Ok(ExitStatus::Done)
}

/// Adds a server that no key vouches for, once it has shown that it has images.
fn add_unpinned(context: &Context, name: &Name, place: Place) -> Result<ExitStatus, CommandError> {
    let remote = place.trusted(Trust::Tls);
    let args = SourceArgs { trust_tls: true, ..SourceArgs::default() };
    let count = args.with(context, remote.origin(), |source| Ok(source.catalog(None)?.images.len()))?;
    ConfigFile::open(&context.directories)?.put(name, &remote)?;
    context.printer.say(format_args!("{:<29} {count} images, none of them signed", format!("Added `{name}`")));
    Ok(ExitStatus::Done)
}

fn remove(context: &Context, name: &Name) -> Result<ExitStatus, CommandError> {
    let mut file = ConfigFile::open(&context.directories)?;
    file.take(name)?;
    context.printer.say(format_args!("Removed the remote `{name}`"));
    if let Some(path) = file.elsewhere(name)? {
        context.printer.say(format_args!("Now `{name}` is the one of `{}` again", path.display()));
    }
    Ok(ExitStatus::Done)
}
