//! What builds are called.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use formats::image::{ImageId, ParseImageIdError};
use formats::record::BuildRecord;
use formats::serial::Serial;
use formats::text;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One build of one image, written `debian/trixie/amd64/default@20261123_0522`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

impl Serialize for BuildId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BuildId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.image.fmt(f)?;
        f.write_str("@")?;
        f.write_str(self.serial.as_str())
    }
}

/// Reads a set of builds that was written in their order, without looking for the place of each.
pub(crate) fn in_order<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<BuildId>, D::Error> {
    Ok(Vec::deserialize(deserializer)?.into_iter().collect())
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
