//! Where the tree comes from.

use std::fmt;
use std::path::PathBuf;

use formats::arch::Arch;

use crate::bootstrap::Variant;
use crate::plan::{PlanError, packages};
use crate::sandbox::Step;
use crate::source::{Download, Site};
use crate::spec::Spec;
use crate::spec::template::Templates;

/// A downloader and what it needs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Source {
    /// Debian and its relatives, from their packages.
    Debootstrap(Debootstrap),
    /// An archive that somebody publishes.
    Download(Download),
    /// A tree on this machine, for which everything up to its packages has been done. It is not changed.
    Tree {
        /// Where it is.
        path: PathBuf,
    },
}

/// What to install, by the builder's own bootstrap or by mmdebstrap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Debootstrap {
    /// `debian`.
    pub(crate) distribution: String,
    /// `bookworm`.
    pub(crate) suite: String,
    /// The architecture of every package.
    pub(crate) arch: Arch,
    /// Which packages beyond the essential ones.
    pub(crate) variant: Variant,
    /// Only the packages in `include` and what they need, unpacked and not installed: no dpkg, and no essential package.
    pub(crate) extracted: bool,
    /// `main`.
    pub(crate) components: Vec<String>,
    /// Packages that are installed from the start.
    pub(crate) include: Vec<String>,
    /// The mirror; mmdebstrap chooses when there is none.
    pub(crate) mirror: Option<String>,
    /// Armored certificates that must have signed the repository, in place of the host's.
    pub(crate) keys: Vec<String>,
    /// Accepts a repository that nobody signed.
    pub(crate) unverified: bool,
}

impl Source {
    /// The source a spec names.
    pub(crate) fn of(spec: &Spec, templates: &Templates) -> Result<Self, PlanError> {
        let source = &spec.definition.source;
        let url = templates.render("source.url", &source.url)?;
        let downloader = source.downloader.as_str();
        if downloader == "debootstrap" {
            return Debootstrap::of(spec, templates, url).map(Self::Debootstrap);
        }
        let unknown = || PlanError::unsupported("source.downloader", format!("the downloader `{downloader}`"));
        let site = Site::named(downloader).ok_or_else(unknown)?;
        Download::of(site, spec, templates, &url).map(Self::Download)
    }

    /// What runs in the fresh tree before anything of the spec.
    pub(crate) fn first_steps(&self) -> Vec<Step> {
        match self {
            Self::Debootstrap(_) | Self::Tree { .. } => Vec::new(),
            Self::Download(download) => download.first_steps(),
        }
    }

    /// Whether the fresh tree has files of the machine that made it.
    pub(crate) fn copies_from_the_host(&self) -> bool {
        matches!(self, Self::Debootstrap(_))
    }

    /// Whether the package lists in the fresh tree are the newest there are.
    pub(crate) fn leaves_package_lists(&self) -> bool {
        matches!(self, Self::Debootstrap(_))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Debootstrap(one) => {
                let variant = if one.extracted { EXTRACT } else { one.variant.name() };
                write!(f, "bootstrap {} ({variant}, {})", one.suite, one.arch)?;
                one.mirror.iter().try_for_each(|mirror| write!(f, " from {mirror}"))
            }
            Self::Download(download) => download.fmt(f),
            Self::Tree { path } => write!(f, "tree {}", path.display()),
        }
    }
}

impl Debootstrap {
    fn of(spec: &Spec, templates: &Templates, url: String) -> Result<Self, PlanError> {
        let source = &spec.definition.source;
        let variant = VARIANTS.iter().find(|(name, _)| source.variant == *name).map(|(_, variant)| *variant);
        let mut keys = Vec::new();
        for (index, key) in source.keys.iter().enumerate() {
            let what = format!("source.keys.{index}");
            let key = templates.render(&what, key)?;
            if !key.contains("BEGIN PGP PUBLIC KEY BLOCK") {
                return Err(PlanError::unsupported(what, "a key by its fingerprint; give the armored certificate"));
            }
            keys.push(key);
        }
        if !source.keyserver.is_empty() {
            return Err(PlanError::unsupported("source.keyserver", "keys from a key server"));
        }
        let image = &spec.definition.image;
        Ok(Self {
            distribution: spec.image.distribution.to_string(),
            suite: if source.suite.is_empty() { image.release.to_string() } else { source.suite.to_string() },
            arch: spec.image.arch,
            variant: variant
                .ok_or_else(|| PlanError::unsupported("source.variant", format!("variant `{}`", source.variant)))?,
            extracted: source.variant == EXTRACT,
            components: source.components.iter().map(ToString::to_string).collect(),
            include: packages::early(spec)?,
            mirror: (!url.is_empty()).then_some(url),
            keys,
            unverified: source.skip_verification,
        })
    }
}

/// debootstrap's names. Without a variant it installs what is required or important.
const VARIANTS: [(&str, Variant); 5] = [
    ("", Variant::Debootstrap),
    ("-", Variant::Debootstrap),
    ("minbase", Variant::Minbase),
    ("buildd", Variant::Buildd),
    (EXTRACT, Variant::Minbase),
];

/// mmdebstrap's name for a tree of unpacked packages.
pub(crate) const EXTRACT: &str = "extract";
