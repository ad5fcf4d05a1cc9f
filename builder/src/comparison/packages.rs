//! What is installed in one build and not in the other.

use std::collections::{BTreeMap, BTreeSet};

use formats::record::BuildFile;
use serde::Serialize;

use super::{Build, Change, ComparisonError};
use crate::build::inventory::Package;

/// Packages that are not the same.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct PackageChanges {
    /// Only in the second build.
    pub(crate) added: Vec<Package>,
    /// Only in the first.
    pub(crate) removed: Vec<Package>,
    /// In another version, or in the same from another package file.
    pub(crate) changed: Vec<Change>,
}

impl PackageChanges {
    pub(super) fn of(from: &Build, to: &Build) -> Result<Self, ComparisonError> {
        Ok(Self::between(&packages(from)?, &packages(to)?))
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }

    fn between(from: &[Package], to: &[Package]) -> Self {
        let (from, to) = (by_name(from), by_name(to));
        let mut changes = Self::default();
        for name in from.keys().chain(to.keys()).collect::<BTreeSet<_>>() {
            let [one, other] = [&from, &to].map(|all| all.get(name).cloned().unwrap_or_default());
            let removed: Vec<_> = one.iter().filter(|package| !other.contains(package)).collect();
            let added: Vec<_> = other.iter().filter(|package| !one.contains(package)).collect();
            match (removed.as_slice(), added.as_slice()) {
                ([before], [after]) => changes.changed.push(change(before, after)),
                (removed, added) => {
                    changes.removed.extend(removed.iter().map(|package| (**package).clone()));
                    changes.added.extend(added.iter().map(|package| (**package).clone()));
                }
            }
        }
        changes
    }
}

/// Several versions of one package can be installed side by side.
fn by_name(packages: &[Package]) -> BTreeMap<(&str, &str), Vec<&Package>> {
    let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for package in packages {
        all.entry((package.name.as_str(), package.arch.as_str())).or_default().push(package);
    }
    all
}

fn change(before: &Package, after: &Package) -> Change {
    let shown = |package: &Package| match (before.version == after.version, package.sha256) {
        (true, Some(digest)) => format!("{} (sha256 {})", package.version, digest.short()),
        (true, None) | (false, _) => package.version.clone(),
    };
    Change { what: format!("{}:{}", before.name, before.arch), from: shown(before), to: shown(after) }
}

fn packages(build: &Build) -> Result<Vec<Package>, ComparisonError> {
    let content = build.content(BuildFile::PackagesJson)?.unwrap_or_else(|| b"[]".to_vec());
    serde_json::from_slice(&content).map_err(|error| ComparisonError::Malformed {
        path: build.path(BuildFile::PackagesJson),
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use formats::digest::Sha256;

    use super::*;

    fn package(name: &str, version: &str, content: &str) -> Package {
        let sha256 = (!content.is_empty()).then(|| Sha256::of(content.as_bytes()));
        Package { name: name.into(), version: version.into(), arch: "amd64".into(), sha256 }
    }

    #[test]
    fn a_package_is_added_removed_or_changed_and_never_two_of_these() {
        let from = [package("a", "1", ""), package("b", "1", ""), package("c", "1", "x"), package("d", "1", "x")];
        let to = [package("b", "2", ""), package("c", "1", "y"), package("d", "1", "x"), package("e", "1", "")];
        let found = PackageChanges::between(&from, &to);
        assert_eq!(found.removed, [package("a", "1", "")]);
        assert_eq!(found.added, [package("e", "1", "")]);
        let changed: Vec<_> = found.changed.iter().map(|one| (one.what.as_str(), one.to.as_str())).collect();
        let rebuilt = format!("1 (sha256 {})", Sha256::of(b"y").short());
        assert_eq!(changed, [("b:amd64", "2"), ("c:amd64", rebuilt.as_str())]);
        assert!(PackageChanges::between(&from, &from).is_empty());
    }

    #[test]
    fn versions_that_are_installed_side_by_side_are_counted_one_by_one() {
        let from = [package("kernel", "1", ""), package("kernel", "2", "")];
        let to = [package("kernel", "2", ""), package("kernel", "3", ""), package("kernel", "4", "")];
        let changes = PackageChanges::between(&from, &to);
        assert_eq!((changes.removed.len(), changes.added.len(), changes.changed.len()), (1, 2, 0));
    }
}
