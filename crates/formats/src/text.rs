//! Values that are one text in documents.

use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::str::FromStr;

use serde::Deserializer;
use serde::de::{self, Visitor};

/// Reads a value from its text, which is not copied for that: a large server reads very many.
pub fn deserialize<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    deserializer.deserialize_str(Text(PhantomData))
}

struct Text<T>(PhantomData<T>);

impl<T: FromStr<Err: Display>> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use crate::name::Name;

    #[test]
    fn a_text_is_parsed_and_what_is_none_is_refused() {
        assert_eq!(serde_json::from_str::<Name>("\"a\\u002b\"").unwrap().as_str(), "a+");
        let refused = serde_json::from_str::<Name>("\"a/b\"").unwrap_err().to_string();
        assert!(refused.contains("`a/b` is not a usable name"), "{refused}");
        let refused = serde_json::from_str::<Name>("7").unwrap_err().to_string();
        assert!(refused.contains("invalid type: integer `7`, expected a string"), "{refused}");
    }
}
