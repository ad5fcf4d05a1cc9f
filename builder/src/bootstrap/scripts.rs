//! What runs inside the tree: the maintainer scripts, by way of dpkg wherever it calls them itself.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use formats::time::Timestamp;

use super::database::Control;
use crate::sandbox::{Run, Session, Step};

/// A session with these steps inside the tree.
pub(super) fn session(root: &Path, now: Timestamp, steps: Vec<Step>) -> Session {
    let fixed = [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("DEBIAN_FRONTEND", "noninteractive"),
        ("DEBCONF_NONINTERACTIVE_SEEN", "true"),
        ("HOME", "/root"),
        ("LC_ALL", "C.UTF-8"),
    ];
    let mut environment: BTreeMap<_, _> = fixed.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    environment.insert("SOURCE_DATE_EPOCH".to_owned(), now.unix().to_string());
    Session { root: Some(root.to_owned()), environment, files: BTreeMap::new(), steps }
}

/// Lays a package's control files out for [`preinst`]. Packages without such a script need no step.
pub(super) fn stage(root: &Path, control: &Control) -> io::Result<Option<Step>> {
    if control.file("preinst").is_none() {
        return Ok(None);
    }
    let name = control.database_name();
    let directory = root.join(STAGED.trim_start_matches('/')).join(&name);
    fs_err::create_dir_all(&directory)?;
    fs_err::write(directory.join("control"), control.stanza.with_status("install ok not-installed"))?;
    for (file, content) in &control.files {
        fs_err::write(directory.join(file), content)?;
        fs_err::set_permissions(directory.join(file), PermissionsExt::from_mode(0o755))?;
    }
    Ok(Some(preinst(control, &name)))
}

/// Runs the script that precedes the unpacking, from the directory where dpkg has it: debconf looks there for the
/// package it speaks for.
fn preinst(control: &Control, name: &str) -> Step {
    let package = control.stanza.get("Package").unwrap_or_default();
    let arch = control.stanza.get("Architecture").unwrap_or_default();
    let script = format!(
        "#!/bin/sh\nset -e\nexport DPKG_MAINTSCRIPT_PACKAGE='{package}' DPKG_MAINTSCRIPT_ARCH='{arch}'\n\
         export DPKG_MAINTSCRIPT_NAME=preinst DPKG_MAINTSCRIPT_DEBUG=0 DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT=1\n\
         export DPKG_ADMINDIR=/var/lib/dpkg DPKG_ROOT=\n\
         mv '{STAGED}/{name}' {CURRENT}\n{CURRENT}/preinst install\nrm -r {CURRENT}\n"
    );
    Step { label: format!("the preinst script of `{package}`"), run: Run::Script(script) }
}

/// Removes what [`stage`] laid out.
pub(super) fn unstage(root: &Path) -> io::Result<()> {
    match fs_err::remove_dir_all(root.join(STAGED.trim_start_matches('/'))) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Configures packages in this order; all that wait for it when there are none.
pub(super) fn configure(packages: &[String]) -> Step {
    // The essential packages depend on each other in circles.
    let mut words = ["dpkg", "--force-depends", "--configure"].map(str::to_owned).to_vec();
    if packages.is_empty() {
        words = ["dpkg", "--configure", "--pending"].map(str::to_owned).to_vec();
    }
    words.extend_from_slice(packages);
    Step { label: "configuring the packages".to_owned(), run: Run::Command(words) }
}

const STAGED: &str = "/var/lib/dpkg/tmp.staged";
const CURRENT: &str = "/var/lib/dpkg/tmp.ci";

#[cfg(test)]
mod tests {
    use super::*;

    fn control(files: &[&str]) -> Control {
        let fields = b"Package: x\nVersion: 1\nArchitecture: all\n".to_vec();
        let mut all = vec![("control".to_owned(), fields)];
        all.extend(files.iter().map(|name| ((*name).to_owned(), b"#!/bin/sh\n".to_vec())));
        Control::parse(all).unwrap()
    }

    #[test]
    fn a_preinst_script_runs_from_where_dpkg_has_it() {
        let root = tempfile::tempdir().unwrap();
        let step = stage(root.path(), &control(&["preinst", "templates"])).unwrap().unwrap();
        let Run::Script(text) = step.run else { panic!() };
        assert!(text.contains("/var/lib/dpkg/tmp.ci/preinst install"), "{text}");
        assert!(root.path().join("var/lib/dpkg/tmp.staged/x/templates").exists());
        unstage(root.path()).unwrap();
        unstage(root.path()).unwrap();
        assert!(!root.path().join("var/lib/dpkg/tmp.staged").exists());
    }

    #[test]
    fn a_package_without_a_preinst_script_runs_nothing() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(stage(root.path(), &control(&["postinst"])).unwrap(), None);
    }

    #[test]
    fn scripts_see_nothing_of_the_environment_of_the_builder() {
        let session = session(Path::new("/r"), Timestamp::from_unix(7), Vec::new());
        assert_eq!(session.environment["SOURCE_DATE_EPOCH"], "7");
        assert!(!session.environment.contains_key("TMPDIR"));
    }
}
