//! LXC compat levels and modes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Who runs the container: `system` is the host's root, `user` is anyone inside a user namespace. It chooses the
/// classic index (`index-user`) and the files of the LXC metadata (`config-user`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The host's root.
    System,
    /// Inside a user namespace.
    User,
}

impl Mode {
    /// Both modes.
    pub const ALL: [Self; 2] = [Self::System, Self::User];

    /// The word used in file names.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The level of the stock template, 1 for LXC 1.0 to 7 for LXC 4.0 and later (`DOWNLOAD_COMPAT_LEVEL` in
/// lxc `templates/lxc-download.in`). A file suffixed with a level is meant for exactly that level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CompatLevel(u8);

impl CompatLevel {
    /// LXC 1.0.
    pub const OLDEST: Self = Self(1);
    /// The first level with the new configuration keys (`lxc.uts.name`), LXC 2.1.
    pub const NEW_KEYS: Self = Self(4);
    /// The newest level that distrobuilder writes files for without a suffix, LXC 3.0.
    pub const PLAIN: Self = Self(5);
    /// LXC 4.0 and everything since.
    pub const NEWEST: Self = Self(7);

    /// Every level, oldest first.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> {
        (Self::OLDEST.0..=Self::NEWEST.0).map(Self)
    }

    /// The number.
    pub fn number(self) -> u8 {
        self.0
    }
}

impl FromStr for CompatLevel {
    type Err = ParseCompatLevelError;

    fn from_str(text: &str) -> Result<Self, ParseCompatLevelError> {
        Self::all().find(|level| level.0.to_string() == text).ok_or_else(|| ParseCompatLevelError {
            found: text.chars().take(20).flat_map(char::escape_debug).collect(),
        })
    }
}

impl fmt::Display for CompatLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A compat level that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a compat level from 1 to 7, found `{found}`")]
pub struct ParseCompatLevelError {
    found: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_one_to_seven_exist_and_no_others() {
        assert_eq!(CompatLevel::all().map(CompatLevel::number).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7]);
        for text in ["0", "8", "07", "+7", "", "seven"] {
            assert!(text.parse::<CompatLevel>().is_err(), "{text}");
        }
    }
}
