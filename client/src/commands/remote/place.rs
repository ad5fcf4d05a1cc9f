//! A remote before it is known why it is trusted.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;

use formats::certificate::Fingerprint;
use formats::name::Name;

use crate::commands::CommandError;
use crate::context::Context;
use crate::remote::{Origin, Remote, ServerUrl, Trust, default_channel};
use crate::repository::{Repository, introduce};

/// A remote without its key.
pub(super) struct Place {
    pub(super) url: ServerUrl,
    pub(super) channel: Name,
    pub(super) ca: Option<PathBuf>,
}

impl Place {
    /// The remote, trusted for this.
    pub(super) fn trusted(self, trust: Trust) -> Remote {
        let Self { url, channel, ca } = self;
        Remote { url, trust, channel, ca }
    }

    /// The given key, or the one the user confirms: it is shown and asked about, as ssh does. Without a terminal the
    /// command that gives it is shown.
    pub(super) fn key(
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

    pub(super) fn command_to_add(&self, name: &Name, key: &Fingerprint) -> String {
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
