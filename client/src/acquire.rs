//! From what a person asks for to two verified files.

mod arriving;
mod bounded;
mod cached;
mod changes;
mod download;
mod error;
mod patch;
mod rootfs;
mod stock;

use std::fs::File;
use std::path::Path;

use formats::compat::{CompatLevel, Mode};
use formats::image::{ImageId, ImageQuery};
use formats::index::{BuildName, Index};
use formats::layout;
use formats::metadata::LxcMetadata;
use formats::time::{Span, Timestamp};
use formats::verified::PastValidity;
use transfer::{Sink, TransferError};

use crate::cache::{Cache, CachedBuild, CurrentBuild, Entry};
use crate::catalog::{Build, Catalog, IndexListing, Pattern, Shown, Viewer};
use crate::files::{Lock, Owner};
use crate::narrator::{CHECKS, Narrator, Step};
use crate::remote::Trust;
use crate::repository::{Repository, RepositoryError};
use crate::state::RemoteState;

use cached::Cached;
pub use error::AcquireError;
pub use patch::patched;
pub use rootfs::{ReadError, Rootfs};

/// An image that is ready to become a container: its metadata was checked, and its root file system will be while it is
/// read.
#[derive(Debug)]
pub struct Acquired<'a> {
    /// What it consists of.
    pub build: CachedBuild,
    /// The root file system.
    pub rootfs: Rootfs<'a>,
    /// What it says about itself.
    pub metadata: LxcMetadata,
}

/// The files of a cached build.
struct Opened {
    build: CachedBuild,
    rootfs: OpenedRootfs,
    metadata: LxcMetadata,
}

/// In which form a root file system is there.
enum OpenedRootfs {
    /// The caller has its tree.
    Tree,
    /// The tar archive.
    Decoded(File),
    /// As it was downloaded.
    Compressed(File),
}

/// Which builds the caller has the trees of: of these, no archive is read.
pub type HasTree<'a> = &'a dyn Fn(&CachedBuild) -> bool;

/// How the cache is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// A cached build is used while it is fresh; then the server is asked whether there is a newer one.
    Fresh,
    /// The server is asked whether there is a newer build.
    Refresh,
    /// What is cached is forgotten first.
    Flush,
    /// What is cached is used however old it is; the server is asked only when nothing is.
    Force,
    /// What is cached is used however old it is, and the server is never asked.
    Offline,
}

/// Everything that decides where an image comes from.
#[derive(Debug)]
pub struct Source<'a> {
    /// The server.
    pub repository: &'a Repository,
    /// The state directory.
    pub state: &'a Path,
    /// The cache.
    pub cache: &'a Cache,
    /// LXC's own cache, where the stock template may have left what can be used.
    pub stock_cache: Option<&'a Path>,
    /// Who new files in the state directory belong to.
    pub owner: Owner,
    /// Whether the container is the host's or a user's.
    pub mode: Mode,
    /// What to do with an index past its validity.
    pub past_validity: PastValidity,
    /// The clock.
    pub now: Timestamp,
    /// Who is told.
    pub narrator: &'a Narrator,
}

impl Source<'_> {
    /// Gets an image: from the cache where the policy allows, else from the server by way of the cache.
    ///
    /// The offline policy: a build that was verified when it was fetched stays usable, however old, and its age is
    /// stated; nothing is taken on trust, as its files are checked against their digests once more.
    pub fn acquire(&self, query: &ImageQuery, policy: Policy) -> Result<Acquired<'_>, AcquireError> {
        self.acquire_unless(query, policy, &|_| false)
    }

    /// The same for who may have the tree of a build already.
    pub fn acquire_unless(
        &self,
        query: &ImageQuery,
        policy: Policy,
        has_tree: HasTree<'_>,
    ) -> Result<Acquired<'_>, AcquireError> {
        let entries = self.cache.entries_of(self.repository.origin())?;
        let cached = Cached::find(&entries, query);
        if let (Some(cached), Policy::Flush) = (&cached, policy) {
            self.narrator.tell(Step::Flushing);
            let _lock = self.lock(cached.entry)?;
            cached.entry.flush()?;
        }
        if let Some(cached) = &cached
            && let Some(acquired) = self.without_server(cached, policy, has_tree)?
        {
            return Ok(acquired);
        }
        if policy == Policy::Offline {
            return Err(AcquireError::NotCached {
                query: query.clone(),
                server: self.repository.origin().url.to_string(),
                // What was found and is damaged is no advice.
                near: if cached.is_some() { Vec::new() } else { cached::near(&entries, query) },
            });
        }
        self.narrator.tell(Step::Index);
        let catalog = self.catalog(query.name().split('/').next())?;
        let build = catalog.find(query)?;
        let entry = self.entry(&build.image);
        let lock = self.lock(&entry)?;
        let acquired = match self.open(&entry, &build.name, has_tree)? {
            Some(files) => {
                self.narrator.tell(Step::UpToDate);
                self.narrator.tell(Step::Cached);
                if query.build.is_none() {
                    entry.set_current(&self.fresh(build, &files.metadata))?;
                }
                self.acquired(files, entry, Some(lock))?
            }
            None => self.fetch(build, query.build.is_some(), entry, lock)?,
        };
        self.cache.adopt()?;
        Ok(acquired)
    }

    /// Shows the images of the server, as [`catalog`](Self::catalog) has them.
    pub fn show(&self, pattern: Option<&Pattern>, viewer: &mut dyn Viewer) -> Result<Shown, AcquireError> {
        if self.repository.origin().trust != Trust::Tls {
            return Ok(self.catalog(None)?.show(pattern, viewer));
        }
        let mut listing = IndexListing::new(pattern, viewer);
        self.classic_document(&mut listing)?;
        Ok(listing.finish())
    }

    /// The images of the server, checked as far as its trust goes.
    pub fn catalog(&self, distribution: Option<&str>) -> Result<Catalog, AcquireError> {
        if self.repository.origin().trust == Trust::Tls {
            return Ok(Catalog::of_index(self.classic_index(distribution)?));
        }
        let state =
            RemoteState::open(self.state, self.repository.origin(), self.owner).map_err(RepositoryError::from)?;
        let waiting = || self.narrator.waiting(CHECKS);
        let index = self.repository.index(&state, self.now, self.past_validity, waiting)?;
        if self.now > index.expires {
            self.narrator.printer().warn(format_args!(
                "the index of `{}` expired on {}; using it because of `--accept-expired-index`",
                self.repository.origin().url,
                index.expires
            ));
        }
        Ok(self.repository.catalog(&index, distribution)?)
    }

    /// The classic index for the newest compat level, or the one without a level where a server has no other. Only
    /// its absence leads to the older one: a failure must not.
    fn classic_document(&self, sink: &mut dyn Sink) -> Result<(), AcquireError> {
        let url = &self.repository.origin().url;
        if !url.is_https() {
            return Err(RepositoryError::NothingVouches { url: url.to_string() }.into());
        }
        let mut fetch = |level| {
            let path = layout::index(self.mode, level);
            self.repository.document_into(&path, self.repository.document_limit(), sink)
        };
        let outcome = match fetch(Some(CompatLevel::NEWEST)) {
            Err(TransferError::NotFound { .. }) => fetch(None),
            other => other,
        };
        Ok(outcome.map_err(RepositoryError::from)?)
    }

    /// The classic index, or no more than the lines of a distribution if it has any.
    fn classic_index(&self, distribution: Option<&str>) -> Result<Index, AcquireError> {
        let mut bytes = Vec::new();
        self.classic_document(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        if let Some(distribution) = distribution {
            let index = Index::parse_distribution(&text, distribution);
            if !index.entries.is_empty() {
                return Ok(index);
            }
        }
        let (index, skipped) = Index::parse(&text);
        if skipped > 0 {
            tracing::warn!(skipped, "lines of the index that no template could use were left out");
        }
        Ok(index)
    }

    /// A cached build, if the policy allows its use without asking the server.
    fn without_server(
        &self,
        cached: &Cached<'_>,
        policy: Policy,
        has_tree: HasTree<'_>,
    ) -> Result<Option<Acquired<'_>>, AcquireError> {
        let Cached { entry, image, build, fresh_until } = cached;
        let is_fresh = fresh_until.is_none_or(|until| self.now <= until);
        match policy {
            Policy::Flush => return Ok(None),
            // There is no newer one of a build that was asked for by its name.
            Policy::Refresh if fresh_until.is_some() => return Ok(None),
            Policy::Fresh if !is_fresh => {
                self.narrator.tell(Step::Expired);
                return Ok(None);
            }
            Policy::Fresh | Policy::Refresh | Policy::Force | Policy::Offline => {}
        }
        let mut opened = self.open(entry, build, has_tree)?;
        let mut lock = None;
        if matches!(&opened, Some(Opened { rootfs: OpenedRootfs::Compressed(_), .. })) {
            // Perhaps somebody is decoding it right now.
            lock = Some(self.lock(entry)?);
            opened = self.open(entry, build, has_tree)?;
        }
        let Some(opened) = opened else { return Ok(None) };
        let acquired = self.acquired(opened, self.entry(image), lock)?;
        if let Some(until) = fresh_until
            && policy == Policy::Offline
            && !is_fresh
        {
            self.narrator.printer().warn(format_args!(
                "the cached build `{}` of `{image}` should have been refreshed by {until}; using it because of `--offline`",
                build.as_str(),
            ));
        }
        self.narrator.tell(Step::Cached);
        Ok(Some(acquired))
    }

    /// Opens a cached build, if all of it is there and undamaged.
    fn open(&self, entry: &Entry, name: &BuildName, has_tree: HasTree<'_>) -> Result<Option<Opened>, AcquireError> {
        let Some(build) = entry.build(name) else { return Ok(None) };
        let Some(metadata) = self.cache.blob(&build.metadata)? else { return Ok(None) };
        let rootfs = if has_tree(&build) { Some(OpenedRootfs::Tree) } else { self.open_rootfs(&build)? };
        let Some(rootfs) = rootfs else { return Ok(None) };
        Ok(Some(Opened { metadata: download::read_metadata(&build.image, metadata)?, build, rootfs }))
    }

    fn open_rootfs(&self, build: &CachedBuild) -> Result<Option<OpenedRootfs>, AcquireError> {
        if let Some(tar) = &build.tar
            && let Some(tar) = self.cache.blob(tar)?
        {
            return Ok(Some(OpenedRootfs::Decoded(tar)));
        }
        Ok(self.cache.blob(&build.rootfs)?.map(OpenedRootfs::Compressed))
    }

    fn acquired(&self, opened: Opened, entry: Entry, lock: Option<Lock>) -> Result<Acquired<'_>, AcquireError> {
        let Opened { build, rootfs, metadata } = opened;
        let rootfs = match rootfs {
            OpenedRootfs::Tree => Rootfs::tree(),
            OpenedRootfs::Decoded(tar) => Rootfs::decoded(tar, self.narrator),
            OpenedRootfs::Compressed(xz) => {
                let lock = lock.map_or_else(|| self.lock(&entry), Ok)?;
                Rootfs::compressed(xz, self.keeper(entry, build.clone(), None, lock), self.narrator)
            }
        };
        Ok(Acquired { build, rootfs, metadata })
    }

    /// Until when a build need not be looked up again: its own cache expiry while that is ahead, else a day. A
    /// builder that stopped would otherwise make every create ask again.
    fn fresh(&self, build: &Build, metadata: &LxcMetadata) -> CurrentBuild {
        let said = build.cache_expiry.or_else(|| metadata.cache_expiry(self.mode, CompatLevel::NEWEST));
        let fresh_until = said.filter(|expiry| *expiry > self.now).unwrap_or(self.now + RENEWAL);
        CurrentBuild {
            image: build.image.clone(),
            aliases: build.aliases.clone(),
            build: build.name.clone(),
            fresh_until,
        }
    }

    /// Many may want an image at once: one fetches it, and the others wait for that.
    fn lock(&self, entry: &Entry) -> Result<Lock, AcquireError> {
        Ok(entry.lock(|| self.narrator.waiting("fetches this image"))?)
    }

    fn entry(&self, image: &ImageId) -> Entry {
        self.cache.entry(self.repository.origin(), image)
    }
}

/// How long an unchanged build past its cache expiry is used before the server is asked again.
const RENEWAL: Span = Span::from_days(1);
