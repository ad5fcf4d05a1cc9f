//! The configuration file that is edited.

use std::path::{Path, PathBuf};

use formats::name::Name;

use super::{Config, ConfigError, FILE_NAME, edit};
use crate::directories::Directories;
use crate::files::{self, Owner};
use crate::remote::Remote;

/// The file that `remote add` and `remote remove` edit: the strongest layer.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    path: PathBuf,
    text: String,
    config: Config,
    /// The weaker layers, which are not edited.
    others: Vec<PathBuf>,
}

impl ConfigFile {
    /// Reads the file, which may not exist yet.
    pub fn open(directories: &Directories) -> Result<Self, ConfigError> {
        let mut others: Vec<PathBuf> = directories.config.iter().map(|directory| directory.join(FILE_NAME)).collect();
        let path = others.pop().unwrap_or_default();
        let content = files::read_if_there(&path).map_err(ConfigError::Read)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&content).into_owned();
        let config = Config::parse(&path, &text)?;
        Ok(Self { path, text, config, others })
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
            if let Some(path) = self.elsewhere(name)? {
                return Err(ConfigError::RemoteElsewhere { name: name.clone(), path });
            }
            let known = self.config.remotes.keys().map(ToString::to_string).collect();
            return Err(ConfigError::UnknownRemote { name: name.clone(), known });
        }
        self.replace(edit::take(&self.text, name), wanted)
    }

    /// The file of another layer that has a remote of this name: it counts where ours has none.
    pub fn elsewhere(&self, name: &Name) -> Result<Option<PathBuf>, ConfigError> {
        for path in self.others.iter().rev() {
            if Config::read(path)?.remotes.contains_key(name) {
                return Ok(Some(path.clone()));
            }
        }
        Ok(None)
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

#[cfg(test)]
mod tests {
    use super::super::tests::{REMOTE, directories, name};
    use super::*;

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
    fn a_layout_nobody_foresaw_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let text = "remotes = { home = { url = \"https://h\", fingerprint = \"0123456789abcdef0123456789abcdef01234567\" } }\n";
        std::fs::write(directory.path().join(FILE_NAME), text).unwrap();
        let mut file = ConfigFile::open(&directories(&[directory.path()])).unwrap();
        assert!(matches!(file.take(&name("home")), Err(ConfigError::Edit { .. })));
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), text);
    }

    #[test]
    fn a_remote_of_the_systems_layer_is_not_taken_out_but_said_to_be_there() {
        let (system, user) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(system.path().join(FILE_NAME), REMOTE).unwrap();
        let mut file = ConfigFile::open(&directories(&[system.path(), user.path()])).unwrap();
        let error = file.take(&name("home")).unwrap_err();
        let place = system.path().join(FILE_NAME).display().to_string();
        assert_eq!(error.to_string(), format!("the remote `home` is configured in `{place}`"));
        assert!(error.hint().unwrap().contains("`sudo rootcellar remote remove home`"));
        // One's own in its place can be taken out, and then the other counts again.
        let own = Config::read(&system.path().join(FILE_NAME)).unwrap().remotes[&name("home")].clone();
        file.put(&name("home"), &own).unwrap();
        file.take(&name("home")).unwrap();
        assert_eq!(file.elsewhere(&name("home")).unwrap().unwrap().display().to_string(), place);
    }
}
