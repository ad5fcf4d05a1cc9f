//! The configuration of `build`.

use std::path::{Path, PathBuf};

use formats::time::Span;
use fs_err as fs;
use serde::Deserialize;

use crate::build::unpack::Engine;
use crate::userns::Mode;

/// What the configuration file can hold. `config-template.toml` of the source tree explains each key; each is also a
/// flag of `build` and an environment variable, which win over the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The package mirror.
    pub(crate) mirror: Option<String>,
    /// Who installs the packages of a new tree.
    pub(crate) bootstrap: Option<Engine>,
    /// Where builds go.
    pub(crate) output: Option<PathBuf>,
    /// Where downloaded packages are kept.
    pub(crate) cache: Option<PathBuf>,
    /// What is packed, as `--formats` takes it.
    pub(crate) formats: Option<String>,
    /// How hard to compress, from 0 to 9.
    pub(crate) xz_level: Option<u32>,
    /// How long a build may take.
    pub(crate) timeout: Option<Span>,
    /// How long each step may take.
    pub(crate) step_timeout: Option<Span>,
    /// How much memory each step may fill, as `--step-memory` takes it.
    pub(crate) step_memory: Option<String>,
    /// Gives the actions the network.
    pub(crate) network: Option<bool>,
    /// Who builds.
    pub(crate) mode: Option<Mode>,
}

impl Config {
    /// Reads the file that was named, or the one of this user if there is one.
    pub(crate) fn load(named: Option<&Path>) -> Result<Self, ConfigError> {
        match named {
            Some(path) => Self::read(path),
            None => match usual_place().filter(|path| path.exists()) {
                Some(path) => Self::read(&path),
                None => Ok(Self::default()),
            },
        }
    }

    fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.into(), source })?;
        let malformed = |reason| ConfigError::Malformed { path: path.into(), reason };
        let config: Self = toml::from_str(&text).map_err(|error| malformed(error.to_string()))?;
        if config.xz_level.is_some_and(|level| level > 9) {
            return Err(malformed("expected `xz_level` from 0 to 9".to_owned()));
        }
        Ok(config)
    }
}

/// What can be wrong with a configuration file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration `{}`", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    /// The file is not what it should be.
    #[error("the configuration `{}` is malformed: {}", path.display(), reason.trim_end())]
    Malformed { path: PathBuf, reason: String },
}

fn usual_place() -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Some("/etc/rootcellar/builder.toml".into());
    }
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = variable("XDG_CONFIG_HOME").or_else(|| variable("HOME").map(|home| home.join(".config")))?;
    Some(base.join("rootcellar/builder.toml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = include_str!("../config-template.toml");

    #[test]
    fn the_template_is_a_configuration_of_nothing() {
        assert_eq!(toml::from_str::<Config>(TEMPLATE).unwrap(), Config::default());
    }

    #[test]
    fn the_template_shows_every_key() {
        let is_key = |line: &&str| line.starts_with('#') && !line.starts_with("# ") && *line != "#";
        let text = TEMPLATE.lines().filter(is_key).map(|line| &line[1..]).collect::<Vec<_>>().join("\n");
        let config: Config = toml::from_str(&text).unwrap();
        let Config { mirror, bootstrap, output, cache, formats, xz_level, timeout, .. } = config.clone();
        assert!(mirror.is_some() && output.is_some() && cache.is_some() && timeout.is_some());
        let Config { step_timeout, step_memory, network, mode, .. } = config;
        assert!(step_timeout.is_some() && step_memory.is_some() && network.is_some() && mode.is_some());
        assert_eq!(bootstrap, Some(Engine::default()));
        assert_eq!((formats.as_deref(), xz_level), (Some("lxc,incus"), Some(5)));
    }

    #[test]
    fn a_key_nobody_knows_and_a_level_that_is_none_are_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("builder.toml");
        for (text, word) in
            [("miror = \"x\"", "miror"), ("bootstrap = \"dpkg\"", "dpkg"), ("xz_level = 10", "xz_level")]
        {
            fs::write(&path, text).unwrap();
            assert!(Config::load(Some(&path)).unwrap_err().to_string().contains(word), "{text}");
        }
        assert!(Config::load(Some(&directory.path().join("absent.toml"))).is_err());
    }
}
