//! Points in time and spans of time, at a resolution of one second.

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A second in UTC. It is written as RFC 3339 in documents (`2026-11-23T05:22:00Z`) and as `2026-11-23 05:22 UTC`
/// for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(jiff::Timestamp);

impl Timestamp {
    /// The second `seconds` after 1970-01-01 00:00 UTC, clamped to the years that can be written.
    pub fn from_unix(seconds: i64) -> Self {
        let latest = if seconds < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
        Self(jiff::Timestamp::from_second(seconds).unwrap_or(latest))
    }

    /// Seconds since 1970-01-01 00:00 UTC.
    pub fn unix(self) -> i64 {
        self.0.as_second()
    }

    /// The date alone, `2026-11-23`.
    pub fn date(self) -> String {
        self.strftime("%Y-%m-%d")
    }

    /// RFC 2822 as simplestreams writes it, `Mon, 23 Nov 2026 05:22:00 +0000`.
    pub fn rfc2822(self) -> String {
        self.strftime("%a, %d %b %Y %H:%M:%S +0000")
    }

    pub(crate) fn strftime(self, format: &str) -> String {
        self.0.strftime(format).to_string()
    }

    pub(crate) fn strptime(format: &str, text: &str) -> Option<Self> {
        let civil = jiff::civil::DateTime::strptime(format, text).ok()?;
        Some(Self(jiff::tz::Offset::UTC.to_timestamp(civil).ok()?))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self::from_unix(i64::try_from(seconds).unwrap_or(i64::MAX))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        UNIX_EPOCH + Duration::from_secs(u64::try_from(time.unix()).unwrap_or(0))
    }
}

impl FromStr for Timestamp {
    type Err = ParseTimeError;

    fn from_str(text: &str) -> Result<Self, ParseTimeError> {
        let time: jiff::Timestamp = text.parse().map_err(|_| ParseTimeError::new(text))?;
        Ok(Self::from_unix(time.as_second()))
    }
}

impl TryFrom<String> for Timestamp {
    type Error = ParseTimeError;

    fn try_from(text: String) -> Result<Self, ParseTimeError> {
        text.parse()
    }
}

impl From<Timestamp> for String {
    fn from(time: Timestamp) -> Self {
        time.strftime("%Y-%m-%dT%H:%M:%SZ")
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.strftime("%Y-%m-%d %H:%M UTC"))
    }
}

impl Add<Span> for Timestamp {
    type Output = Self;

    fn add(self, span: Span) -> Self {
        Self::from_unix(self.unix().saturating_add(span.seconds_signed()))
    }
}

impl Sub<Span> for Timestamp {
    type Output = Self;

    fn sub(self, span: Span) -> Self {
        Self::from_unix(self.unix().saturating_sub(span.seconds_signed()))
    }
}

/// A length of time, written `2d`, `36h` or `1h 30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(Duration);

impl Span {
    /// A span of so many days.
    pub const fn from_days(days: u32) -> Self {
        Self::from_seconds(days as u64 * 86_400)
    }

    /// A span of so many seconds.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Whole seconds.
    pub const fn seconds(self) -> u64 {
        self.0.as_secs()
    }

    fn seconds_signed(self) -> i64 {
        i64::try_from(self.seconds()).unwrap_or(i64::MAX)
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        span.0
    }
}

impl FromStr for Span {
    type Err = ParseTimeError;

    fn from_str(text: &str) -> Result<Self, ParseTimeError> {
        let span = humantime::parse_duration(text).map_err(|_| ParseTimeError::new(text))?;
        Ok(Self::from_seconds(span.as_secs()))
    }
}

impl TryFrom<String> for Span {
    type Error = ParseTimeError;

    fn try_from(text: String) -> Result<Self, ParseTimeError> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", humantime::format_duration(self.0))
    }
}

/// Text that is neither a time nor a span.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a time such as `2026-11-23T05:22:00Z` or a span such as `2d`, found `{found}`")]
pub struct ParseTimeError {
    found: String,
}

impl ParseTimeError {
    fn new(text: &str) -> Self {
        Self { found: text.chars().take(60).flat_map(char::escape_debug).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_survives_its_own_text() {
        let time = Timestamp::from_unix(1_795_411_320);
        assert_eq!(String::from(time), "2026-11-23T05:22:00Z");
        assert_eq!("2026-11-23T05:22:00Z".parse(), Ok(time));
        assert_eq!(time.to_string(), "2026-11-23 05:22 UTC");
        assert_eq!(time.rfc2822(), "Mon, 23 Nov 2026 05:22:00 +0000");
    }

    #[test]
    fn spans_are_written_with_units() {
        assert_eq!("2d".parse(), Ok(Span::from_days(2)));
        assert_eq!("1h 30m".parse(), Ok(Span::from_seconds(5400)));
        assert!("172800".parse::<Span>().is_err());
    }

    #[test]
    fn times_beyond_the_calendar_are_clamped_and_not_a_panic() {
        assert!(Timestamp::from_unix(i64::MAX) > Timestamp::from_unix(0));
        assert!(Timestamp::from_unix(i64::MIN) + Span::from_seconds(u64::MAX) > Timestamp::from_unix(0));
    }
}
