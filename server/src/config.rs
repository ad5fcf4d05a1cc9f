//! The configuration of `serve` and `prune`.

use std::io;
use std::path::{Path, PathBuf};

use formats::time::Span;
use fs_err as fs;
use serde::Deserialize;

/// What the configuration file can hold. `config-template.toml` of the source tree explains each key; each is also a
/// flag of `serve` and an environment variable, which win over the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The address for TLS.
    pub listen: Option<String>,
    /// Whether the TLS port also answers plain HTTP.
    pub allow_plain: Option<bool>,
    /// An address for plain HTTP only.
    pub plain_listen: Option<String>,
    /// An address for metrics.
    pub metrics_listen: Option<String>,
    /// The certificate chain, PEM.
    pub tls_cert: Option<PathBuf>,
    /// Its private key, PEM.
    pub tls_key: Option<PathBuf>,
    /// Further names and addresses for the certificate that the private authority makes.
    pub names: Option<Vec<String>>,
    /// The validity of generations.
    pub validity: Option<Span>,
    /// The operations database, if it is not the one in the data directory.
    pub database: Option<String>,
    /// How many builds of each image `prune` keeps.
    pub keep: Option<usize>,
    /// `prune` keeps builds that are younger.
    pub older_than: Option<Span>,
    /// How long a build can be downloaded after the last generation that lists it.
    pub grace: Option<Span>,
}

impl Config {
    /// The values of the template, which are the defaults.
    pub const DEFAULT_LISTEN: &str = "[::]:8443";

    /// Reads a configuration file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.into(), source })?;
        let config: Self =
            toml::from_str(&text).map_err(|source| ConfigError::Malformed { path: path.into(), source })?;
        if config.tls_cert.is_some() != config.tls_key.is_some() {
            return Err(ConfigError::HalfCertificate { path: path.into() });
        }
        Ok(config)
    }
}

/// What can be wrong with a configuration file.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("the configuration `{}` is malformed", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: toml::de::Error,
    },
    /// A certificate without its key, or the other way round.
    #[error("the configuration `{}` has only one of `tls_cert` and `tls_key`", path.display())]
    HalfCertificate {
        /// The file.
        path: PathBuf,
    },
}

impl ConfigError {
    /// What the user can do.
    #[allow(clippy::unnecessary_wraps, reason = "hints are optional everywhere")]
    pub fn hint(&self) -> Option<String> {
        Some("`server/config-template.toml` of the source tree explains every key".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::DEFAULT_VALIDITY;
    use crate::retention::Retention;

    const TEMPLATE: &str = include_str!("../config-template.toml");

    /// The template with every key uncommented.
    fn uncommented() -> String {
        let is_key = |line: &&str| line.starts_with('#') && !line.starts_with("# ") && *line != "#";
        TEMPLATE.lines().filter(is_key).map(|line| &line[1..]).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_template_is_a_configuration_of_nothing() {
        assert_eq!(toml::from_str::<Config>(TEMPLATE).unwrap(), Config::default());
    }

    #[test]
    fn the_template_shows_every_key_with_its_default() {
        let config: Config = toml::from_str(&uncommented()).unwrap();
        assert_eq!(config.listen.as_deref(), Some(Config::DEFAULT_LISTEN));
        assert_eq!(config.allow_plain, Some(false));
        assert_eq!(config.validity, Some(DEFAULT_VALIDITY));
        assert_eq!(config.names, Some(Vec::new()));
        assert_eq!((config.keep, config.grace), (Some(Retention::KEEP), Some(Retention::GRACE)));
        assert!(config.older_than.is_some());
        assert!(config.metrics_listen.is_some() && config.database.is_some());
        assert!(config.plain_listen.is_some() && config.tls_cert.is_some() && config.tls_key.is_some());
    }

    #[test]
    fn a_key_nobody_knows_is_refused_by_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.toml");
        fs::write(&path, "listne = \"[::]:8443\"\n").unwrap();
        let error = Config::read(&path).unwrap_err();
        assert!(std::error::Error::source(&error).unwrap().to_string().contains("listne"));
        fs::write(&path, "tls_cert = \"c.pem\"\n").unwrap();
        assert!(matches!(Config::read(&path), Err(ConfigError::HalfCertificate { .. })));
    }
}
