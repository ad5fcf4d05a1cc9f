//! Where the builds of a data directory are: `store.toml`.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use formats::time::Span;
use serde::{Deserialize, Serialize};

use super::backend::Backend;
use super::directory::Directory;
use super::id::BuildId;
use super::objects::{Objects, ObjectsError};
use crate::files;

/// The settings of an object store. They belong to the data directory and not to a command, so that none can forget
/// them. Credentials are not among them: they come from the environment, under the names that every tool for S3 knows.
///
/// Without the file, builds are in the data directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The version of this file.
    format: Format,
    /// The bucket, and the part of it.
    #[serde(rename = "url")]
    pub place: Place,
    /// The server, if it is not Amazon's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The region, where that matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// What tells this data directory from others that might write to the same place.
    pub owner: String,
    /// Whether clients are sent to the object store for files; otherwise the server fetches and sends them itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect: Option<Redirect>,
}

/// How clients are sent to the object store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redirect {
    /// The server as clients reach it, if that is another address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// How long a client may take from the redirect to its request.
    pub validity: Span,
}

/// `s3://<bucket>[/<prefix>]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Place {
    /// The bucket.
    pub bucket: String,
    /// The part of it, without slashes at its ends; empty for all of it.
    pub prefix: String,
}

impl Settings {
    /// Settings for a place.
    pub fn new(place: Place, owner: String) -> Self {
        Self { format: Format::V1, place, endpoint: None, region: None, owner, redirect: None }
    }

    /// The settings of a data directory, if its builds are in an object store.
    pub fn read(top: &Path) -> Result<Option<Self>, SettingsError> {
        let path = top.join(FILE);
        let Some(text) = files::read_if_there(&path)? else { return Ok(None) };
        let text = String::from_utf8(text).unwrap_or_default();
        toml::from_str(&text).map(Some).map_err(|source| SettingsError::Malformed { path, source })
    }

    /// The text of `store.toml`.
    pub fn to_toml(&self) -> Result<String, io::Error> {
        let settings = toml::to_string_pretty(self).map_err(io::Error::other)?;
        Ok(format!(
            "# Where the builds of this data directory are. `rootcellar-server store use` writes this file.\n{settings}"
        ))
    }

    /// The name of the file below the top of the data directory.
    pub const FILE: &str = FILE;
}

/// The backend that a data directory's settings name.
pub(crate) fn backend(top: &Path) -> Result<Arc<dyn Backend>, SettingsError> {
    Ok(match Settings::read(top)? {
        Some(settings) => Arc::new(Objects::open(&settings)?),
        None => Arc::new(Directory::new(top)),
    })
}

impl FromStr for Place {
    type Err = BadPlace;

    fn from_str(text: &str) -> Result<Self, BadPlace> {
        let rest = text.strip_prefix("s3://").ok_or(BadPlace)?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_end_matches('/');
        let is_label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c);
        let is_bucket = (3..=63).contains(&bucket.len()) && bucket.chars().all(is_label) && !bucket.starts_with('.');
        let is_part = |part: &str| {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            !part.is_empty() && part.len() <= 64 && !part.starts_with('.') && part.chars().all(is_plain)
        };
        let is_prefix = prefix.is_empty() || prefix.split('/').all(is_part);
        (is_bucket && is_prefix).then(|| Self { bucket: bucket.to_owned(), prefix: prefix.to_owned() }).ok_or(BadPlace)
    }
}

impl TryFrom<String> for Place {
    type Error = BadPlace;

    fn try_from(text: String) -> Result<Self, BadPlace> {
        text.parse()
    }
}

impl From<Place> for String {
    fn from(place: Place) -> Self {
        place.to_string()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.bucket)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

/// Text that is no place in an object store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected `s3://BUCKET` or `s3://BUCKET/PREFIX`, of letters, digits, dots and dashes")]
pub struct BadPlace;

/// Why the store of a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file is not what it should be.
    #[error("the settings `{}` are malformed", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: toml::de::Error,
    },
    /// Another data directory writes there.
    #[error("`{place}` belongs to another data directory")]
    Owned {
        /// The place.
        place: String,
    },
    /// The builds are in another object store.
    #[error("the builds of this data directory are in `{place}`")]
    Elsewhere {
        /// Where they are.
        place: String,
    },
    /// The object store has another build of a name.
    #[error("the object store has another {build}")]
    Different {
        /// The build.
        build: Box<BuildId>,
    },
    /// The file system or the object store failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl SettingsError {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Malformed { .. } => Some("`rootcellar-server store use` of a new data directory writes one".to_owned()),
            Self::Owned { .. } => Some(
                "choose another prefix; or, if the other server is gone for good, say `--take-over-from-another-server`"
                    .to_owned(),
            ),
            Self::Elsewhere { .. } => {
                Some("use a new data directory, and import or mirror the builds into it".to_owned())
            }
            Self::Different { .. } => Some("choose a prefix that nothing was written to".to_owned()),
            Self::Io(error) => ObjectsError::is_cause_of(error).then(|| ObjectsError::HINT.to_owned()),
        }
    }

    /// Whether the input is to blame, and not the machine.
    pub fn is_refusal(&self) -> bool {
        !matches!(self, Self::Io(_))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Format {
    #[serde(rename = "rootcellar-store-settings:1")]
    V1,
}

const FILE: &str = "store.toml";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_bucket_and_perhaps_a_part_of_it() {
        for (text, written) in [
            ("s3://images", "s3://images"),
            ("s3://images/", "s3://images"),
            ("s3://images.example.org/cellar/v1/", "s3://images.example.org/cellar/v1"),
        ] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), written);
        }
        for text in
            ["images", "s3://", "s3://ab", "s3://UPPER", "s3://images//x", "s3://images/../x", "s3://images/a b"]
        {
            assert_eq!(text.parse::<Place>(), Err(BadPlace), "{text}");
        }
    }

    #[test]
    fn settings_survive_their_own_file_and_a_key_nobody_knows_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Settings::read(directory.path()).unwrap(), None);
        let mut settings = Settings::new("s3://images/cellar".parse().unwrap(), "f".repeat(64));
        for redirect in [None, Some(Redirect { endpoint: None, validity: Span::from_seconds(900) })] {
            settings.redirect = redirect;
            settings.endpoint = Some("http://127.0.0.1:7480".to_owned());
            std::fs::write(directory.path().join(FILE), settings.to_toml().unwrap()).unwrap();
            assert_eq!(Settings::read(directory.path()).unwrap().as_ref(), Some(&settings));
        }
        std::fs::write(directory.path().join(FILE), format!("buckte = 1\n{}", settings.to_toml().unwrap())).unwrap();
        assert!(matches!(Settings::read(directory.path()), Err(SettingsError::Malformed { .. })));
    }
}
