//! dpkg's triggers (deb-triggers(5)): who waits for what, and what unpacking sets off.

use std::collections::{BTreeMap, BTreeSet};

use archive::unpack::Listed;

/// A package that wants to be told when something named changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interest {
    /// A path, or a name that packages agreed on.
    trigger: String,
    /// The package as dpkg's database names it.
    package: String,
    /// Those who set it off do not wait for the package.
    noawait: bool,
}

/// The interests in the `triggers` file of a package. What the package itself activates, dpkg does when it configures
/// the package.
pub(super) fn interests(package: &str, text: &str) -> Vec<Interest> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let one = |line: &str| {
        let mut words = line.split_whitespace();
        let (directive, trigger) = (words.next()?, words.next()?);
        let noawait = match directive {
            "interest" | "interest-await" => false,
            "interest-noawait" => true,
            _ => return None,
        };
        Some(Interest { trigger: trigger.to_owned(), package: package.to_owned(), noawait })
    };
    lines.filter_map(one).collect()
}

/// The files in dpkg's directory `triggers` that record interests: paths in `File`, other triggers each in its own.
pub(super) fn records(interests: &[Interest]) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for Interest { trigger, package, noawait } in interests {
        let option = if *noawait { "/noawait" } else { "" };
        let (file, line) = if trigger.starts_with('/') {
            ("File", format!("{trigger} {package}{option}\n"))
        } else {
            (trigger.as_str(), format!("{package}{option}\n"))
        };
        files.entry(file.to_owned()).or_insert_with(String::new).push_str(&line);
    }
    files
}

/// What unpacking files set off, in the form of dpkg's file `Unincorp`. Only packages that were configured before are
/// told; the others look for themselves when they are configured.
pub(super) fn activated(interests: &[Interest], configured: &BTreeSet<String>, unpacked: &[Listed]) -> String {
    let watched = interests.iter().filter(|one| configured.contains(&one.package));
    let paths: BTreeSet<_> = watched.filter_map(|one| one.trigger.strip_prefix('/')).collect();
    let set_off = paths.into_iter().filter(|path| {
        unpacked.iter().any(|file| {
            let rest = file.path.strip_prefix(path.as_bytes());
            !file.is_directory && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        })
    });
    set_off.flat_map(|path| ["/", path, " -\n"]).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "# comment\ninterest ldconfig\ninterest-noawait /usr/share/man # pages\nactivate x\n\n";

    fn unpacked(path: &str) -> Listed {
        Listed { path: path.into(), is_directory: false }
    }

    #[test]
    fn interests_are_recorded_as_dpkg_records_them() {
        let mut all = interests("libc-bin", TEXT);
        all.extend(interests("man-db:amd64", "interest-await /usr/share/man\n"));
        let files = records(&all);
        assert_eq!(files["ldconfig"], "libc-bin\n");
        assert_eq!(files["File"], "/usr/share/man libc-bin/noawait\n/usr/share/man man-db:amd64\n");
        assert_eq!(files.len(), 2);
    }

    #[test]
    fn only_configured_packages_are_told() {
        let all = interests("man-db", TEXT);
        let files = [unpacked("usr/share/man/man1/sh.1.gz")];
        assert_eq!(activated(&all, &BTreeSet::new(), &files), "");
        assert_eq!(activated(&all, &["man-db".to_owned()].into(), &files), "/usr/share/man -\n");
    }

    #[test]
    fn neighbours_of_a_path_and_directories_set_nothing_off() {
        let all = interests("man-db", TEXT);
        let configured = ["man-db".to_owned()].into();
        let files = [unpacked("usr/share/mandriva"), Listed { path: "usr/share/man".into(), is_directory: true }];
        assert_eq!(activated(&all, &configured, &files), "");
    }

    proptest! {
        #[test]
        fn any_text_is_survived_and_every_record_names_the_package(text: String) {
            for (_, lines) in records(&interests("p", &text)) {
                prop_assert!(lines.lines().all(|line| line.ends_with('p') || line.ends_with("p/noawait")));
            }
        }
    }
}
