//! The packages of a build, and what changed between two.

use std::collections::BTreeMap;

use serde::Deserialize;

/// An installed package, as `packages.json` lists it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    #[serde(default)]
    pub(super) arch: String,
}

/// One package that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) name: String,
    /// `added`, `removed` or `changed`.
    pub(super) kind: &'static str,
    /// The version, or both.
    pub(super) versions: String,
}

/// Understands `packages.json`; `None` when it is cut off or something else.
pub(super) fn parse(json: &[u8]) -> Option<Vec<Package>> {
    serde_json::from_slice(json).ok()
}

/// What has to be done to `old` to get `new`, in order of the names.
pub(super) fn changes(old: &[Package], new: &[Package]) -> Vec<Change> {
    fn versions(packages: &[Package]) -> BTreeMap<(&str, &str), &str> {
        packages
            .iter()
            .map(|package| ((package.name.as_str(), package.arch.as_str()), package.version.as_str()))
            .collect()
    }
    let (old, new) = (versions(old), versions(new));
    let names: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).copied().collect();
    let change = |key: (&str, &str)| {
        let (kind, versions) = match (old.get(&key), new.get(&key)) {
            (Some(old), Some(new)) if old != new => ("changed", format!("{old} → {new}")),
            (Some(old), None) => ("removed", (*old).to_owned()),
            (None, Some(new)) => ("added", (*new).to_owned()),
            _ => return None,
        };
        Some(Change { name: key.0.to_owned(), kind, versions })
    };
    names.into_iter().filter_map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str) -> Package {
        Package { name: name.to_owned(), version: version.to_owned(), arch: "amd64".to_owned() }
    }

    #[test]
    fn a_change_is_a_package_that_came_went_or_has_another_version() {
        let old = [package("bash", "5.2"), package("gone", "1"), package("same", "1")];
        let new = [package("bash", "5.3"), package("new", "2"), package("same", "1")];
        let found: Vec<_> = changes(&old, &new).into_iter().map(|one| (one.name, one.kind, one.versions)).collect();
        let expected = [("bash", "changed", "5.2 → 5.3"), ("gone", "removed", "1"), ("new", "added", "2")];
        assert_eq!(found, expected.map(|(name, kind, versions)| (name.to_owned(), kind, versions.to_owned())));
        assert_eq!(changes(&new, &new), []);
    }

    #[test]
    fn a_list_that_is_cut_off_or_no_list_is_none() {
        let json = br#"[{"name":"a","version":"1","arch":"all","sha256":"x"}]"#;
        assert_eq!(parse(json).unwrap().len(), 1);
        assert_eq!(parse(&json[..20]), None);
        assert_eq!(parse(b"{}"), None);
    }
}
