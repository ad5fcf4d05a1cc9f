//! What is installed in a tree, and what it was installed from.

use std::collections::{BTreeMap, HashMap};
use std::io;

use formats::digest::Sha256;
use serde::{Deserialize, Serialize};

use super::databases::{self, Kind};
use super::tree::Tree;

/// An installed package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Package {
    /// `libc6`.
    pub(crate) name: String,
    /// `2.36-9`.
    pub(crate) version: String,
    /// `amd64` or `all`.
    pub(crate) arch: String,
    /// The digest of the package file, where the repository's lists name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sha256: Option<Sha256>,
}

/// Everything known about the packages of a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Inventory {
    /// Who installed them.
    #[serde(default)]
    pub(crate) kind: Kind,
    /// Sorted by name.
    pub(crate) packages: Vec<Package>,
    /// The signed documents of the repositories, by what they call themselves: `Debian bookworm-updates`.
    pub(crate) repositories: BTreeMap<String, Sha256>,
    /// What the lists say about package files, by `name_version_arch`.
    pub(crate) listed: HashMap<String, Sha256>,
    /// The digest of dpkg's database: while it stays, so do the packages.
    pub(crate) status: Option<Sha256>,
}

impl Inventory {
    /// What is installed now, read from dpkg's database and apt's lists, or else from another manager's database. What
    /// earlier lists said counts where a script has removed them.
    pub(crate) fn updated(mut self, tree: &Tree) -> io::Result<Self> {
        let lists: Vec<_> = tree.names(LISTS)?.iter().map(|name| name.display().to_string()).collect();
        for name in lists.iter().filter(|name| name.ends_with("Release")) {
            let content = tree.read(&format!("{LISTS}/{name}"))?.unwrap_or_default();
            self.repositories.insert(repository_name(&String::from_utf8_lossy(&content)), Sha256::of(&content));
        }
        let Some(status) = tree.read(STATUS)? else {
            (self.kind, self.packages) = databases::installed(tree)?;
            self.packages.sort();
            return Ok(self);
        };
        self.kind = Kind::Deb;
        let digest = Some(Sha256::of(&status));
        if self.status == digest {
            return Ok(self);
        }
        self.status = digest;
        let text = String::from_utf8_lossy(&status);
        self.packages = text.split("\n\n").filter_map(|one| self.installed(one)).collect();
        // The lists are long, and looked at only for what is not known yet.
        if self.packages.iter().any(|package| package.sha256.is_none()) {
            for name in lists.iter().filter(|name| name.ends_with("_Packages")) {
                let content = tree.read(&format!("{LISTS}/{name}"))?.unwrap_or_default();
                self.listed.extend(String::from_utf8_lossy(&content).split("\n\n").filter_map(listed));
            }
            self.packages = text.split("\n\n").filter_map(|one| self.installed(one)).collect();
        }
        self.packages.sort();
        Ok(self)
    }

    /// Without what the lists say about packages that are not installed: there are tens of thousands.
    pub(crate) fn without_others(&self) -> Self {
        let installed = self.packages.iter().map(|one| key(&one.name, &one.version, &one.arch));
        let listed = installed.filter_map(|key| self.listed.get(&key).map(|digest| (key, *digest)));
        Self { listed: listed.collect(), ..self.clone() }
    }

    fn installed(&self, paragraph: &str) -> Option<Package> {
        if !field(paragraph, "Status")?.ends_with(" installed") {
            return None;
        }
        let [name, version, arch] =
            ["Package", "Version", "Architecture"].map(|key| field(paragraph, key).map(str::to_owned));
        let (name, version, arch) = (name?, version?, arch?);
        let sha256 = self.listed.get(&key(&name, &version, &arch)).copied();
        Some(Package { name, version, arch, sha256 })
    }
}

/// The key of a package in [`Inventory::listed`]; package files are named after it.
pub(crate) fn key(name: &str, version: &str, arch: &str) -> String {
    format!("{name}_{version}_{arch}")
}

fn listed(paragraph: &str) -> Option<(String, Sha256)> {
    let name = key(field(paragraph, "Package")?, field(paragraph, "Version")?, field(paragraph, "Architecture")?);
    Some((name, field(paragraph, "SHA256")?.parse().ok()?))
}

/// What a signed document calls itself.
pub(crate) fn repository_name(release: &str) -> String {
    let value = |key| field(release, key);
    let label = value("Label").or_else(|| value("Origin")).unwrap_or("repository");
    let suite = value("Codename").or_else(|| value("Suite")).unwrap_or("unnamed");
    format!("{label} {suite}")
}

/// A field of a paragraph in Debian's control format.
pub(super) fn field<'a>(paragraph: &'a str, key: &str) -> Option<&'a str> {
    paragraph.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim)
}

const STATUS: &str = "/var/lib/dpkg/status";
const LISTS: &str = "/var/lib/apt/lists";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::files::Ownership;

    #[test]
    fn packages_are_those_dpkg_calls_installed_with_the_digest_apt_listed() {
        let directory = tempfile::tempdir().unwrap();
        let tree = Tree::open(directory.path()).unwrap();
        let digest = Sha256::of(b"deb");
        let write = |path: &str, text: String| tree.write(path, text.as_bytes(), Ownership::default()).unwrap();
        write(
            "/var/lib/dpkg/status",
            "Package: zlib1g\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:1.2\n\n\
             Package: base\nStatus: install ok installed\nArchitecture: all\nVersion: 3\nConffiles:\n /etc/a 00\n\n\
             Package: gone\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 3\n"
                .into(),
        );
        write(
            "/var/lib/apt/lists/host_dists_x_main_binary-amd64_Packages",
            format!("Package: zlib1g\nVersion: 1:1.2\nArchitecture: amd64\nSHA256: {digest}\n"),
        );
        let release = "Origin: Debian\nLabel: Debian-Security\nSuite: stable\nCodename: x-security\n".to_owned();
        write("/var/lib/apt/lists/host_dists_x_InRelease", release.clone());
        let inventory = Inventory::default().updated(&tree).unwrap();
        let names: Vec<_> = inventory.packages.iter().map(|package| package.name.as_str()).collect();
        assert_eq!(names, ["base", "zlib1g"]);
        assert_eq!(inventory.packages[1].sha256, Some(digest));
        assert_eq!(inventory.repositories["Debian-Security x-security"], Sha256::of(release.as_bytes()));
    }
}
