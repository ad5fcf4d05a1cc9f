//! Trees that somebody else made: archives of root file systems, found, verified and unpacked.
//!
//! ```text
//! locate    one module per downloader: which archives make the tree, and who vouches for them
//! gather    what the spec demands of them, and what their publisher says: checksums, signatures
//! obtain    the bytes, from the cache or the web, checked against that
//! unpack    through the one unpacker for foreign archives
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | `alpine` … `voidlinux` | where each distribution publishes what |
//! | `artifact` | one archive, before it is fetched |
//! | `trust` | what has to vouch for it, and what does |
//! | `web` | pages, documents and files by address |
//! | `store` | what was downloaded |
//! | `stream` | the tar archive inside of whatever it is wrapped in |
//! | `place`, `oci` | where it goes |

mod alpine;
mod alt;
mod archlinux;
mod artifact;
mod error;
mod fedora;
mod gentoo;
mod oci;
mod opensuse;
mod place;
mod rootfs;
mod store;
mod stream;
mod trust;
mod ubuntu;
mod version;
mod voidlinux;
mod web;

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use formats::arch::Arch;
use formats::time::Timestamp;
use terminal::Printer;

use self::artifact::Artifact;
use self::place::Destination;
use self::store::{Found, Store};
use self::trust::Evidence;
use self::web::Web;
use crate::plan::PlanError;
use crate::sandbox::{Run, Step, Surroundings};
use crate::spec::Spec;
use crate::spec::template::Templates;

pub(crate) use self::error::{NOTHING_VOUCHES, SourceError};
pub(crate) use self::trust::Trust;

/// What is downloaded, and what has to vouch for it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Download {
    /// Whose it is.
    pub(crate) site: Site,
    /// Which of theirs.
    pub(crate) wanted: Wanted,
    /// What has to vouch for it.
    pub(crate) trust: Trust,
}

/// Who publishes, by the name of the downloader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Site {
    Alpine,
    Alt,
    ArchLinux,
    Fedora,
    Gentoo,
    OpenSuse,
    /// Whoever has an archive.
    Rootfs,
    Ubuntu,
    VoidLinux,
}

impl Site {
    /// The site of a downloader that is built.
    pub(crate) fn named(downloader: &str) -> Option<Self> {
        let (_, site) = SITES.iter().find(|(name, _)| *name == downloader)?;
        Some(*site)
    }

    fn locate(self, wanted: &Wanted, web: &Web) -> Result<Vec<Artifact>, SourceError> {
        match self {
            Self::Alpine => alpine::locate(wanted, web),
            Self::Alt => Ok(alt::locate(wanted)),
            Self::ArchLinux => archlinux::locate(wanted, web),
            Self::Fedora => fedora::locate(wanted, web),
            Self::Gentoo => gentoo::locate(wanted, web),
            Self::OpenSuse => opensuse::locate(wanted, web),
            Self::Rootfs => Ok(rootfs::locate(wanted)),
            Self::Ubuntu => ubuntu::locate(wanted, web),
            Self::VoidLinux => voidlinux::locate(wanted, web),
        }
    }
}

/// Which archive is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Where the publisher's tree begins; no slash at its end.
    pub(crate) url: String,
    /// The release, as the spec spells it; empty for the latest.
    pub(crate) release: String,
    /// The release to begin with, where the wanted one cannot be downloaded.
    pub(crate) same_as: String,
    /// The distribution's word for the architecture.
    pub(crate) mapped: String,
    pub(crate) arch: Arch,
    /// The publisher's variant, `source.variant`.
    pub(crate) variant: String,
}

impl Download {
    /// What the spec says, for a downloader of `site`.
    pub(crate) fn of(site: Site, spec: &Spec, templates: &Templates, url: &str) -> Result<Self, PlanError> {
        let image = &spec.definition.image;
        let source = &spec.definition.source;
        let mut url = url.trim_end_matches('/').to_owned();
        if url.is_empty() && site == Site::OpenSuse {
            opensuse::DEFAULT_URL.clone_into(&mut url);
        }
        let schemes: &[&str] =
            if site == Site::Rootfs { &["https://", "http://", "file://"] } else { &["https://", "http://"] };
        if !schemes.iter().any(|scheme| url.starts_with(scheme)) {
            let expected = schemes.iter().map(|scheme| format!("`{scheme}`")).collect::<Vec<_>>().join(" or ");
            let problem = format!("expected `url` to begin with {expected}, found `{url}`");
            return Err(PlanError::Entry { place: "`source`".to_owned(), problem });
        }
        let wanted = Wanted {
            url,
            release: image.release.to_string(),
            same_as: source.same_as.to_string(),
            mapped: image.architecture_mapped.to_string(),
            arch: spec.image.arch,
            variant: source.variant.to_string(),
        };
        if site == Site::Ubuntu && image.variant == "core" {
            return Err(PlanError::unsupported("image.variant", "Ubuntu Core, which is the disk of a virtual machine"));
        }
        let trust = Trust::of(source, templates)?;
        let publishes_none = [Site::Rootfs, Site::Fedora].contains(&site) && wanted.url.starts_with("https://");
        if trust.is_absent() && (publishes_none || wanted.url.starts_with("http://")) {
            return Err(PlanError::NothingVouches { url: wanted.url });
        }
        Ok(Self { site, wanted, trust })
    }

    /// What runs in the fresh tree before anything else.
    pub(crate) fn first_steps(&self) -> Vec<Step> {
        match self.site {
            Site::Alpine => alpine::first_steps(&self.wanted),
            _ => Vec::new(),
        }
    }

    /// Finds the archives and checks what vouches for them. Downloads are kept in `cache`, if there is one, and are else
    /// gone with `work`.
    pub(crate) fn obtain(
        &self,
        work: &Path,
        cache: Option<&Path>,
        printer: &Printer,
        around: Surroundings<'_>,
    ) -> Result<Downloaded, SourceError> {
        let web = Web::new(around, cache.map(store::directory))?;
        // Signatures are judged by the clock, whatever time the build pretends to be made at.
        let now = Timestamp::from(std::time::SystemTime::now());
        let store = Store::open(cache, work)?;
        let mut archives = Vec::new();
        for artifact in self.site.locate(&self.wanted, &web)? {
            let evidence = Evidence::gather(&artifact, &self.trust, &web, now)?;
            evidence.announce(&artifact, printer);
            let found = store.obtain(&artifact, &evidence, &self.trust, &web, now, printer)?;
            archives.push((artifact, found));
        }
        store.close()?;
        Ok(Downloaded { archives, site: self.site, arch: self.wanted.arch })
    }
}

/// Archives that were vouched for, open and not yet unpacked.
pub(crate) struct Downloaded {
    archives: Vec<(Artifact, Found)>,
    site: Site,
    arch: Arch,
}

impl Downloaded {
    /// Makes `tree` of them. They can be unpacked once.
    pub(crate) fn unpack(&self, work: &Path, tree: &Path, around: Surroundings<'_>) -> Result<(), SourceError> {
        let destination = Destination { work, tree, arch: self.arch, log: around.log };
        for (artifact, found) in &self.archives {
            destination.put(found.file.try_clone()?, artifact)?;
        }
        if self.site != Site::Rootfs {
            // Some publish a root directory that only root may enter.
            fs_err::set_permissions(tree, std::fs::Permissions::from_mode(0o755))?;
        }
        Ok(())
    }
}

impl fmt::Display for Downloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (artifact, found)) in self.archives.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{} {}", artifact.name(), found.sha256)?;
        }
        Ok(())
    }
}

impl fmt::Display for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Wanted { url, release, mapped, .. } = &self.wanted;
        match self.site {
            Site::Rootfs => write!(f, "unpack {url}"),
            _ if release.is_empty() => write!(f, "download the latest release ({mapped}) from {url}"),
            _ => write!(f, "download {release} ({mapped}) from {url}"),
        }
    }
}

impl Wanted {
    /// Whether the newest release is wanted, whichever that is.
    fn is_latest(&self) -> bool {
        ["", "current", "latest"].contains(&self.release.as_str())
    }
}

/// A command for the fresh tree.
fn command(label: &str, words: &[&str]) -> Step {
    Step::new(label, Run::Command(words.iter().map(|word| (*word).to_owned()).collect())).with_network()
}

const SITES: [(&str, Site); 9] = [
    ("alpinelinux-http", Site::Alpine),
    ("alt-http", Site::Alt),
    ("archlinux-http", Site::ArchLinux),
    ("fedora-http", Site::Fedora),
    ("gentoo-http", Site::Gentoo),
    ("opensuse-http", Site::OpenSuse),
    ("rootfs-http", Site::Rootfs),
    ("ubuntu-http", Site::Ubuntu),
    ("voidlinux-http", Site::VoidLinux),
];
