//! Debian and its relatives, from signed package lists to a configured tree, without mmdebstrap.
//!
//! apt decides, we carry. apt itself, under a configuration of its own, verifies the lists, chooses the packages and
//! the order; what it would then do with one dpkg after the other is done here at once:
//!
//! ```text
//! sources ─► apt: lists, choice, order ─► store: .deb files by digest, each decoded once
//!         ─► install: unpack in apt's order, write dpkg's database, preinst, `dpkg --configure`
//! ```
//!
//! | module | what it does |
//! |---|---|
//! | `sources` | where packages come from when nobody said |
//! | `apt` | runs apt under its own configuration |
//! | `resolution` | what apt chose |
//! | `store` | package files that earlier bootstraps fetched and decoded |
//! | `ar`, `package` | the format of a package file |
//! | `control`, `database`, `triggers` | dpkg's database |
//! | `install`, `scripts` | packages become part of the tree |
//! | `tree` | what is in the tree before the first package, and what goes after the last |
//!
//! The yardstick is mmdebstrap: the same packages give the same tree, apart from what `tests/bootstrap.rs` lists. What
//! cannot be done this way is [`BootstrapError::NotCarried`], and mmdebstrap's to do.

mod apt;
mod ar;
mod control;
mod database;
mod install;
mod package;
mod resolution;
mod scripts;
mod sources;
mod store;
mod tree;
mod triggers;

use std::io;
use std::path::{Path, PathBuf};

use formats::arch::Arch;
use formats::digest::Sha256;
use formats::time::Timestamp;
use terminal::{Advice, ExitStatus};

use crate::sandbox::{SandboxError, Surroundings};
use apt::Apt;
use resolution::Resolution;
use store::Store;
pub(crate) use tree::directory_in;

/// What to bootstrap.
#[derive(Clone, Debug)]
pub(crate) struct Bootstrap {
    /// `bookworm`.
    pub(crate) suite: String,
    /// The architecture of every package.
    pub(crate) arch: Arch,
    /// Which packages beyond the essential ones.
    pub(crate) variant: Variant,
    /// `main`.
    pub(crate) components: Vec<String>,
    /// Packages that are installed beside those of the variant.
    pub(crate) include: Vec<String>,
    /// Addresses of mirrors or whole `deb` lines; mmdebstrap's own choice when there are none.
    pub(crate) mirrors: Vec<String>,
    /// Accepts mirrors that nobody signed.
    pub(crate) unverified: bool,
    /// Accepts lists whose validity is over.
    pub(crate) expired: bool,
    /// Files with the certificates to trust; Debian's when there are none.
    pub(crate) keyrings: Vec<PathBuf>,
    /// What earlier bootstraps fetched, decoded and decided is kept here.
    pub(crate) cache: PathBuf,
    /// Leaves apt's lists in the tree, for an apt that goes on in there.
    pub(crate) lists: bool,
    /// The time that scripts are told (`SOURCE_DATE_EPOCH`).
    pub(crate) now: Timestamp,
}

/// Which packages beyond the essential ones, under mmdebstrap's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Variant {
    /// What is required.
    Minbase,
    /// What is required or important: debootstrap's default.
    Debootstrap,
    /// What is required, and `build-essential`.
    Buildd,
}

impl Variant {
    /// Its name on command lines.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Minbase => "minbase",
            Self::Debootstrap => "debootstrap",
            Self::Buildd => "buildd",
        }
    }
}

/// What was installed, and on whose word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BootstrapSummary {
    /// The packages, in the order they were unpacked.
    pub(crate) packages: Vec<InstalledPackage>,
    /// The signed documents that apt verified.
    pub(crate) repositories: Vec<Repository>,
}

/// A package of the new tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InstalledPackage {
    /// `libc6`.
    pub(crate) name: String,
    /// `2.36-9+deb12u9`.
    pub(crate) version: String,
    /// `amd64`, or `all`.
    pub(crate) arch: String,
    /// The digest of its file in the signed lists.
    pub(crate) sha256: Sha256,
}

/// A signed document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Repository {
    /// apt's name for it, made of its address.
    pub(crate) name: String,
    /// What it calls itself: `Debian bookworm-updates`.
    pub(crate) title: String,
    /// Its digest.
    pub(crate) sha256: Sha256,
}

/// What is decided before anything is installed: apt has verified the lists and chosen from them.
pub(crate) struct Prepared<'a> {
    request: Bootstrap,
    lines: String,
    apt: Apt<'a>,
    resolution: Resolution,
    around: Surroundings<'a>,
}

/// Fetches the lists that changed, and lets apt choose. Others who ask for the same wait until the answer is dropped.
pub(crate) fn prepare(request: Bootstrap, around: Surroundings<'_>) -> Result<Prepared<'_>, BootstrapError> {
    check(&request)?;
    let lines = sources::lines(&request, around)?;
    let apt = Apt::open(&request, &lines, around)?;
    apt.update()?;
    let resolution = Resolution::of(&request, &apt)?;
    Ok(Prepared { request, lines, apt, resolution, around })
}

impl Prepared<'_> {
    /// The lines of `sources.list`.
    pub(crate) fn lines(&self) -> &str {
        &self.lines
    }

    /// The signed documents that apt verified.
    pub(crate) fn repositories(&self) -> Result<Vec<Repository>, BootstrapError> {
        self.apt.repositories()
    }

    /// What will be installed, in the order it is unpacked.
    pub(crate) fn packages(&self) -> impl Iterator<Item = InstalledPackage> {
        self.resolution.packages().map(|package| InstalledPackage {
            name: package.name.clone(),
            version: package.version.clone(),
            arch: package.arch.clone(),
            sha256: package.sha256,
        })
    }

    /// What an apt sees that has these lines of `sources.list` too, or in place of the own ones, and trusts these
    /// certificates too.
    pub(crate) fn seen_with(
        &self,
        (lines, instead): (&str, bool),
        keyrings: &[PathBuf],
    ) -> Result<Seen<'_>, BootstrapError> {
        if lines.is_empty() && keyrings.is_empty() {
            return Ok(Seen { own: &self.apt, other: None });
        }
        let lines = if instead { lines.to_owned() } else { format!("{}{lines}", self.lines) };
        let mut keyrings: Vec<PathBuf> = self.request.keyrings.iter().chain(keyrings).cloned().collect();
        // A spec that brings the keys of its first repository relies on those in the image for the others.
        let usual = Path::new(apt::DEBIAN_KEYRING);
        if usual.exists() {
            keyrings.push(usual.to_owned());
        }
        let request = Bootstrap { keyrings, ..self.request.clone() };
        let apt = Apt::open(&request, &lines, self.around)?;
        apt.update()?;
        Ok(Seen { own: &self.apt, other: Some(apt) })
    }

    /// Installs it in the directory `root`, which must be empty. Needs root, also root of a user namespace that holds
    /// the ids of the packages.
    pub(crate) fn install(&self, root: &Path) -> Result<BootstrapSummary, BootstrapError> {
        let Self { request, resolution, around, .. } = self;
        let store = Store::open(&request.cache)?;
        let files = store.fetch(resolution, &self.apt)?;
        tree::prepare(root, resolution)?;
        install::install(resolution, &store, &files, &install::Target { root, around: *around, now: request.now })?;
        tree::finish(root, &self.lines, resolution)?;
        if request.lists {
            self.apt.copy_lists(root)?;
        }
        Ok(BootstrapSummary { packages: self.packages().collect(), repositories: self.repositories()? })
    }
}

/// What apt sees at this moment.
pub(crate) struct Seen<'a> {
    own: &'a Apt<'a>,
    other: Option<Apt<'a>>,
}

impl Seen<'_> {
    /// The signed documents that apt verified.
    pub(crate) fn repositories(&self) -> Result<Vec<Repository>, BootstrapError> {
        self.apt().repositories()
    }

    /// For each of these packages, the version that apt would install if it were asked for now, with the digest of its
    /// file.
    pub(crate) fn candidates(&self, names: &[String]) -> Result<Vec<InstalledPackage>, BootstrapError> {
        resolution::candidates(self.apt(), names)
    }

    fn apt(&self) -> &Apt<'_> {
        self.other.as_ref().unwrap_or(self.own)
    }
}

/// Refuses words that apt would not take as what they are.
fn check(request: &Bootstrap) -> Result<(), BootstrapError> {
    let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "._+-/".contains(c));
    let words = std::iter::once(&request.suite).chain(&request.components);
    if let Some(word) = words.into_iter().find(|word| word.is_empty() || !plain(word)) {
        return Err(BootstrapError::BadWord { word: word.clone() });
    }
    match request.include.iter().find(|word| word.starts_with('-') || word.is_empty() || word.contains('\n')) {
        Some(word) => Err(BootstrapError::BadWord { word: word.clone() }),
        None => Ok(()),
    }
}

/// Why a tree was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BootstrapError {
    #[error("`{word}` is neither a suite, a component nor a package")]
    BadWord { word: String },
    #[error("no mirror is known for `{suite}`")]
    NoMirror { suite: String },
    #[error("no mirror has essential packages of `{suite}` for {arch}")]
    NoPackages { suite: String, arch: Arch },
    #[error("package `{package}` cannot be installed without dpkg unpacking it: {reason}")]
    NotCarried { package: String, reason: String },
    #[error("what apt printed makes no sense: {problem}")]
    Apt { problem: String },
    #[error("package `{name}` is not the one in the signed package lists: expected sha256 {expected}, found {found}")]
    Altered { name: String, expected: Sha256, found: Sha256 },
    #[error("package `{name}` is damaged: {problem}")]
    Damaged { name: String, problem: String },
    #[error("package `{name}` cannot be unpacked")]
    Unpack { name: String, source: archive::unpack::UnpackError },
    #[error("{what} would have to be fetched, and `--offline` forbids it")]
    Offline { what: String },
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error("another build of the same packages is at work, and the time given with `--timeout` is over")]
    Waited,
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Advice for BootstrapError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoMirror { .. } => Some("give a mirror; without one mmdebstrap is asked for its own".to_owned()),
            Self::NotCarried { .. } => Some("mmdebstrap can install it".to_owned()),
            Self::Offline { .. } => Some("build once with the network and the same `--cache`".to_owned()),
            Self::BadWord { .. }
            | Self::NoPackages { .. }
            | Self::Apt { .. }
            | Self::Altered { .. }
            | Self::Damaged { .. }
            | Self::Unpack { .. }
            | Self::Sandbox(_)
            | Self::Waited
            | Self::Io(_) => None,
        }
    }

    fn exit_status(&self) -> ExitStatus {
        match self {
            Self::BadWord { .. }
            | Self::NoMirror { .. }
            | Self::NoPackages { .. }
            | Self::Waited
            | Self::Offline { .. }
            | Self::Altered { .. }
            | Self::Damaged { .. } => ExitStatus::Refused,
            Self::NotCarried { .. } | Self::Apt { .. } | Self::Unpack { .. } | Self::Sandbox(_) | Self::Io(_) => {
                ExitStatus::Failed
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request that no test carries out.
    pub(super) fn request() -> Bootstrap {
        Bootstrap {
            suite: "bookworm".into(),
            arch: Arch::Amd64,
            variant: Variant::Minbase,
            components: vec!["main".into()],
            include: Vec::new(),
            mirrors: Vec::new(),
            unverified: false,
            expired: false,
            keyrings: Vec::new(),
            cache: "/nonexistent".into(),
            lists: false,
            now: Timestamp::from_unix(0),
        }
    }

    #[test]
    fn words_that_apt_would_take_for_something_else_are_refused() {
        for suite in ["", "bookworm main", "x)", "a\nb", "*"] {
            assert!(check(&Bootstrap { suite: suite.into(), ..request() }).is_err(), "{suite:?}");
        }
        for package in ["", "-oDir=/", "a\nb"] {
            assert!(check(&Bootstrap { include: vec![package.into()], ..request() }).is_err(), "{package:?}");
        }
        assert!(check(&Bootstrap { include: vec!["g++".into(), "vim/bookworm".into()], ..request() }).is_ok());
    }
}
