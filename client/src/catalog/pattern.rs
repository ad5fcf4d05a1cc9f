//! What a listing is narrowed by.

use std::convert::Infallible;
use std::str::FromStr;

use formats::arch::Arch;

/// The start of an image's id or of an alias, `*` standing for anything; or what people type for an image elsewhere, an
/// architecture or a variant after an alias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
}

impl FromStr for Pattern {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self { text: text.to_owned() })
    }
}

impl Pattern {
    /// As it was typed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a listing shows the image of this id and these parts.
    pub(super) fn matches(&self, id: &str, parts: (&str, &str, Arch, &str), aliases: &[String]) -> bool {
        glob(&self.text, id) || aliases.iter().any(|alias| glob(&self.text, alias)) || self.is_short(parts, aliases)
    }

    /// Whether it is `ALIAS[/ARCH][/VARIANT]`, an alias being the distribution and release or one that the server gives.
    fn is_short(&self, (distribution, release, arch, variant): (&str, &str, Arch, &str), aliases: &[String]) -> bool {
        let is_of = |rest: &str| {
            let mut rest = rest.split('/');
            match (rest.next(), rest.next(), rest.next()) {
                (Some(one), None, _) => one.parse() == Ok(arch) || variant.starts_with(one),
                (Some(one), Some(other), None) => one.parse() == Ok(arch) && variant.starts_with(other),
                _ => false,
            }
        };
        let after = |start: &str| self.text.strip_prefix(start)?.strip_prefix('/');
        let of_release = after(distribution).and_then(|rest| rest.strip_prefix(release)?.strip_prefix('/'));
        of_release.is_some_and(is_of)
            || aliases.iter().any(|alias| {
                let alias = alias.strip_suffix(variant).and_then(|alias| alias.strip_suffix('/')).unwrap_or(alias);
                after(alias).is_some_and(is_of)
            })
    }
}

/// Whether `text` starts with `pattern`, in which `*` stands for anything.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut rest = rest;
    for part in parts {
        match rest.find(part) {
            Some(position) => rest = &rest[position + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_forms_are_those_that_name_images_elsewhere() {
        let parts = ("debian", "bookworm", "arm64".parse().unwrap(), "cloud");
        let aliases = ["debian/12/cloud".to_owned(), "debian/cloud".to_owned()];
        let matches =
            |text: &str| text.parse::<Pattern>().unwrap().matches("debian/bookworm/arm64/cloud", parts, &aliases);
        for text in [
            "deb",
            "*cloud",
            "debian/12",
            "debian/12/arm64",
            "debian/12/aarch64",
            "debian/12/cloud",
            "debian/bookworm/cloud",
            "debian/12/arm64/cloud",
            "debian/12/arm64/cl",
        ] {
            assert!(matches(text), "{text}");
        }
        for text in
            ["debian/12/amd64", "debian/12/arm64/default", "debian/1/arm64", "12/arm64", "debian/12/arm64/cloud/x"]
        {
            assert!(!matches(text), "{text}");
        }
    }
}
