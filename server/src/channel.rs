//! Channels: named selections of builds.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use formats::name::Name;
use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::data::{DataDir, Writer};
use crate::files;
use crate::store::BuildId;

/// The builds that one channel offers, kept in `channels/<name>.json`. A build is in the store once, however many
/// channels offer it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// The channel.
    pub name: Name,
    /// Its builds.
    pub builds: BTreeSet<BuildId>,
}

impl Channel {
    /// The channel whose documents are at the top of the repository.
    pub const STABLE: &str = "stable";

    /// Whether a channel's documents are at the top of the repository.
    pub fn is_stable(name: &Name) -> bool {
        name.as_str() == Self::STABLE
    }

    /// Reads a channel; one that nothing was imported into has no builds.
    pub fn read(data: &DataDir, name: &Name) -> Result<Self, ChannelError> {
        let Some(json) = files::read_if_there(&path(data, name))? else {
            return Ok(Self { name: name.clone(), builds: BTreeSet::new() });
        };
        let state: State =
            serde_json::from_slice(&json).map_err(|source| ChannelError::Damaged { path: path(data, name), source })?;
        Ok(Self { name: name.clone(), builds: state.builds })
    }

    /// Every channel that exists: `stable` always does.
    pub fn all(data: &DataDir) -> Result<Vec<Self>, ChannelError> {
        let mut names = BTreeSet::from([Self::STABLE.to_owned()]);
        for entry in fs::read_dir(data.channels())? {
            let name = entry?.file_name().into_string().unwrap_or_default();
            names.extend(name.strip_suffix(".json").map(str::to_owned));
        }
        let names = names.iter().filter_map(|name| name.parse::<Name>().ok());
        names.map(|name| Self::read(data, &name)).collect()
    }

    /// Writes the channel.
    pub fn write(&self, writer: &Writer) -> Result<(), ChannelError> {
        let state = State { format: Format::V1, builds: self.builds.clone() };
        let path = path(writer, &self.name);
        let json =
            serde_json::to_vec_pretty(&state).map_err(|source| ChannelError::Damaged { path: path.clone(), source })?;
        Ok(writer.put(&path, &[json.as_slice(), b"\n"].concat(), 0o644)?)
    }
}

/// What can be wrong with a channel.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// A state file that cannot be read.
    #[error("the channel's state `{}` is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        #[source]
        source: serde_json::Error,
    },
    /// The file system failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    format: Format,
    builds: BTreeSet<BuildId>,
}

#[derive(Serialize, Deserialize)]
enum Format {
    #[serde(rename = "rootcellar-channel:1")]
    V1,
}

fn path(data: &DataDir, name: &Name) -> PathBuf {
    data.channels().join(format!("{name}.json"))
}

#[cfg(test)]
mod tests {
    use terminal::Printer;

    use super::*;

    #[test]
    fn a_channel_survives_its_own_file_and_stable_always_exists() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::open(directory.path()).unwrap();
        let writer = data.write(&Printer::captured(true).0).unwrap();
        let mut staging = Channel::read(&data, &"staging".parse().unwrap()).unwrap();
        assert!(staging.builds.is_empty());
        staging.builds.insert("debian/trixie/amd64/default@20261123_0522".parse().unwrap());
        staging.write(&writer).unwrap();
        let names: Vec<_> = Channel::all(&data).unwrap().iter().map(|channel| channel.name.to_string()).collect();
        assert_eq!(names, ["stable", "staging"]);
        assert_eq!(Channel::read(&data, &staging.name).unwrap(), staging);
    }

    #[test]
    fn a_damaged_channel_is_named_and_not_taken_for_an_empty_one() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::open(directory.path()).unwrap();
        fs::write(data.channels().join("stable.json"), r#"{"format":"rootcellar-channel:2","builds":[]}"#).unwrap();
        assert!(Channel::all(&data).unwrap_err().to_string().contains("stable.json"));
    }
}
