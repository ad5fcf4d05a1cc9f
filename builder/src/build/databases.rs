//! What package managers other than dpkg say they have installed, each in its own database.
//!
//! | manager | where | form |
//! |---|---|---|
//! | apk | `lib/apk/db/installed` | paragraphs of `P:`, `V:`, `A:` |
//! | opkg | `usr/lib/opkg/status` | dpkg's |
//! | pacman | `var/lib/pacman/local/*/desc` | `%NAME%` and the like, each with its value below |
//! | xbps | `var/db/xbps/pkgdb-0.38.plist` | a property list |
//! | portage | `var/db/pkg/CATEGORY/NAME-VERSION` | directories |
//! | slackpkg | `var/lib/pkgtools/packages/NAME-VERSION-ARCH-BUILD` | files |
//!
//! rpm's is a binary file that only rpm reads: `rpm -qa` is asked in the tree ([`RPM_QUERY`]).

use std::io;

use super::inventory::{Package, field};
use super::tree::Tree;

/// Who keeps the database. Its word is the type of a package URL (purl-spec, `PURL-TYPES`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// dpkg.
    #[default]
    Deb,
    /// apk.
    Apk,
    /// opkg.
    Opkg,
    /// pacman.
    Alpm,
    /// rpm.
    Rpm,
    /// Managers that package URLs have no type for.
    Generic,
}

impl Kind {
    /// The word in package URLs.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Deb => "deb",
            Self::Apk => "apk",
            Self::Opkg => "opkg",
            Self::Alpm => "alpm",
            Self::Rpm => "rpm",
            Self::Generic => "generic",
        }
    }
}

/// The packages of a tree without dpkg's database; none where there is no other that is known.
pub(super) fn installed(tree: &Tree) -> io::Result<(Kind, Vec<Package>)> {
    let text = |path: &str| tree.read(path).map(|found| found.map(|text| String::from_utf8_lossy(&text).into_owned()));
    for path in ["/lib/apk/db/installed", "/usr/lib/apk/db/installed"] {
        if let Some(text) = text(path)? {
            return Ok((Kind::Apk, apk(&text)));
        }
    }
    for path in ["/usr/lib/opkg/status", "/var/lib/opkg/status"] {
        if let Some(text) = text(path)? {
            return Ok((Kind::Opkg, opkg(&text)));
        }
    }
    if let Some(text) = text("/var/db/xbps/pkgdb-0.38.plist")? {
        return Ok((Kind::Generic, xbps(&text)));
    }
    let mut packages = Vec::new();
    for name in names(tree, PACMAN)? {
        let directory = format!("{PACMAN}/{name}");
        // The version of the database is a file among the directories.
        if tree.is_directory(&directory)? {
            packages.extend(text(&format!("{directory}/desc"))?.and_then(|text| pacman(&text)));
        }
    }
    if !packages.is_empty() {
        return Ok((Kind::Alpm, packages));
    }
    for category in names(tree, PORTAGE)? {
        let found = names(tree, &format!("{PORTAGE}/{category}"))?;
        packages.extend(found.iter().filter_map(|name| portage(&category, name)));
    }
    for directory in ["/var/lib/pkgtools/packages", "/var/log/packages"] {
        packages.extend(names(tree, directory)?.iter().filter_map(|name| slackware(name)));
    }
    packages.dedup();
    Ok((Kind::Generic, packages))
}

fn names(tree: &Tree, directory: &str) -> io::Result<Vec<String>> {
    Ok(tree.names(directory)?.into_iter().filter_map(|name| name.into_string().ok()).collect())
}

fn package(name: &str, version: &str, arch: &str) -> Package {
    Package { name: name.to_owned(), version: version.to_owned(), arch: arch.to_owned(), sha256: None }
}

fn apk(text: &str) -> Vec<Package> {
    let one = |paragraph: &str| {
        let value = |key: &str| paragraph.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        Some(package(value("P")?, value("V")?, value("A").unwrap_or_default()))
    };
    text.split("\n\n").filter_map(one).collect()
}

fn opkg(text: &str) -> Vec<Package> {
    let one = |paragraph: &str| {
        let is_installed = field(paragraph, "Status")?.ends_with(" installed");
        let arch = field(paragraph, "Architecture").unwrap_or_default();
        is_installed.then_some(package(field(paragraph, "Package")?, field(paragraph, "Version")?, arch))
    };
    text.split("\n\n").filter_map(one).collect()
}

fn pacman(text: &str) -> Option<Package> {
    let value = |key: &str| {
        let mut lines = text.lines().skip_while(|line| *line != key);
        lines.next().and_then(|_| lines.next()).filter(|value| !value.is_empty())
    };
    Some(package(value("%NAME%")?, value("%VERSION%")?, value("%ARCH%").unwrap_or_default()))
}

/// Keys of a dictionary are sorted, so that `architecture` comes before `pkgver`, and every package has one `pkgver`.
fn xbps(text: &str) -> Vec<Package> {
    let (mut key, mut arch) = ("", "");
    let mut packages = Vec::new();
    for line in text.lines().map(str::trim) {
        let inside = |open, close| line.strip_prefix(open).and_then(|line| line.strip_suffix(close));
        if let Some(found) = inside("<key>", "</key>") {
            key = found;
        } else if let Some(value) = inside("<string>", "</string>") {
            match key {
                "architecture" => arch = value,
                "pkgver" => packages.extend(value.rsplit_once('-').map(|(name, version)| package(name, version, arch))),
                _ => {}
            }
        }
    }
    packages
}

fn portage(category: &str, directory: &str) -> Option<Package> {
    let is_revision = |word: &str| {
        word.strip_prefix('r')
            .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|one| one.is_ascii_digit()))
    };
    let (rest, last) = directory.rsplit_once('-')?;
    let (name, version) = if is_revision(last) {
        let (name, version) = rest.rsplit_once('-')?;
        (name, format!("{version}-{last}"))
    } else {
        (rest, last.to_owned())
    };
    // A directory in the making begins with `-MERGING-`.
    (!name.is_empty() && !name.starts_with('-')).then(|| package(&format!("{category}/{name}"), &version, ""))
}

fn slackware(file: &str) -> Option<Package> {
    let mut words = file.rsplitn(4, '-');
    let (build, arch, version, name) = (words.next()?, words.next()?, words.next()?, words.next()?);
    Some(package(name, &format!("{version}-{build}"), arch))
}

/// The packages in what [`RPM_QUERY`] prints.
pub(super) fn rpm(printed: &str) -> Vec<Package> {
    let one = |line: &str| {
        let mut words = line.split('\t');
        let (name, version, arch) = (words.next()?, words.next()?, words.next()?);
        // A certificate in the database is no package.
        (name != "gpg-pubkey").then(|| package(name, version, if arch == "(none)" { "" } else { arch }))
    };
    printed.lines().filter_map(one).collect()
}

/// What rpm is asked.
pub(super) const RPM_QUERY: &str = "%{NAME}\\t%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}\\t%{ARCH}\\n";

const PACMAN: &str = "/var/lib/pacman/local";
const PORTAGE: &str = "/var/db/pkg";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::files::Ownership;

    /// What is found in a tree of these files.
    fn found(files: &[(&str, &str)]) -> (Kind, Vec<String>) {
        let directory = tempfile::tempdir().unwrap();
        let tree = Tree::open(directory.path()).unwrap();
        for (path, content) in files {
            tree.write(path, content.as_bytes(), Ownership::default()).unwrap();
        }
        let (kind, packages) = installed(&tree).unwrap();
        (kind, packages.iter().map(|one| format!("{} {} {}", one.name, one.version, one.arch)).collect())
    }

    #[test]
    fn every_database_is_read_in_its_own_form() {
        let apk = "C:Q1x=\nP:musl\nV:1.2.5-r0\nA:x86_64\nF:lib\n\nC:Q1y=\nP:zlib\nV:1.3-r1\nA:x86_64\n\n";
        assert_eq!(
            found(&[("/lib/apk/db/installed", apk)]),
            (Kind::Apk, vec!["musl 1.2.5-r0 x86_64".into(), "zlib 1.3-r1 x86_64".into()])
        );
        let opkg = "Package: libc\nVersion: 1.2.4-4\nStatus: install user installed\nArchitecture: x86_64\n\n\
                    Package: gone\nVersion: 1\nStatus: deinstall ok not-installed\n";
        assert_eq!(found(&[("/usr/lib/opkg/status", opkg)]), (Kind::Opkg, vec!["libc 1.2.4-4 x86_64".into()]));
        let desc = "%NAME%\nbash\n\n%VERSION%\n5.2.037-1\n\n%BASE%\nbash\n\n%ARCH%\nx86_64\n";
        let pacman =
            [("/var/lib/pacman/local/bash-5.2.037-1/desc", desc), ("/var/lib/pacman/local/ALPM_DB_VERSION", "9\n")];
        assert_eq!(found(&pacman), (Kind::Alpm, vec!["bash 5.2.037-1 x86_64".into()]));
        let plist = "<plist version=\"1.0\">\n<dict>\n\t<key>acl-progs</key>\n\t<dict>\n\t\t<key>architecture</key>\n\
                     \t\t<string>x86_64</string>\n\t\t<key>pkgver</key>\n\t\t<string>acl-progs-2.3.2_1</string>\n\t</dict>\n";
        let xbps = [("/var/db/xbps/pkgdb-0.38.plist", plist)];
        assert_eq!(found(&xbps), (Kind::Generic, vec!["acl-progs 2.3.2_1 x86_64".into()]));
        let portage = [
            ("/var/db/pkg/media-fonts/font-adobe-100dpi-1.0.3-r2/PF", ""),
            ("/var/db/pkg/app-shells/bash-5.2_p37/PF", ""),
            ("/var/db/pkg/app-shells/-MERGING-dash-0.5/PF", ""),
        ];
        let expected = vec!["app-shells/bash 5.2_p37 ".into(), "media-fonts/font-adobe-100dpi 1.0.3-r2 ".into()];
        assert_eq!(found(&portage), (Kind::Generic, expected));
        let slackware = [("/var/lib/pkgtools/packages/aaa_base-15.0-x86_64-3", "")];
        assert_eq!(found(&slackware), (Kind::Generic, vec!["aaa_base 15.0-3 x86_64".into()]));
        assert_eq!(found(&[("/etc/motd", "")]), (Kind::Generic, Vec::new()));
    }

    #[test]
    fn what_rpm_prints_is_its_packages_without_the_certificates() {
        let printed = "glibc\t2.40-1.fc43\tx86_64\ngpg-pubkey\t1-2\t(none)\nperl\t4:5.40-1\tnoarch\n";
        let packages = rpm(printed);
        assert_eq!(packages, [package("glibc", "2.40-1.fc43", "x86_64"), package("perl", "4:5.40-1", "noarch")]);
    }

    proptest! {
        #[test]
        fn any_database_is_survived(text in "([PVA]:|%NAME%|%VERSION%|<key>pkgver</key>|<string>|</string>|-|\n|\t|[ -~]){0,60}") {
            apk(&text);
            opkg(&text);
            pacman(&text);
            xbps(&text);
            portage("c", &text);
            slackware(&text);
            rpm(&text);
        }
    }
}
