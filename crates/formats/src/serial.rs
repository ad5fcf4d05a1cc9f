//! [`Serial`]: the name of one build.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smol_str::SmolStr;

use crate::text;
use crate::time::Timestamp;

/// The name of one build: `20261123_0522`, the UTC minute it was made in. Serials sort as text in the order of time,
/// and hold no `:`, which some clients send percent-encoded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(SmolStr);

impl Serial {
    /// The serial of a build made at `time`.
    pub fn at(time: Timestamp) -> Self {
        Self(time.strftime("%Y%m%d_%H%M").into())
    }

    /// The serial as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The minute the serial names.
    pub fn time(&self) -> Option<Timestamp> {
        Timestamp::strptime("%Y%m%d_%H%M", &self.0)
    }
}

impl FromStr for Serial {
    type Err = ParseSerialError;

    fn from_str(text: &str) -> Result<Self, ParseSerialError> {
        is_serial(text)
            .then(|| Self(text.into()))
            .ok_or_else(|| ParseSerialError { found: text.chars().take(40).flat_map(char::escape_debug).collect() })
    }
}

/// Large servers read tens of thousands of serials for one publish, so no text is made to compare with.
fn is_serial(text: &str) -> bool {
    let Some((day, minute)) = text.split_once('_') else { return false };
    let are_digits = |part: &str, count: usize| part.len() == count && part.bytes().all(|byte| byte.is_ascii_digit());
    if !are_digits(day, 8) || !are_digits(minute, 4) {
        return false;
    }
    let number = |part: &str| part.parse::<i16>().unwrap_or(i16::MAX);
    let small = |part: &str| part.parse::<i8>().unwrap_or(i8::MAX);
    let date = jiff::civil::Date::new(number(&day[..4]), small(&day[4..6]), small(&day[6..]));
    // Times end in the last days of the year 9999.
    date.is_ok_and(|date| date.year() < 9999) && number(&minute[..2]) < 24 && number(&minute[2..]) < 60
}

impl Serialize for Serial {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Serial {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Text that is not a serial.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a build serial such as `20261123_0522` (UTC), found `{found}`")]
pub struct ParseSerialError {
    found: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_names_the_utc_minute() {
        let serial = Serial::at(Timestamp::from_unix(1_795_411_320));
        assert_eq!(serial.as_str(), "20261123_0522");
        assert_eq!(serial.time(), Some(Timestamp::from_unix(1_795_411_320)));
    }

    #[test]
    fn dates_that_do_not_exist_and_other_shapes_are_refused() {
        for text in ["20261123_05:22", "20261323_0522", "20260230_0000", "2026112_0522", "../x", "", "20261123_0522\n"]
        {
            assert!(text.parse::<Serial>().is_err(), "{text:?}");
        }
    }
}
