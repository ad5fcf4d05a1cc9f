//! The lines on which a spec's entries begin.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_saphyr::Spanned;

/// Where the entries of the lists are, so that an error about one can name its line.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Lines {
    files: Option<Vec<Spanned<IgnoredAny>>>,
    actions: Option<Vec<Spanned<IgnoredAny>>>,
    packages: Option<PackageLines>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct PackageLines {
    sets: Option<Vec<Spanned<IgnoredAny>>>,
    repositories: Option<Vec<Spanned<IgnoredAny>>>,
}

/// A list of the spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Files,
    Actions,
    Sets,
    Repositories,
}

impl Lines {
    /// The lines of a spec that parsed as one; text that does not has no lines.
    pub(crate) fn of(yaml: &str) -> Self {
        serde_saphyr::from_str(yaml).unwrap_or_default()
    }

    /// `actions[3] (line 57)`.
    pub(crate) fn place(&self, section: Section, index: usize) -> String {
        let packages = self.packages.as_ref();
        let (name, list) = match section {
            Section::Files => ("files", self.files.as_ref()),
            Section::Actions => ("actions", self.actions.as_ref()),
            Section::Sets => ("packages.sets", packages.and_then(|packages| packages.sets.as_ref())),
            Section::Repositories => {
                ("packages.repositories", packages.and_then(|packages| packages.repositories.as_ref()))
            }
        };
        match list.and_then(|list| list.get(index)) {
            Some(entry) => format!("{name}[{index}] (line {})", entry.referenced.line()),
            None => format!("{name}[{index}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_named_with_its_index_and_its_line() {
        let lines = Lines::of("image: {}\nactions:\n- trigger: post-unpack\n  action: |-\n    a\n    b\n- action: x\n");
        assert_eq!(lines.place(Section::Actions, 0), "actions[0] (line 3)");
        assert_eq!(lines.place(Section::Actions, 1), "actions[1] (line 7)");
        assert_eq!(lines.place(Section::Files, 0), "files[0]");
    }
}
