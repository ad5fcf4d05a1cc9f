//! The configuration file, `client.toml`.

mod edit;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use formats::name::Name;
use serde::{Deserialize, Serialize};

use crate::directories::Directories;
use crate::files::{self, Owner};
use crate::remote::{Remote, ServerUrl};

/// What `client.toml` says; `config-template.toml` of the source tree explains each key. Every key has a default, so the file need not exist.
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
            let path = directory.join(FILE_NAME);
            let content = files::read_if_there(&path).map_err(ConfigError::Read)?;
            let Some(content) = content else { continue };
            config = config.with(Self::parse(&path, &String::from_utf8_lossy(&content))?);
        }
        Ok(config)
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

/// The file that `remote add` and `remote remove` edit: the strongest layer.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    path: PathBuf,
    text: String,
    config: Config,
}

impl ConfigFile {
    /// Reads the file, which may not exist yet.
    pub fn open(directories: &Directories) -> Result<Self, ConfigError> {
        let path = directories.config.last().map(|directory| directory.join(FILE_NAME)).unwrap_or_default();
        let content = files::read_if_there(&path).map_err(ConfigError::Read)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&content).into_owned();
        let config = Config::parse(&path, &text)?;
        Ok(Self { path, text, config })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds or replaces a remote. Everything else in the file stays as it is, comments included.
    pub fn put(&mut self, name: &Name, remote: &Remote) -> Result<(), ConfigError> {
        let mut wanted = self.config.clone();
        wanted.remotes.insert(name.clone(), remote.clone());
        let block = toml::to_string(remote).map_err(|source| ConfigError::Render { source: Box::new(source) })?;
        self.replace(edit::put(&self.text, name, &block), wanted)
    }

    /// Takes a remote out.
    pub fn take(&mut self, name: &Name) -> Result<(), ConfigError> {
        let mut wanted = self.config.clone();
        if wanted.remotes.remove(name).is_none() {
            let known = self.config.remotes.keys().map(ToString::to_string).collect();
            return Err(ConfigError::UnknownRemote { name: name.clone(), known });
        }
        self.replace(edit::take(&self.text, name), wanted)
    }

    /// Stores the text if it means what is wanted: a file laid out in an unforeseen way is left to its author.
    fn replace(&mut self, text: String, wanted: Config) -> Result<(), ConfigError> {
        if Config::parse(&self.path, &text).ok().as_ref() != Some(&wanted) {
            return Err(ConfigError::Edit { path: self.path.clone() });
        }
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        files::make_directories(directory, Owner::SELF).map_err(ConfigError::Write)?;
        files::write_whole(&self.path, text.as_bytes(), 0o644, Owner::SELF).map_err(ConfigError::Write)?;
        (self.text, self.config) = (text, wanted);
        Ok(())
    }
}

/// What can be wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration")]
    Read(#[source] io::Error),
    /// The file cannot be written.
    #[error("cannot write the configuration")]
    Write(#[source] io::Error),
    /// The file is not understood.
    #[error("cannot understand `{}`", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A remote cannot be written as TOML.
    #[error("cannot write a remote as TOML")]
    Render {
        /// Why.
        source: Box<toml::ser::Error>,
    },
    /// The file is laid out in a way that cannot be edited by a program.
    #[error("cannot edit `{}` without changing more than the remote", path.display())]
    Edit {
        /// The file.
        path: PathBuf,
    },
    /// There is no remote of this name.
    #[error("there is no remote `{name}`")]
    UnknownRemote {
        /// The name.
        name: Name,
        /// The names there are.
        known: Vec<String>,
    },
    /// There are several remotes and none was named.
    #[error("several remotes are configured and none of them is the default")]
    WhichRemote {
        /// Their names.
        known: Vec<String>,
    },
    /// There is none.
    #[error("no remote is configured")]
    NoRemote,
}

impl ConfigError {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownRemote { known, .. } if known.is_empty() => Self::NoRemote.hint(),
            Self::UnknownRemote { known, .. } => Some(format!("there is `{}`", known.join("`, `"))),
            Self::WhichRemote { known } => {
                Some(format!("put `NAME:` before the image, or set `default_remote`: `{}`", known.join("`, `")))
            }
            Self::NoRemote => Some(
                "`rootcellar remote add default https://SERVER --fingerprint FINGERPRINT`, or give `--server` and `--fingerprint`"
                    .to_owned(),
            ),
            Self::Edit { .. } => Some("edit it by hand: remotes are tables named `[remotes.NAME]`".to_owned()),
            Self::Read(_) | Self::Write(_) | Self::Parse { .. } | Self::Render { .. } => None,
        }
    }
}

const FILE_NAME: &str = "client.toml";
const DEFAULT_REMOTE: &str = "default";

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = include_str!("../config-template.toml");
    const REMOTE: &str =
        "[remotes.home]\nurl = \"https://host:8443\"\nfingerprint = \"0123456789abcdef0123456789abcdef01234567\"\n";

    fn directories(config: &[&Path]) -> Directories {
        Directories {
            config: config.iter().map(|path| path.to_path_buf()).collect(),
            state: "/nonexistent".into(),
            cache: "/nonexistent".into(),
            containers: "/nonexistent".into(),
            lxc: "/nonexistent".into(),
            stock_cache: None,
        }
    }

    fn name(text: &str) -> Name {
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
    fn editing_remotes_keeps_comments_and_everything_else() {
        let directory = tempfile::tempdir().unwrap();
        let text = format!("# mine\ndefault_remote = \"home\" # of course\n\n{REMOTE}# below\n");
        std::fs::write(directory.path().join(FILE_NAME), &text).unwrap();
        let directories = directories(&[directory.path()]);
        let mut file = ConfigFile::open(&directories).unwrap();
        let mut work = file.config.remotes[&name("home")].clone();
        work.channel = name("testing");
        file.put(&name("work"), &work).unwrap();
        file.put(&name("home"), &work).unwrap();
        let written = std::fs::read_to_string(file.path()).unwrap();
        assert!(written.starts_with("# mine\ndefault_remote = \"home\" # of course\n"), "{written}");
        assert_eq!(Config::load(&directories).unwrap().remotes[&name("home")], work);
        file.take(&name("home")).unwrap();
        file.take(&name("work")).unwrap();
        assert!(matches!(file.take(&name("work")), Err(ConfigError::UnknownRemote { .. })));
        assert!(std::fs::read_to_string(file.path()).unwrap().contains("of course"));
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

    #[test]
    fn a_layout_nobody_foresaw_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let text = "remotes = { home = { url = \"https://h\", fingerprint = \"0123456789abcdef0123456789abcdef01234567\" } }\n";
        std::fs::write(directory.path().join(FILE_NAME), text).unwrap();
        let mut file = ConfigFile::open(&directories(&[directory.path()])).unwrap();
        assert!(matches!(file.take(&name("home")), Err(ConfigError::Edit { .. })));
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), text);
    }
}
