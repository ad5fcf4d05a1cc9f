//! Which server, and why it is trusted.

use formats::certificate::Fingerprint;
use formats::name::Name;

use super::TemplateError;
use super::options::Options;
use crate::config::{Config, TemplateTrust};
use crate::remote::{Origin, Remote, ServerUrl, Trust, default_channel};

/// Where the template gets images from: `--server`, else the configured server, else the default remote, else the
/// server of the stock template.
///
/// What vouches for it: a fingerprint that was given, else the key pinned for a remote of this address. A server with
/// neither is refused, unless its TLS certificate is to be enough, by `--trust-tls` or the configuration.
pub(super) fn choose(
    options: &Options,
    config: &Config,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Origin, TemplateError> {
    let server = options.server.as_ref().or(config.template.server.as_ref());
    let (url, remote) = match server {
        Some(server) => {
            let url = ServerUrl::of_template(server)?;
            let remote = config.remote_at(&url);
            (url, remote)
        }
        None => match config.remote(None) {
            Ok((_, remote)) => (remote.url.clone(), Some(remote)),
            Err(_) => (ServerUrl::of_template(STOCK_SERVER)?, None),
        },
    };
    let given = options.fingerprint.clone().or_else(|| environment(FINGERPRINT));
    let trust = match (given, remote) {
        (Some(text), _) => Trust::Pinned(text.parse::<Fingerprint>()?),
        (None, _) if options.trust_tls => Trust::Tls,
        (None, Some(remote)) => remote.trust.clone(),
        (None, None) if config.template.trust == TemplateTrust::Tls => Trust::Tls,
        (None, None) => return Err(TemplateError::NotPinned { server: url.host() }),
    };
    let channel = match &options.channel {
        Some(channel) => channel.parse::<Name>()?,
        None => remote.map_or_else(default_channel, |remote: &Remote| remote.channel.clone()),
    };
    let ca = options.ca.clone().or_else(|| environment(CA).map(Into::into)).or_else(|| remote?.ca.clone());
    Ok(Origin { url, trust, channel, ca })
}

const STOCK_SERVER: &str = "images.linuxcontainers.org";
const FINGERPRINT: &str = "ROOTCELLAR_FINGERPRINT";
const CA: &str = "ROOTCELLAR_CA";

#[cfg(test)]
mod tests {
    use super::*;

    const PINNED: &str = "0123456789ABCDEF0123456789ABCDEF01234567";
    const OTHER: &str = "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF";

    fn config(more: &str) -> Config {
        let remote =
            format!("[remotes.home]\nurl = \"https://127.0.0.1:8443\"\nfingerprint = \"{PINNED}\"\nca = \"/ca\"\n");
        toml::from_str(&format!("{more}\n{remote}")).unwrap()
    }

    fn origin(line: &[&str], config: &Config, fingerprint: Option<&str>) -> Result<Origin, TemplateError> {
        let options = Options::parse(line.iter().map(std::ffi::OsString::from)).unwrap();
        choose(&options, config, |name| fingerprint.filter(|_| name == FINGERPRINT).map(str::to_owned))
    }

    fn trust(line: &[&str], config: &Config, fingerprint: Option<&str>) -> Trust {
        origin(line, config, fingerprint).unwrap().trust
    }

    fn pinned(fingerprint: &str) -> Trust {
        Trust::Pinned(fingerprint.parse().unwrap())
    }

    #[test]
    fn the_stock_command_line_finds_the_pin_of_its_server() {
        let origin = origin(&["--server", "127.0.0.1:8443"], &config(""), None).unwrap();
        assert_eq!(origin.trust, pinned(PINNED));
        assert_eq!(origin.ca.unwrap().to_str(), Some("/ca"));
    }

    #[test]
    fn without_a_server_the_default_remote_is_used() {
        assert_eq!(origin(&[], &config(""), None).unwrap().url.host(), "127.0.0.1:8443");
        let of_template = config("[template]\nserver = \"127.0.0.1:8443/\"\n");
        assert_eq!(trust(&[], &of_template, None), pinned(PINNED));
    }

    #[test]
    fn a_server_nobody_pinned_is_refused_unless_tls_is_chosen() {
        let line = ["--server", "stranger"];
        assert!(matches!(origin(&line, &config(""), None), Err(TemplateError::NotPinned { .. })));
        assert!(matches!(origin(&[], &Config::default(), None), Err(TemplateError::NotPinned { .. })));
        assert_eq!(trust(&["--server", "stranger", "--trust-tls"], &config(""), None), Trust::Tls);
        let chosen = config("[template]\ntrust = \"tls\"\n");
        assert_eq!(trust(&line, &chosen, None), Trust::Tls);
        assert_eq!(trust(&["--server", "127.0.0.1:8443"], &chosen, None), pinned(PINNED));
    }

    #[test]
    fn a_remote_that_is_trusted_for_tls_is_so_for_the_template_too() {
        let config: Config = toml::from_str("[remotes.classic]\nurl = \"https://classic\"\ntrust = \"tls\"\n").unwrap();
        assert_eq!(trust(&[], &config, None), Trust::Tls);
        assert_eq!(trust(&["--server", "classic"], &config, None), Trust::Tls);
        assert_eq!(trust(&["--server", "classic"], &config, Some(PINNED)), pinned(PINNED));
    }

    #[test]
    fn a_given_fingerprint_wins() {
        assert_eq!(trust(&["--server", "stranger", "--fingerprint", OTHER], &config(""), Some(PINNED)), pinned(OTHER));
        assert_eq!(trust(&["--server", "stranger"], &config(""), Some(OTHER)), pinned(OTHER));
        assert!(matches!(origin(&["--fingerprint", "x"], &config(""), None), Err(TemplateError::Fingerprint(_))));
    }
}
