//! Which image, from where, trusted why: the arguments that several commands share.

use std::path::PathBuf;
use std::str::FromStr;

use formats::certificate::Fingerprint;
use formats::compat::Mode;
use formats::image::{ImageQuery, ParseImageIdError};
use formats::name::Name;
use formats::verified::PastValidity;

use super::CommandError;
use crate::acquire::Source;
use crate::config::Config;
use crate::context::Context;
use crate::files::Owner;
use crate::login;
use crate::narrator::{Narrator, Voice};
use crate::remote::{Origin, ServerUrl, Trust, default_channel};
use crate::repository::Repository;
use crate::userns::Placement;

/// Where images come from, and why they are trusted.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct SourceArgs {
    /// The remote, when it is not the default one.
    #[arg(long, value_name = "NAME", conflicts_with = "server")]
    pub remote: Option<Name>,

    /// The server, without a remote.
    #[arg(long, value_name = "URL")]
    pub server: Option<ServerUrl>,

    /// The fingerprint of the server's certificate.
    #[arg(long, value_name = "FINGERPRINT", requires = "server", conflicts_with = "trust_tls")]
    pub fingerprint: Option<Fingerprint>,

    /// The server's channel.
    #[arg(long, value_name = "CHANNEL", requires = "server")]
    pub channel: Option<Name>,

    /// A PEM file of certificates to trust for TLS besides the system's.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// Trust whatever the server sends because of its TLS certificate, without any signature.
    #[arg(long, requires = "server")]
    pub trust_tls: bool,

    /// Use an index past its validity.
    #[arg(long)]
    pub accept_expired_index: bool,
}

impl SourceArgs {
    /// Where images come from: the remote that is named in the image itself or by an option, or a server.
    pub fn origin(&self, config: &Config, of_image: Option<&Name>) -> Result<Origin, CommandError> {
        if let Some(remote) = of_image {
            let other = if self.server.is_some() {
                Some("--server")
            } else {
                self.remote.as_ref().filter(|named| *named != remote).map(|_| "--remote")
            };
            if let Some(option) = other {
                return Err(CommandError::TwoServers { remote: remote.clone(), option });
            }
        }
        let origin = match &self.server {
            Some(url) => self.of_server(url, config)?,
            None => config.remote(of_image.or(self.remote.as_ref()))?.1.origin(),
        };
        Ok(Origin { ca: self.ca.clone().or(origin.ca), ..origin })
    }

    fn of_server(&self, url: &ServerUrl, config: &Config) -> Result<Origin, CommandError> {
        let channel = self.channel.clone().unwrap_or_else(default_channel);
        let trust = match (&self.fingerprint, config.remote_at(url)) {
            (Some(fingerprint), _) => Trust::Pinned(fingerprint.clone()),
            (None, _) if self.trust_tls => Trust::Tls,
            (None, Some(remote)) => {
                let channel = self.channel.clone().unwrap_or_else(|| remote.channel.clone());
                return Ok(Origin { channel, ..remote.origin() });
            }
            (None, None) => return Err(CommandError::NotPinned { server: url.to_string() }),
        };
        Ok(Origin { url: url.clone(), trust, channel, ca: None })
    }

    /// Opens server and cache, and hands what is needed to get images to `act`.
    pub fn with<T>(
        &self,
        context: &Context,
        origin: Origin,
        act: impl FnOnce(&Source<'_>) -> Result<T, CommandError>,
    ) -> Result<T, CommandError> {
        if self.server.is_some() {
            login::warn_of_typed(&origin.url, "", &context.printer);
        }
        if origin.trust == Trust::Tls {
            let why = if self.trust_tls { "of `--trust-tls`" } else { "the remote was added with `--trust-tls`" };
            context
                .printer
                .warn(format_args!("nothing but its TLS certificate vouches for `{}`, because {why}", origin.url));
        }
        let past_validity = if self.accept_expired_index { PastValidity::Accept } else { PastValidity::Refuse };
        act(&Source {
            repository: &Repository::connect(origin)?,
            state: &context.directories.state,
            cache: &context.cache()?,
            stock_cache: context.directories.stock_cache.as_deref(),
            owner: Owner::SELF,
            mode: if rustix::process::geteuid().is_root() {
                Placement::of_this_process().map_err(CommandError::Placement)?.mode()
            } else {
                Mode::User
            },
            past_validity,
            now: context.now(),
            narrator: &Narrator::new(&context.printer, Voice::Program),
        })
    }
}

/// What a person types for an image: `[REMOTE:]debian/bookworm[/arch][/variant][@serial]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSpec {
    /// The remote, when one is named.
    pub remote: Option<Name>,
    /// The image.
    pub query: ImageQuery,
}

impl FromStr for ImageSpec {
    type Err = ParseImageIdError;

    fn from_str(text: &str) -> Result<Self, ParseImageIdError> {
        // Builds of classic servers have colons in their names.
        let (name, _) = text.split_once('@').unwrap_or((text, ""));
        Ok(match name.find(':').map(|colon| (&text[..colon], &text[colon + 1..])) {
            Some((remote, query)) => Self { remote: Some(remote.parse()?), query: query.parse()? },
            None => Self { remote: None, query: text.parse()? },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const FINGERPRINT: &str = "0123456789ABCDEF0123456789ABCDEF01234567";

    fn config() -> Config {
        toml::from_str(&format!(
            "[remotes.home]\nurl = \"https://home\"\nfingerprint = \"{FINGERPRINT}\"\nchannel = \"testing\"\n"
        ))
        .unwrap()
    }

    #[test]
    fn an_image_may_name_its_remote_and_its_build() {
        let spec: ImageSpec = "home:debian/12@20261123_0522".parse().unwrap();
        assert_eq!(spec.remote.unwrap().as_str(), "home");
        assert_eq!(spec.query.to_string(), "debian/12@20261123_0522");
        assert_eq!("debian".parse::<ImageSpec>().unwrap().remote, None);
        let classic: ImageSpec = "debian/12@20261120_07:42".parse().unwrap();
        assert_eq!((classic.remote, classic.query.to_string().as_str()), (None, "debian/12@20261120_07:42"));
        assert!("../x:debian".parse::<ImageSpec>().is_err());
    }

    #[test]
    fn a_server_without_a_pinned_key_is_refused_with_every_way_out() {
        let args = SourceArgs { server: Some("https://stranger".parse().unwrap()), ..SourceArgs::default() };
        let error = args.origin(&config(), None).unwrap_err();
        let hint = terminal::Advice::hint(&error).unwrap();
        assert!(["--fingerprint", "remote add", "--trust-tls"].iter().all(|way| hint.contains(way)), "{hint}");
    }

    #[test]
    fn an_image_of_a_remote_is_not_looked_for_elsewhere_and_an_option_is_not_ignored() {
        let home: Name = "home".parse().unwrap();
        let server = SourceArgs { server: Some("https://stranger".parse().unwrap()), ..SourceArgs::default() };
        let remote = SourceArgs { remote: Some("work".parse().unwrap()), ..SourceArgs::default() };
        for (args, option) in [(server, "--server"), (remote, "--remote")] {
            let error = args.origin(&config(), Some(&home)).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("`home:` names the remote `home`, and `{option}` names another server")
            );
            assert!(terminal::Advice::hint(&error).unwrap().contains(option));
        }
        let same = SourceArgs { remote: Some(home.clone()), ..SourceArgs::default() };
        assert!(same.origin(&config(), Some(&home)).is_ok());
    }

    #[test]
    fn the_pin_of_a_remote_counts_for_its_address_too() {
        let args = SourceArgs { server: Some("https://home/".parse().unwrap()), ..SourceArgs::default() };
        let origin = args.origin(&config(), None).unwrap();
        assert_eq!(origin.trust, Trust::Pinned(FINGERPRINT.parse().unwrap()));
        assert_eq!(origin.channel.as_str(), "testing");
    }

    #[test]
    fn a_given_fingerprint_wins_over_a_configured_one() {
        let other = "F".repeat(40);
        let args = SourceArgs {
            server: Some("https://home".parse().unwrap()),
            fingerprint: Some(other.parse().unwrap()),
            ..SourceArgs::default()
        };
        assert_eq!(args.origin(&config(), None).unwrap().trust, Trust::Pinned(other.parse().unwrap()));
    }
}
