//! Making the first tree with debootstrap: for those who ask for it, and where mmdebstrap is missing.
//!
//! It knows one mirror and no updates. So what it made gets the lines of `sources.list` that apt was resolved with, and
//! fetches their lists, as the other ways do.

use std::path::{Path, PathBuf};

use formats::certificate::Certificate;
use formats::time::Timestamp;

use super::BuildError;
use super::tree::Tree;
use super::unpack::host_environment;
use crate::plan::files::Ownership;
use crate::plan::source::{Debootstrap, EXTRACT};
use crate::sandbox::{self, Run, Session, Step, Surroundings};

/// What the spec does not say.
pub(super) struct Settings<'a> {
    /// The lines that replace the tree's `sources.list`.
    pub(super) lines: Option<&'a str>,
    /// Accepts package lists whose validity is over.
    pub(super) expired: bool,
    /// The time of the build.
    pub(super) now: Timestamp,
}

/// Makes `tree`, which does not exist yet; what only debootstrap needs is in `work`.
pub(super) fn debootstrap(
    source: &Debootstrap,
    (work, tree): (&Path, &Path),
    settings: &Settings<'_>,
    around: Surroundings<'_>,
) -> Result<(), BuildError> {
    let Settings { lines, expired, now } = *settings;
    let keyring = keyring(source, work)?;
    let step = Step::new("debootstrap", Run::Command(command(source, tree, keyring.as_deref())?)).with_network();
    let session = Session { environment: host_environment(now), steps: vec![step], ..Session::default() };
    sandbox::run(&session, around)?;
    if let Some(lines) = lines {
        let owner = Ownership { mode: Some(0o644), uid: Some(0), gid: Some(0) };
        Tree::open(tree)?.write("/etc/apt/sources.list", lines.as_bytes(), owner)?;
    }
    let validity = format!("Acquire::Check-Valid-Until={}", if expired { "false" } else { "true" });
    let words = ["apt-get", "-y", "-o", "Acquire::Languages=none", "-o", &validity, "update"].map(str::to_owned);
    let step = Step::new("fetching the package lists", Run::Command(words.to_vec())).with_network();
    let environment = host_environment(now);
    let session = Session { root: Some(tree.to_owned()), environment, steps: vec![step], ..Session::default() };
    Ok(sandbox::run(&session, around)?)
}

/// The spec's certificates as gpgv reads them, which knows no armor; nothing when it has none.
fn keyring(source: &Debootstrap, work: &Path) -> Result<Option<PathBuf>, BuildError> {
    if source.keys.is_empty() {
        return Ok(None);
    }
    let mut keyring = Vec::new();
    for key in &source.keys {
        for certificate in Certificate::all_from_bytes(key.as_bytes())? {
            keyring.extend(certificate.to_binary()?);
        }
    }
    let path = work.join("keys.gpg");
    fs_err::write(&path, keyring)?;
    Ok(Some(path))
}

/// debootstrap's words, in distrobuilder's order (`sources/debootstrap.go`).
fn command(source: &Debootstrap, tree: &Path, keyring: Option<&Path>) -> Result<Vec<String>, BuildError> {
    if source.extracted {
        return Err(BuildError::Variant { variant: EXTRACT });
    }
    let mut command = vec!["debootstrap".to_owned()];
    let variant = source.variant.name();
    // Its own name is that of its default.
    command.extend((variant != "debootstrap").then(|| format!("--variant={variant}")));
    command.push(format!("--arch={}", source.arch));
    command.extend(source.unverified.then(|| "--no-check-gpg".to_owned()));
    for (option, list) in [("include", &source.include), ("components", &source.components)] {
        command.extend((!list.is_empty()).then(|| format!("--{option}={}", list.join(","))));
    }
    command.extend(keyring.map(|keyring| format!("--keyring={}", keyring.display())));
    command.extend([source.suite.clone(), tree.display().to_string()]);
    command.extend(source.mirror.clone());
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::unpack::tests::source;

    #[test]
    fn the_spec_reaches_the_command_line() {
        let given = Debootstrap { mirror: Some("http://mirror.example.org/d".into()), unverified: true, ..source() };
        let words = command(&given, Path::new("/w/root"), Some(Path::new("/w/keys.gpg"))).unwrap().join(" ");
        assert_eq!(
            words,
            "debootstrap --variant=minbase --arch=arm64 --no-check-gpg --include=gpg --components=main,contrib \
             --keyring=/w/keys.gpg bookworm /w/root http://mirror.example.org/d"
        );
        let plain = Debootstrap { variant: crate::bootstrap::Variant::Debootstrap, ..source() };
        let words = command(&plain, Path::new("/w/root"), None).unwrap().join(" ");
        assert!(words.starts_with("debootstrap --arch=arm64 --include=gpg ") && words.ends_with(" bookworm /w/root"));
    }

    #[test]
    fn a_tree_of_unpacked_packages_is_beyond_it() {
        let extracted = Debootstrap { extracted: true, ..source() };
        assert!(matches!(command(&extracted, Path::new("/r"), None), Err(BuildError::Variant { .. })));
    }
}
