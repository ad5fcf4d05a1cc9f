//! What builds are called.

use std::fmt;
use std::str::FromStr;

use formats::image::{ImageId, ParseImageIdError};
use formats::record::BuildRecord;
use formats::serial::Serial;
use serde::{Deserialize, Serialize};

/// One build of one image, written `debian/trixie/amd64/default@20261123_0522`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BuildId {
    /// The image.
    pub image: ImageId,
    /// The build's serial.
    pub serial: Serial,
}

impl BuildId {
    /// The build a record is about.
    pub fn of(record: &BuildRecord) -> Self {
        Self { image: record.image.clone(), serial: record.serial.clone() }
    }

    /// The build whose files lie at a path below `images/`, if that is the path of one.
    pub(crate) fn from_path(path: &str) -> Option<Self> {
        let (image, serial) = path.rsplit_once('/')?;
        let build = Self { image: image.parse().ok()?, serial: serial.parse().ok()? };
        // An image has more than one spelling, but one path.
        (build.image.to_string() == image).then_some(build)
    }
}

impl FromStr for BuildId {
    type Err = ParseImageIdError;

    fn from_str(text: &str) -> Result<Self, ParseImageIdError> {
        let (image, serial) = text.split_once('@').unwrap_or((text, ""));
        Ok(Self { image: image.parse()?, serial: serial.parse()? })
    }
}

impl TryFrom<String> for BuildId {
    type Error = ParseImageIdError;

    fn try_from(text: String) -> Result<Self, ParseImageIdError> {
        text.parse()
    }
}

impl From<BuildId> for String {
    fn from(build: BuildId) -> Self {
        build.to_string()
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.image, self.serial)
    }
}

/// An image, or one build of it, written `debian/trixie/amd64/default[@20261123_0522]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildQuery {
    /// The image.
    pub image: ImageId,
    /// The build's serial, if one was named.
    pub serial: Option<Serial>,
}

impl FromStr for BuildQuery {
    type Err = ParseImageIdError;

    fn from_str(text: &str) -> Result<Self, ParseImageIdError> {
        match text.split_once('@') {
            Some((image, serial)) => Ok(Self { image: image.parse()?, serial: Some(serial.parse()?) }),
            None => Ok(Self { image: text.parse()?, serial: None }),
        }
    }
}

impl fmt::Display for BuildQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.serial {
            Some(serial) => write!(f, "{}@{serial}", self.image),
            None => write!(f, "{}", self.image),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_written_as_image_at_serial() {
        let text = "debian/trixie/amd64/default@20261123_0522";
        let build: BuildId = text.parse().unwrap();
        assert_eq!(build.to_string(), text);
        for text in ["debian/trixie/amd64/default", "debian@20261123_0522", "../x/amd64/y@20261123_0522"] {
            assert!(text.parse::<BuildId>().is_err(), "{text}");
        }
    }
}
