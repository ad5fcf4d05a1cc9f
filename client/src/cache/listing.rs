//! What the cache holds.

use formats::digest::FileDigest;
use formats::time::Timestamp;

use super::prune::subdirectories;
use super::{Cache, CacheError, CachedBuild, Entry, IMAGES, SERVER, entry};
use crate::files;

/// A build in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The directory of its origin.
    pub origin: String,
    /// The address of the server, without a password. Entries of a foreign hand have none.
    pub server: Option<String>,
    /// What it consists of.
    pub build: CachedBuild,
    /// Until when nobody needs to ask the server for a newer one: only the current build of an image has that.
    pub fresh_until: Option<Timestamp>,
    /// How many bytes of it are in the cache: as it was downloaded, and decoded. Builds may share files.
    pub size_bytes: u64,
}

impl Cache {
    /// Every build in the cache, the newest of each image first.
    pub fn builds(&self) -> Result<Vec<Kept>, CacheError> {
        let mut all = Vec::new();
        for (origin, entry) in self.entries()? {
            let server = files::read_if_there(&self.root.join(IMAGES).join(&origin).join(SERVER)).ok().flatten();
            let server = server.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
            let current = entry.current();
            let mut builds = entry.all();
            builds.sort_by(|one, other| other.build.cmp(&one.build));
            for build in builds {
                let current = current.as_ref().filter(|current| current.build == build.build);
                all.push(Kept {
                    origin: origin.clone(),
                    server: server.clone(),
                    fresh_until: current.map(|current| current.fresh_until),
                    size_bytes: self.size_bytes(&build)?,
                    build,
                });
            }
        }
        Ok(all)
    }

    fn size_bytes(&self, build: &CachedBuild) -> Result<u64, CacheError> {
        let files: Vec<FileDigest> = [build.rootfs, build.metadata].into_iter().chain(build.tar).collect();
        files.iter().try_fold(0, |sum, file| Ok(sum + if self.has(file)? { file.size_bytes } else { 0 }))
    }

    pub(super) fn entries(&self) -> Result<Vec<(String, Entry)>, CacheError> {
        let mut all = Vec::new();
        for origin in subdirectories(&self.root.join(IMAGES))? {
            let name = origin.file_name().unwrap_or_default().to_string_lossy().into_owned();
            all.extend(entry::below(&origin, self.owner)?.into_iter().map(|entry| (name.clone(), entry)));
        }
        Ok(all)
    }
}
