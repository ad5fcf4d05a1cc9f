//! Where packages come from.

use super::apt::printed;
use super::{Bootstrap, BootstrapError};
use crate::sandbox::Surroundings;

/// The lines of `sources.list`, for apt and for the tree. Without a mirror mmdebstrap is asked which it would use, so
/// that both agree, with its updates and security repositories.
pub(super) fn lines(request: &Bootstrap, around: Surroundings<'_>) -> Result<String, BootstrapError> {
    if request.mirrors.is_empty() {
        return ask(request, around);
    }
    let components = components(request).join(" ");
    let trusted = if request.unverified { "[trusted=yes] " } else { "" };
    let lines = request.mirrors.iter().map(|mirror| match mirror.split_whitespace().next() {
        Some("deb" | "deb-src" | "#") => format!("{mirror}\n"),
        _ => format!("deb {trusted}{mirror} {} {components}\n", request.suite),
    });
    Ok(lines.collect())
}

fn components(request: &Bootstrap) -> Vec<String> {
    if request.components.is_empty() { vec!["main".to_owned()] } else { request.components.clone() }
}

fn ask(request: &Bootstrap, around: Surroundings<'_>) -> Result<String, BootstrapError> {
    let no_mirror = || BootstrapError::NoMirror { suite: request.suite.clone() };
    if request.unverified {
        return Err(no_mirror());
    }
    fs_err::create_dir_all(&request.cache)?;
    let scratch = tempfile::tempdir_in(&request.cache)?;
    let found = scratch.path().join("sources.list");
    let words = [
        "env".to_owned(),
        format!("FOUND={}", found.display()),
        "mmdebstrap".to_owned(),
        "--mode=root".to_owned(),
        "--variant=custom".to_owned(),
        "--format=null".to_owned(),
        // Nothing is run in the tree, so no emulator is looked for. Where the request names the certificates, the lines
        // must not name others.
        format!(
            "--skip=update,cleanup,chroot/mount,check/qemu{}",
            if request.keyrings.is_empty() { "" } else { ",check/signed-by" }
        ),
        "--setup-hook=cat \"$1/etc/apt/sources.list\" >\"$FOUND\"".to_owned(),
        format!("--components={}", components(request).join(",")),
        format!("--architectures={}", request.arch),
        request.suite.clone(),
    ];
    let printed = printed(&scratch.path().join("printed"), "asking for a mirror", &words, None, around);
    printed.map_err(|_| no_mirror())?;
    let lines = fs_err::read_to_string(found)?;
    if lines.lines().any(|line| line.starts_with("deb ")) { Ok(lines) } else { Err(no_mirror()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap::tests::request;
    use crate::sandbox::StepLimits;

    fn lines_of(request: &Bootstrap) -> String {
        let log = tempfile::tempfile().unwrap();
        let limits = StepLimits::default();
        lines(request, Surroundings { log: &log, deadline: None, limits, network: false }).unwrap()
    }

    #[test]
    fn an_address_becomes_a_line_and_a_line_stays_one() {
        let mirrors = vec!["http://one.example/d".to_owned(), "deb http://two.example sid main".to_owned()];
        let request = Bootstrap { mirrors, components: vec!["main".into(), "contrib".into()], ..request() };
        let expected = "deb http://one.example/d bookworm main contrib\ndeb http://two.example sid main\n";
        assert_eq!(lines_of(&request), expected);
    }

    #[test]
    fn only_an_unverified_bootstrap_trusts_what_nobody_signed() {
        let signed = Bootstrap { mirrors: vec!["http://one.example/d".to_owned()], ..request() };
        assert!(!lines_of(&signed).contains("trusted"));
        assert!(lines_of(&Bootstrap { unverified: true, ..signed }).starts_with("deb [trusted=yes] "));
    }
}
