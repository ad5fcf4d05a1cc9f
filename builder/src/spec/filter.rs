//! Filters: which entries of a spec apply to the image being built.

use serde::{Deserialize, Serialize};

use super::definition::Image;
use super::text::Text;

/// What an entry is for. An entry without a type is for everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TargetType {
    Container,
    Vm,
}

/// The four filters of an entry. Kinds are and-ed, the values of one kind are or-ed, an empty kind matches anything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filter<'a> {
    pub(crate) releases: &'a [Text],
    /// Compared with the distribution's own spelling, `image.architecture_mapped`.
    pub(crate) architectures: &'a [Text],
    pub(crate) variants: &'a [Text],
    pub(crate) types: &'a [TargetType],
}

/// The part of a container build an entry takes part in.
///
/// distrobuilder's images are made by two commands: `build-dir` runs what has no type, `pack-lxc` then what is meant
/// for containers, and specs are written for that order (reference: `ApplyFilter` and its masks). Files and
/// `post-files` actions belong to the second command, which takes both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Entries without a type.
    Base,
    /// Entries that name `container`.
    Container,
    /// Both, in the order of the spec.
    Both,
}

impl Filter<'_> {
    /// Whether the entry applies to `image` in `phase`.
    pub(crate) fn matches(&self, image: &Image, phase: Phase) -> bool {
        let any = |allowed: &[Text], value: &Text| allowed.is_empty() || allowed.contains(value);
        let container = self.types.contains(&TargetType::Container);
        let phase = match phase {
            Phase::Base => self.types.is_empty(),
            Phase::Container => container,
            Phase::Both => self.types.is_empty() || container,
        };
        phase
            && any(self.releases, &image.release)
            && any(self.architectures, &image.architecture_mapped)
            && any(self.variants, &image.variant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &str) -> Vec<Text> {
        list.split_whitespace().map(Text::from).collect()
    }

    fn image() -> Image {
        Image {
            release: "16.0".into(),
            architecture_mapped: "amd64".into(),
            variant: "cloud".into(),
            ..Image::default()
        }
    }

    #[test]
    fn kinds_are_anded_and_values_ored_and_compared_as_text() {
        for (releases, architectures, variants, expected) in [
            ("", "", "", true),
            ("16.0", "", "", true),
            ("15.6 16.0", "amd64 arm64", "cloud", true),
            ("16", "", "", false),
            ("", "x86_64", "", false),
            ("", "", "default", false),
            ("16.0", "amd64", "default", false),
            ("", "AMD64", "", false),
            ("", "aaarch64", "", false),
        ] {
            let (releases, architectures, variants) = (texts(releases), texts(architectures), texts(variants));
            let filter = Filter { releases: &releases, architectures: &architectures, variants: &variants, types: &[] };
            assert_eq!(filter.matches(&image(), Phase::Base), expected, "{filter:?}");
        }
    }

    #[test]
    fn types_choose_the_phase() {
        use TargetType::{Container, Vm};
        for (types, base, container, both) in [
            (&[][..], true, false, true),
            (&[Container], false, true, true),
            (&[Vm], false, false, false),
            (&[Container, Vm], false, true, true),
        ] {
            let filter = Filter { releases: &[], architectures: &[], variants: &[], types };
            let found = [Phase::Base, Phase::Container, Phase::Both].map(|phase| filter.matches(&image(), phase));
            assert_eq!(found, [base, container, both], "{types:?}");
        }
    }
}
