//! What the key of each stage is made of, and what cannot have one.

use std::io;
use std::path::Path;

use formats::digest::Sha256;
use serde_json::{Value, json};

use super::digest;
use super::running::Running;
use super::tree::Tree;
use super::unpack::Resolved;
use crate::bootstrap::BootstrapError;
use crate::cache::stages::{Key, Snapshot};
use crate::plan::Install;
use crate::plan::files::{FileKind, FileStep};
use crate::plan::packages::Manager;
use crate::plan::source::Source;
use crate::sandbox::Step;

impl Running<'_> {
    /// The key of the first tree.
    pub(super) fn key_of_source(&self, resolved: &Resolved<'_>) -> Result<Option<Key>, super::BuildError> {
        let what = match (resolved, &self.plan.source) {
            // Lists that nobody signed may change while nothing says so.
            (Resolved::Packages(prepared), Source::Debootstrap(source)) if !source.unverified => {
                let repositories = prepared.repositories()?;
                let documents: Vec<_> = repositories.iter().map(|one| (&one.name, one.sha256)).collect();
                let packages = prepared.packages().map(|one| json!([one.name, one.version, one.arch, one.sha256]));
                json!([documents, packages.collect::<Vec<_>>(), prepared.lines(), format!("{:?}", self.options.engine)])
            }
            (Resolved::Archives(archives), _) => json!(archives.to_string()),
            (Resolved::Packages(_) | Resolved::Tree | Resolved::Unknown, _) => return Ok(None),
        };
        let source = format!("{:?}", self.plan.source);
        Ok(Some(Key::of(&("unpack", self.storage, self.epoch(), source, what))?))
    }

    /// The key of a stage that depends on nothing but `what` and on the stage before.
    pub(super) fn key_upon(&self, below: &Snapshot, what: &Value) -> io::Result<Option<Key>> {
        below.key.map(|below| Key::of(&(below, self.epoch(), what))).transpose()
    }

    /// What a stage of installing reads.
    pub(super) fn reads(&self, install: &Install) -> Value {
        let files = install.repositories.iter().map(|file| json!([file.path, file.content, file.appended]));
        json!([install.stage, files.collect::<Vec<_>>(), self.runs(&install.steps)])
    }

    /// What programs that run in the tree depend on.
    pub(super) fn runs(&self, steps: &[Step]) -> Value {
        json!([steps, self.plan.environment, self.plan.manager.is("apt")])
    }

    fn epoch(&self) -> Option<i64> {
        self.options.time_is_given.then(|| self.options.now.unix())
    }
}

/// What the entries of `files` read, with what they copy from this machine.
pub(super) fn files(steps: &[FileStep]) -> io::Result<Value> {
    let mut all = Vec::new();
    for step in steps {
        let copied = match &step.kind {
            FileKind::Copy { source } => Some(content(source)?),
            _ => None,
        };
        all.push(json!([format!("{step:?}"), copied]));
    }
    Ok(json!(all))
}

/// A digest of a file or a directory, with the modes.
fn content(path: &Path) -> io::Result<Sha256> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs_err::symlink_metadata(path)?;
    let what = if metadata.is_dir() {
        let mut names = fs_err::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
        names.sort();
        let each = names.iter().map(|name| Ok(json!([name.to_string_lossy(), content(&path.join(name))?])));
        json!(each.collect::<io::Result<Vec<_>>>()?)
    } else if metadata.is_symlink() {
        json!(fs_err::read_link(path)?.to_string_lossy())
    } else {
        json!(digest(path)?)
    };
    Ok(Sha256::of(json!([metadata.mode(), what]).to_string().as_bytes()))
}

/// A digest of the lists that a package manager has fetched, which decide what it installs; nothing where it keeps
/// none that the builder knows.
pub(super) fn lists(tree: &Tree, manager: &Manager) -> io::Result<Option<Sha256>> {
    let known = LISTS.iter().find(|(name, ..)| manager.is(name));
    let Some((_, directory, ending)) = known else { return Ok(None) };
    let mut found = Vec::new();
    let mut waiting = vec![(*directory).to_owned()];
    while let Some(directory) = waiting.pop() {
        for name in tree.names(&directory)? {
            let path = format!("{directory}/{}", name.display());
            if path.ends_with(ending) {
                let content = tree.read(&path)?.unwrap_or_default();
                found.push(json!([path, Sha256::of(&content)]));
            } else {
                waiting.push(path);
            }
        }
    }
    found.sort_by_key(ToString::to_string);
    Ok((!found.is_empty()).then(|| Sha256::of(json!(found).to_string().as_bytes())))
}

/// Where package managers keep what names everything that they could install: a signed document, or the whole list.
const LISTS: &[(&str, &str, &str)] = &[
    ("apt", "/var/lib/apt/lists", "Release"),
    ("dnf", "/var/cache/dnf", "/repomd.xml"),
    ("yum", "/var/cache/dnf", "/repomd.xml"),
    ("zypper", "/var/cache/zypp/raw", "/repomd.xml"),
    ("pacman", "/var/lib/pacman/sync", ".db"),
];

impl From<BootstrapError> for super::BuildError {
    fn from(error: BootstrapError) -> Self {
        match error {
            BootstrapError::Sandbox(error) => Self::Sandbox(error),
            BootstrapError::Io(error) => Self::Io(error),
            error => Self::Bootstrap(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::files::Ownership;
    use crate::plan::managers::Tool;

    #[test]
    fn lists_are_the_same_as_long_as_no_document_in_them_changes() {
        let directory = tempfile::tempdir().unwrap();
        let tree = Tree::open(directory.path()).unwrap();
        let apt = Manager::Known(Tool::named("apt").unwrap());
        assert_eq!(lists(&tree, &apt).unwrap(), None);
        let write = |path: &str, text: &str| tree.write(path, text.as_bytes(), Ownership::default()).unwrap();
        write("/var/lib/apt/lists/a_InRelease", "one");
        write("/var/lib/apt/lists/partial/b_InRelease", "two");
        let before = lists(&tree, &apt).unwrap();
        write("/var/lib/apt/lists/lock", "");
        assert_eq!(lists(&tree, &apt).unwrap(), before);
        write("/var/lib/apt/lists/a_InRelease", "two");
        assert_ne!(lists(&tree, &apt).unwrap(), before);
        assert_eq!(lists(&tree, &Manager::Known(Tool::named("apk").unwrap())).unwrap(), None);
    }

    #[test]
    fn a_copied_directory_is_known_by_all_that_is_in_it() {
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("source");
        std::fs::create_dir_all(source.join("sub")).unwrap();
        std::fs::write(source.join("sub/file"), "one").unwrap();
        let step = FileStep {
            place: "files[0]".into(),
            path: "/opt".into(),
            kind: FileKind::Copy { source: source.clone() },
            owner: Ownership::default(),
            when: Vec::new(),
            properties: std::collections::BTreeMap::new(),
        };
        let before = files(std::slice::from_ref(&step)).unwrap();
        assert_eq!(files(std::slice::from_ref(&step)).unwrap(), before);
        std::fs::write(source.join("sub/file"), "two").unwrap();
        assert_ne!(files(&[step]).unwrap(), before);
    }
}
