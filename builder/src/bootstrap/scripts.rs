//! What runs inside the tree: the maintainer scripts, by way of dpkg wherever it calls them itself.

use std::collections::BTreeMap;
use std::path::Path;

use formats::time::Timestamp;

use super::database::{self, Control};
use crate::sandbox::{Run, Session, Step};

/// A session with these steps inside the tree.
pub(super) fn session(root: &Path, now: Timestamp, steps: Vec<Step>) -> Session {
    let fixed = [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("DEBIAN_FRONTEND", "noninteractive"),
        ("DEBCONF_NONINTERACTIVE_SEEN", "true"),
        ("HOME", "/root"),
        ("LC_ALL", "C"),
    ];
    let mut environment: BTreeMap<_, _> = fixed.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    environment.insert("SOURCE_DATE_EPOCH".to_owned(), now.unix().to_string());
    Session { root: Some(root.to_owned()), environment, steps, ..Session::default() }
}

/// Runs the script that precedes the unpacking. debconf looks in dpkg's own directory for the package that such a
/// script speaks for, so those that ask questions run from there.
pub(super) fn preinst(control: &Control) -> Option<Step> {
    let content = control.file("preinst")?;
    let package = control.stanza.get("Package").unwrap_or_default();
    let arch = control.stanza.get("Architecture").unwrap_or_default();
    let variables = [
        format!("DPKG_MAINTSCRIPT_PACKAGE={package}"),
        format!("DPKG_MAINTSCRIPT_ARCH={arch}"),
        "DPKG_MAINTSCRIPT_NAME=preinst".to_owned(),
        "DPKG_MAINTSCRIPT_DEBUG=0".to_owned(),
        "DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT=1".to_owned(),
        "DPKG_ADMINDIR=/var/lib/dpkg".to_owned(),
        "DPKG_ROOT=".to_owned(),
    ];
    let staged = format!("/{}", database::STAGED);
    let staged = format!("{staged}/{}", control.database_name());
    let asks = content.windows(7).any(|word| word == b"debconf");
    let words = if asks {
        let script = format!("set -e; mv '{staged}' {CURRENT}; {CURRENT}/preinst install; mv {CURRENT} '{staged}'");
        vec!["/bin/sh".to_owned(), "-c".to_owned(), script]
    } else {
        vec![format!("{staged}/preinst"), "install".to_owned()]
    };
    let command = std::iter::once("env".to_owned()).chain(variables).chain(words);
    // Some packages fetch what they may not contain.
    let label = format!("the preinst script of `{package}`");
    Some(Step::new(label, Run::Command(command.collect())).with_network())
}

/// Configures packages in this order; all that wait for it when there are none.
pub(super) fn configure(packages: &[String]) -> Step {
    // The essential packages depend on each other in circles.
    let mut words = ["dpkg", "--force-depends", "--configure"].map(str::to_owned).to_vec();
    if packages.is_empty() {
        words = ["dpkg", "--configure", "--pending"].map(str::to_owned).to_vec();
    }
    words.extend_from_slice(packages);
    Step::new("configuring the packages", Run::Command(words)).with_network()
}

const CURRENT: &str = "/var/lib/dpkg/tmp.ci";

#[cfg(test)]
mod tests {
    use super::*;

    fn control(files: &[(&str, &str)]) -> Control {
        let fields = b"Package: x\nVersion: 1\nArchitecture: all\n".to_vec();
        let mut all = vec![("control".to_owned(), fields)];
        all.extend(files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())));
        Control::parse(all).unwrap()
    }

    fn words_of(script: &str) -> String {
        let step = preinst(&control(&[("preinst", script), ("templates", "")])).unwrap();
        let Run::Command(words) = step.run else { panic!() };
        words.join(" ")
    }

    #[test]
    fn a_preinst_script_that_asks_questions_runs_from_where_debconf_looks() {
        let asks = words_of("#!/bin/sh\n. /usr/share/debconf/confmodule\n");
        assert!(asks.contains("DPKG_MAINTSCRIPT_PACKAGE=x ") && asks.contains("/var/lib/dpkg/tmp.ci/preinst install"));
        assert!(words_of("#!/bin/sh\n").ends_with(" /var/lib/dpkg/tmp.staged/x/preinst install"));
    }

    #[test]
    fn a_package_without_a_preinst_script_runs_nothing() {
        assert_eq!(preinst(&control(&[("postinst", "")])), None);
    }

    #[test]
    fn scripts_see_nothing_of_the_environment_of_the_builder() {
        let session = session(Path::new("/r"), Timestamp::from_unix(7), Vec::new());
        assert_eq!(session.environment["SOURCE_DATE_EPOCH"], "7");
        assert!(!session.environment.contains_key("TMPDIR"));
    }
}
