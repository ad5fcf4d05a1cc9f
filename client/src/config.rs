//! The configuration file, `client.toml`.

mod edit;
mod error;
mod file;

use std::collections::BTreeMap;
use std::path::Path;

use formats::name::Name;
use serde::{Deserialize, Serialize};

use crate::directories::Directories;
use crate::files;
use crate::remote::{Remote, ServerUrl};

pub use error::ConfigError;
pub use file::ConfigFile;

/// A `client.toml` that explains each key.
pub const TEMPLATE: &str = include_str!("../config-template.toml");

/// What `client.toml` says; [`TEMPLATE`] explains each key. Every key has a default, so the file need not exist.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The remote of an image that names none.
    pub default_remote: Option<Name>,
    /// Keys that an image's own configuration may set although they are not on the list of harmless ones.
    pub allow_config_keys: Vec<String>,
    /// How `lxc-download` behaves.
    pub template: TemplateConfig,
    /// The servers, by name.
    pub remotes: BTreeMap<Name, Remote>,
}

/// How `lxc-download` behaves where its command line says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TemplateConfig {
    /// The server, when it is not the default remote.
    pub server: Option<String>,
    /// What to ask of a server that is no remote.
    pub trust: TemplateTrust,
}

/// What the template asks of a server without a pinned key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TemplateTrust {
    /// To be pinned first: it is refused.
    #[default]
    Pinned,
    /// Nothing but TLS, as the stock template does.
    Tls,
}

impl Config {
    /// Reads every layer, the strongest last. A value of a later layer replaces the earlier one; remotes add up.
    pub fn load(directories: &Directories) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        for directory in &directories.config {
            config = config.with(Self::read(&directory.join(FILE_NAME))?);
        }
        Ok(config)
    }

    /// One layer, which may not be there.
    fn read(path: &Path) -> Result<Self, ConfigError> {
        let content = files::read_if_there(path).map_err(ConfigError::Read)?;
        content.map_or_else(|| Ok(Self::default()), |content| Self::parse(path, &String::from_utf8_lossy(&content)))
    }

    fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|source| ConfigError::Parse { path: path.to_owned(), source: Box::new(source) })
    }

    fn with(mut self, stronger: Self) -> Self {
        self.default_remote = stronger.default_remote.or(self.default_remote);
        self.allow_config_keys.extend(stronger.allow_config_keys);
        self.template.server = stronger.template.server.or(self.template.server);
        if stronger.template.trust != TemplateTrust::default() {
            self.template.trust = stronger.template.trust;
        }
        self.remotes.extend(stronger.remotes);
        self
    }

    /// The remote of this name; without a name the default one, or the only one.
    pub fn remote(&self, name: Option<&Name>) -> Result<(&Name, &Remote), ConfigError> {
        let unknown = |name: &Name| ConfigError::UnknownRemote {
            name: name.clone(),
            known: self.remotes.keys().map(ToString::to_string).collect(),
        };
        if let Some(name) = name.or(self.default_remote.as_ref()) {
            return self.remotes.get_key_value(name).ok_or_else(|| unknown(name));
        }
        let default = self.remotes.iter().find(|(name, _)| name.as_str() == DEFAULT_REMOTE);
        match (default, self.remotes.len()) {
            (Some(remote), _) => Ok(remote),
            (None, 1) => self.remotes.iter().next().ok_or(ConfigError::NoRemote),
            (None, 0) => Err(ConfigError::NoRemote),
            (None, _) => {
                Err(ConfigError::WhichRemote { known: self.remotes.keys().map(ToString::to_string).collect() })
            }
        }
    }

    /// The remote at this address.
    pub fn remote_at(&self, url: &ServerUrl) -> Option<&Remote> {
        self.remotes.values().find(|remote| remote.url == *url)
    }
}

const FILE_NAME: &str = "client.toml";
const DEFAULT_REMOTE: &str = "default";

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) const REMOTE: &str =
        "[remotes.home]\nurl = \"https://host:8443\"\nfingerprint = \"0123456789abcdef0123456789abcdef01234567\"\n";

    pub(super) fn directories(config: &[&Path]) -> Directories {
        Directories {
            config: config.iter().map(|path| path.to_path_buf()).collect(),
            state: "/nonexistent".into(),
            cache: "/nonexistent".into(),
            containers: "/nonexistent".into(),
            lxc: "/nonexistent".into(),
            stock_cache: None,
        }
    }

    pub(super) fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn without_a_file_there_are_no_remotes_and_a_hint_how_to_get_one() {
        let config = Config::load(&directories(&[Path::new("/nonexistent")])).unwrap();
        assert_eq!(config, Config::default());
        assert!(config.remote(None).unwrap_err().hint().unwrap().contains("remote add"));
    }

    #[test]
    fn the_users_layer_adds_to_the_systems_and_replaces_what_it_repeats() {
        let (system, user) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(system.path().join(FILE_NAME), format!("{REMOTE}\n[template]\ntrust = \"tls\"\n")).unwrap();
        let other = REMOTE.replace("home", "work");
        std::fs::write(user.path().join(FILE_NAME), format!("default_remote = \"work\"\n{other}")).unwrap();
        let config = Config::load(&directories(&[system.path(), user.path()])).unwrap();
        assert_eq!(config.remotes.len(), 2);
        assert_eq!(config.remote(None).unwrap().0.as_str(), "work");
        assert_eq!(config.template.trust, TemplateTrust::Tls);
        let url = "https://HOST:8443/".parse().unwrap();
        assert!(config.remote_at(&url).is_some());
    }

    #[test]
    fn the_default_is_the_only_remote_or_the_one_of_that_name() {
        let mut config: Config = toml::from_str(REMOTE).unwrap();
        assert_eq!(config.remote(None).unwrap().0.as_str(), "home");
        config.remotes.insert(name("work"), config.remotes[&name("home")].clone());
        assert!(matches!(config.remote(None), Err(ConfigError::WhichRemote { .. })));
        config.remotes.insert(name("default"), config.remotes[&name("home")].clone());
        assert_eq!(config.remote(None).unwrap().0.as_str(), "default");
        assert!(config.remote(Some(&name("gone"))).unwrap_err().hint().unwrap().contains("`work`"));
    }

    #[test]
    fn a_key_nobody_knows_is_refused_with_its_place() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(FILE_NAME), "trust-everybody = true\n").unwrap();
        let error = Config::load(&directories(&[directory.path()])).unwrap_err();
        let ConfigError::Parse { source, .. } = error else { panic!("{error}") };
        assert!(source.to_string().contains("trust-everybody"), "{source}");
    }

    #[test]
    fn the_template_explains_every_key_and_is_read_as_it_stands() {
        assert_eq!(toml::from_str::<Config>(TEMPLATE).unwrap(), Config::default());
        let uncommented: String = TEMPLATE
            .lines()
            .map(|line| line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c.is_alphabetic() || c == '[')))
            .map(|line| line.unwrap_or_default().to_owned() + "\n")
            .collect();
        let full: Config = toml::from_str(&uncommented).unwrap();
        let json = serde_json::to_string(&full).unwrap();
        assert!(!json.contains("null") && !json.contains("[]") && !json.contains("{}"), "{json}");
    }
}
