//! Making the first tree with the builder's own bootstrap.

use std::io;
use std::path::{Path, PathBuf};

use super::unpack::{Unpack, Unpacked};
use crate::bootstrap::{self, Bootstrap, BootstrapError, Prepared};
use crate::build::inventory::{Inventory, key};
use crate::plan::source::Debootstrap;

/// Lets apt verify the lists and choose the packages of `source`.
pub(crate) fn prepare<'a>(unpack: &Unpack<'a>, source: &Debootstrap) -> Result<Prepared<'a>, BootstrapError> {
    let request = Bootstrap {
        suite: source.suite.clone(),
        arch: source.arch,
        variant: source.variant,
        components: source.components.clone(),
        include: source.include.clone(),
        mirrors: source.mirror.iter().cloned().collect(),
        unverified: source.unverified,
        expired: unpack.expired,
        keyrings: keyrings(unpack.work, source)?,
        cache: unpack.cache.map_or_else(|| unpack.work.join("bootstrap"), |cache| cache.root().to_owned()),
        lists: true,
        now: unpack.now,
    };
    bootstrap::prepare(request, unpack.around)
}

/// Installs them as the new directory `tree`. apt's lists are in the tree afterwards, where mmdebstrap leaves them too.
pub(crate) fn install(prepared: &Prepared<'_>, source: &Debootstrap, tree: &Path) -> Result<Unpacked, BootstrapError> {
    fs_err::create_dir(tree)?;
    let summary = prepared.install(tree)?;
    let listed = summary.packages.iter().map(|one| (key(&one.name, &one.version, &one.arch), one.sha256));
    let repositories = summary.repositories.iter().map(|one| (one.title.clone(), one.sha256));
    let known = Inventory { listed: listed.collect(), repositories: repositories.collect(), ..Inventory::default() };
    Ok(Unpacked { from: format!("bootstrap {}", source.suite), known })
}

/// The certificates to trust: the spec's, or else the host's own and those of the distribution, as with mmdebstrap.
fn keyrings(work: &Path, source: &Debootstrap) -> io::Result<Vec<PathBuf>> {
    let mut keyrings = Vec::new();
    for (index, key) in source.keys.iter().enumerate() {
        let path = work.join(format!("key-{index}.asc"));
        fs_err::write(&path, key)?;
        keyrings.push(path);
    }
    if keyrings.is_empty() {
        keyrings.push(Path::new(KEYRINGS).join(format!("{}-archive-keyring.gpg", source.distribution)));
        if let Ok(entries) = fs_err::read_dir(TRUSTED) {
            let mut paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
            paths.retain(|path| path.extension().is_some_and(|extension| extension == "gpg" || extension == "asc"));
            paths.sort();
            keyrings.extend(paths);
        }
        keyrings.retain(|path| path.is_file());
    }
    Ok(keyrings)
}

const KEYRINGS: &str = "/usr/share/keyrings";
const TRUSTED: &str = "/etc/apt/trusted.gpg.d";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::unpack::tests::source;

    #[test]
    fn the_keys_of_a_spec_are_trusted_and_no_others() {
        let work = tempfile::tempdir().unwrap();
        let keys = vec!["one".to_owned(), "two".to_owned()];
        let paths = keyrings(work.path(), &Debootstrap { keys, ..source() }).unwrap();
        let contents: Vec<_> = paths.iter().map(|path| fs_err::read_to_string(path).unwrap()).collect();
        assert_eq!(contents, ["one", "two"]);
    }

    #[test]
    fn without_keys_only_files_of_the_host_are_trusted() {
        let work = tempfile::tempdir().unwrap();
        let paths = keyrings(work.path(), &source()).unwrap();
        assert!(paths.iter().all(|path| path.starts_with(KEYRINGS) || path.starts_with(TRUSTED)), "{paths:?}");
    }
}
