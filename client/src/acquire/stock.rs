//! What the stock template left in its cache.
//!
//! ```text
//! <LXC's cache>/download/<distribution>/<release>/<arch>/<variant>/
//! ├── rootfs.tar.xz     as it was downloaded, from any server: the path does not say which
//! ├── build_id          the name of the build
//! └── config, expiry, …  the LXC metadata, unpacked
//! ```
//!
//! Nothing vouches for any of it, so a rootfs is taken only when its digest is the one that the signed documents say; the
//! metadata cannot be checked and is not used (lxc `templates/lxc-download.in`).

use std::fs::File;
use std::io;
use std::path::PathBuf;

use archive::hashing::HashingWriter;
use formats::digest::FileDigest;
use formats::record::BuildFile;
use rustix::fs::{Mode, OFlags};

use super::{AcquireError, Source};
use crate::catalog::Build;

impl Source<'_> {
    /// The rootfs of a build from the stock template's cache, when it is there. That it cannot be read is no failure.
    pub(super) fn in_stock_cache(&self, build: &Build, digest: &FileDigest) -> Result<Option<File>, AcquireError> {
        let Some(path) = self.stock_rootfs(build) else { return Ok(None) };
        match self.copy_if_same(&path, digest) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(error) => {
                tracing::info!("`{}` is not used: {error}", path.display());
                return Ok(None);
            }
        }
        tracing::info!("the rootfs is that of `{}`", path.display());
        Ok(Some(self.cache.new_blob(digest)?))
    }

    fn stock_rootfs(&self, build: &Build) -> Option<PathBuf> {
        Some(self.stock_cache?.join("download").join(build.image.to_string()).join(BuildFile::RootfsTarXz.name()))
    }

    /// Copies the file into the cache, if it is the one.
    fn copy_if_same(&self, path: &std::path::Path, digest: &FileDigest) -> io::Result<bool> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut file = match rustix::fs::open(path, flags, Mode::empty()) {
            Err(rustix::io::Errno::NOENT) => return Ok(false),
            file => File::from(file?),
        };
        let about = file.metadata()?;
        if !about.is_file() || about.len() != digest.size_bytes {
            return Ok(false);
        }
        let identity = format!("{}.stock", digest.sha256);
        let draft = self.cache.draft(self.repository.origin(), &identity)?;
        let mut to = HashingWriter::new(draft.file()?);
        io::copy(&mut file, &mut to)?;
        let (found, _) = to.finish();
        if found != *digest {
            return Ok(false);
        }
        self.cache.place(draft, digest).map_err(io::Error::other)?;
        Ok(true)
    }
}
