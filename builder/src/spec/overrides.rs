//! `-o key=value`: values that replace those of the spec.

use std::str::FromStr;

use serde_json::Value;

use super::definition::Definition;

/// One override, `image.release=trixie` or `files.0.path=/etc/motd`. The value may hold `=` and `,`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Override {
    path: Vec<String>,
    value: String,
}

impl Override {
    /// A new value for the key at a dotted path.
    pub(crate) fn new(path: &str, value: impl Into<String>) -> Self {
        Self { path: path.split('.').map(str::to_owned).collect(), value: value.into() }
    }

    fn key(&self) -> String {
        self.path.join(".")
    }

    fn apply(&self, document: &mut Value) -> Result<(), OverrideError> {
        let mut place = document;
        for (depth, part) in self.path.iter().enumerate() {
            place = match place {
                Value::Object(map) => map.entry(part.clone()).or_insert_with(|| Value::String(String::new())),
                Value::Array(list) => {
                    let length = list.len();
                    let list_key = self.path[..depth].join(".");
                    let entry = part.parse().ok().and_then(|index: usize| list.get_mut(index));
                    entry.ok_or_else(|| OverrideError::NoEntry { list: list_key, entry: part.clone(), length })?
                }
                // `targets.incus.vm` is absent until something below it is set.
                Value::Null => {
                    *place = Value::Object(serde_json::Map::new());
                    match place {
                        Value::Object(map) => map.entry(part.clone()).or_insert(Value::Null),
                        _ => return Err(OverrideError::NotAValue { key: self.key() }),
                    }
                }
                Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                    return Err(OverrideError::NotAMap { key: self.path[..depth].join("."), below: part.clone() });
                }
            };
        }
        *place = self.parsed(place)?;
        Ok(())
    }

    /// The value in the type that the key has.
    fn parsed(&self, old: &Value) -> Result<Value, OverrideError> {
        let wrong = |expected| OverrideError::WrongType { key: self.key(), expected, found: self.value.clone() };
        match old {
            Value::Object(_) | Value::Array(_) => Err(OverrideError::NotAValue { key: self.key() }),
            Value::Bool(_) => match self.value.to_ascii_lowercase().as_str() {
                "true" | "t" | "1" | "yes" | "on" => Ok(Value::Bool(true)),
                "false" | "f" | "0" | "no" | "off" => Ok(Value::Bool(false)),
                _ => Err(wrong("`true` or `false`")),
            },
            Value::Number(_) => self.value.parse::<u64>().map(Value::from).map_err(|_| wrong("a number")),
            Value::Null => Ok(self.value.parse::<u64>().map_or_else(|_| Value::from(self.value.as_str()), Value::from)),
            Value::String(_) => Ok(Value::String(self.value.clone())),
        }
    }
}

impl FromStr for Override {
    type Err = OverrideError;

    fn from_str(text: &str) -> Result<Self, OverrideError> {
        match text.split_once('=') {
            Some((path, value)) if !path.is_empty() => Ok(Self::new(path, value)),
            _ => Err(OverrideError::NoValue { text: text.to_owned() }),
        }
    }
}

impl std::fmt::Display for Override {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.key(), self.value)
    }
}

/// The definition with every override applied, in order.
pub(crate) fn apply(definition: &Definition, overrides: &[Override]) -> Result<Definition, OverrideError> {
    let mut current = definition.clone();
    for one in overrides {
        let wrong = |source| OverrideError::Refused { text: one.to_string(), source };
        let mut document = serde_json::to_value(&current).map_err(wrong)?;
        one.apply(&mut document)?;
        current = serde_json::from_value(document).map_err(wrong)?;
    }
    Ok(current)
}

/// Why an override cannot be applied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OverrideError {
    #[error("expected an override such as `image.release=trixie`, found `{text}`")]
    NoValue { text: String },
    #[error("override of `{list}.{entry}`: the list `{list}` has {length} entries, counted from 0")]
    NoEntry { list: String, entry: String, length: usize },
    #[error("override of `{key}.{below}`: `{key}` is a single value")]
    NotAMap { key: String, below: String },
    #[error("override of `{key}`: it is no single value; name one below it")]
    NotAValue { key: String },
    #[error("override of `{key}`: expected {expected}, found `{found}`")]
    WrongType { key: String, expected: &'static str, found: String },
    #[error("override `{text}` does not fit the spec")]
    Refused { text: String, source: serde_json::Error },
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: &str = "image: {distribution: debian}\nfiles:\n- {generator: dump, path: /a}\npackages: {update: no}\n\
                        targets: {lxc: {config: [{type: all, before: 5}]}}\n";

    fn applied(text: &str) -> Result<Definition, OverrideError> {
        let definition: Definition = serde_saphyr::from_str(SPEC).unwrap();
        apply(&definition, &[text.parse()?])
    }

    #[test]
    fn a_value_is_set_in_the_type_of_its_key() {
        assert_eq!(applied("image.release=3.20").unwrap().image.release, "3.20");
        assert_eq!(applied("files.0.path=/b").unwrap().files[0].path, "/b");
        assert!(applied("packages.update=true").unwrap().packages.update);
        assert_eq!(applied("targets.lxc.config.0.before=3").unwrap().targets.lxc.config[0].before, 3);
        assert_eq!(applied("mappings.architectures.x86_64=k8").unwrap().mappings.architectures.len(), 1);
        assert_eq!(applied("targets.incus.vm.size=5").unwrap().targets.incus.vm.unwrap().size, Some(5));
    }

    #[test]
    fn a_value_may_hold_equals_signs_and_commas() {
        assert_eq!(applied("source.url=http://h/?a=b,c").unwrap().source.url, "http://h/?a=b,c");
    }

    #[test]
    fn what_does_not_fit_is_refused_and_named() {
        for (text, expected) in [
            ("image.release", "expected an override"),
            ("files.1.path=/b", "`files` has 1 entries"),
            ("files.x.path=/b", "`files` has 1 entries"),
            ("source.keys.0=x", "`source.keys` has 0 entries"),
            ("files=x", "no single value"),
            ("image=x", "no single value"),
            ("image.release.x=1", "`image.release` is a single value"),
            ("packages.update=perhaps", "expected `true` or `false`"),
            ("targets.lxc.config.0.before=x", "expected a number"),
            ("image.colour=red", "does not fit"),
            ("files.0.generator=magic", "does not fit"),
        ] {
            let error = applied(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
