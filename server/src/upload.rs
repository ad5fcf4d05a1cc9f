//! Builds that are on their way in.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use formats::digest::FileDigest;
use formats::name::Name;
use formats::record::{BuildFile, BuildRecord};
use formats::time::Timestamp;
use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt;
use serde::{Deserialize, Serialize};

use crate::data::DataDir;
use crate::files;
use crate::limits::Limits;
use crate::store::{BuildId, RECORD};
use crate::token::random_name;

/// The uploads under way.
///
/// ```text
/// <data>/v1/uploads/<id>/          0700
/// ├── upload.json                  whose it is, for which channel, since when
/// └── build/                       a build directory that is not complete yet:
///     ├── build.json               given first, so that nothing is taken that it does not name
///     └── rootfs.tar.xz, …         as much as has arrived
/// ```
///
/// What has arrived is what the files hold: an upload goes on after a kill of either side.
#[derive(Clone, Debug)]
pub struct Uploads {
    root: PathBuf,
    staging: PathBuf,
    limits: Limits,
}

/// One upload.
#[derive(Clone, Debug)]
pub struct Upload {
    /// Its name, which nobody can guess.
    pub id: String,
    /// The token it began with.
    pub token: Name,
    /// The channel the build will be offered in.
    pub channel: Name,
    /// When it began.
    pub created: Timestamp,
    /// What is being uploaded.
    pub record: BuildRecord,
    /// Each file with what it will be and how many bytes of it are there.
    pub files: BTreeMap<BuildFile, (FileDigest, u64)>,
    directory: PathBuf,
}

impl Upload {
    /// The build.
    pub fn build(&self) -> BuildId {
        BuildId::of(&self.record)
    }

    /// Whether every file has its size.
    pub fn is_complete(&self) -> bool {
        self.files.values().all(|(digest, received)| digest.size_bytes == *received)
    }

    /// The build directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where a file arrives.
    pub fn path(&self, file: BuildFile) -> PathBuf {
        self.directory.join(file.name())
    }

    /// Throws away what has arrived of a file that turned out to be another one.
    pub fn discard(&self, file: BuildFile) -> io::Result<()> {
        fs::remove_file(self.path(file))
    }
}

impl Uploads {
    /// The uploads of a data directory.
    pub fn new(data: &DataDir, limits: Limits) -> Self {
        Self { root: data.uploads(), staging: data.uploads().join(STAGING), limits }
    }

    /// Begins an upload, or goes on with the one of this token, channel and record.
    pub fn begin(
        &self,
        record: &BuildRecord,
        json: &[u8],
        token: &Name,
        channel: &Name,
        now: Timestamp,
    ) -> Result<Upload, UploadError> {
        let bytes = record.files.values().fold(0_u64, |sum, file| sum.saturating_add(file.size_bytes));
        if bytes > self.limits.upload_bytes {
            return Err(UploadError::TooLarge { bytes, limit_bytes: self.limits.upload_bytes });
        }
        let mut open = 0;
        for upload in self.all()? {
            if upload.created.unix() + seconds(self.limits.upload_age) <= now.unix() {
                self.remove(&upload)?;
            } else if upload.token == *token {
                if upload.channel == *channel && upload.record == *record {
                    return Ok(upload);
                }
                open += 1;
            }
        }
        if open >= self.limits.uploads_per_token {
            return Err(UploadError::TooMany { limit: self.limits.uploads_per_token });
        }
        let id = random_name().map_err(io::Error::other)?;
        let state = State { format: Format::V1, token: token.clone(), channel: channel.clone(), created: now };
        let state = serde_json::to_vec_pretty(&state).map_err(io::Error::other)?;
        let directory = self.root.join(&id);
        // Whole or not at all: what has no name yet is removed with the next.
        let _ = fs::remove_dir_all(&self.staging);
        let build = self.staging.join(BUILD);
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&build)?;
        for (path, content) in [(build.join(RECORD), json), (self.staging.join(UPLOAD), state.as_slice())] {
            let mut file = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
            io::Write::write_all(&mut file, content)?;
            file.sync_all()?;
        }
        fs::rename(&self.staging, &directory)?;
        files::sync_parent(&directory)?;
        self.get(&id)?.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound).into())
    }

    /// An upload by its name.
    pub fn get(&self, id: &str) -> Result<Option<Upload>, UploadError> {
        if id.len() != 64 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let top = self.root.join(id);
        let Some(state) = files::read_if_there(&top.join(UPLOAD))? else { return Ok(None) };
        let damaged = |source| UploadError::Damaged { id: id.to_owned(), source };
        let state: State = serde_json::from_slice(&state).map_err(damaged)?;
        let directory = top.join(BUILD);
        let record = BuildRecord::from_json(&fs::read(directory.join(RECORD))?).map_err(damaged)?;
        let mut files = BTreeMap::new();
        for (file, digest) in &record.files {
            let received = match fs::symlink_metadata(directory.join(file.name())) {
                Ok(metadata) => metadata.len(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
                Err(error) => return Err(error.into()),
            };
            files.insert(*file, (*digest, received));
        }
        let State { token, channel, created, .. } = state;
        Ok(Some(Upload { id: id.to_owned(), token, channel, created, record, files, directory }))
    }

    /// Ends an upload and removes what has arrived.
    pub fn remove(&self, upload: &Upload) -> io::Result<()> {
        fs::remove_dir_all(self.root.join(&upload.id))
    }

    fn all(&self) -> Result<Vec<Upload>, UploadError> {
        let mut uploads = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let Ok(id) = entry?.file_name().into_string() else { continue };
            uploads.extend(self.get(&id)?);
        }
        Ok(uploads)
    }
}

/// Why an upload cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The build is larger than any that is taken.
    #[error("the build is too large: expected at most {limit_bytes} bytes, found {bytes}")]
    TooLarge {
        /// What its record says.
        bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// A token has too many uploads under way.
    #[error("this token has {limit} uploads under way: complete or end one first")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// What is kept of an upload cannot be read.
    #[error("the upload {id} is damaged")]
    Damaged {
        /// Its name.
        id: String,
        /// What the parser says.
        #[source]
        source: serde_json::Error,
    },
    /// The file system failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    format: Format,
    token: Name,
    channel: Name,
    created: Timestamp,
}

#[derive(Serialize, Deserialize)]
enum Format {
    #[serde(rename = "rootcellar-upload:1")]
    V1,
}

fn seconds(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

const STAGING: &str = "staging";
const BUILD: &str = "build";
const UPLOAD: &str = "upload.json";

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::FakeImage;

    fn begin(uploads: &Uploads, serial: &str, now: i64) -> Result<Upload, UploadError> {
        let record = FakeImage::new("debian/trixie/amd64/default").serial(serial).record();
        let json = record.to_json();
        let (token, channel) = ("builder1".parse().unwrap(), "staging".parse().unwrap());
        uploads.begin(&record, &json, &token, &channel, Timestamp::from_unix(now))
    }

    #[test]
    fn the_same_record_goes_on_with_its_upload_and_old_ones_are_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::open(directory.path()).unwrap();
        let uploads = Uploads::new(&data, Limits { uploads_per_token: 2, ..Limits::default() });
        let first = begin(&uploads, "20261121_0522", 0).unwrap();
        fs::write(first.path(BuildFile::MetaTarXz), "abc").unwrap();
        let again = begin(&uploads, "20261121_0522", 1).unwrap();
        assert_eq!((again.id.as_str(), again.files[&BuildFile::MetaTarXz].1), (first.id.as_str(), 3));
        begin(&uploads, "20261122_0522", 2).unwrap();
        assert!(matches!(begin(&uploads, "20261123_0522", 3), Err(UploadError::TooMany { limit: 2 })));
        let later = 3 + seconds(Limits::default().upload_age);
        begin(&uploads, "20261123_0522", later).unwrap();
        assert!(uploads.get(&first.id).unwrap().is_none());
        for id in ["..", "", "../../keys", &"g".repeat(64)] {
            assert!(uploads.get(id).unwrap().is_none(), "{id}");
        }
    }

    #[test]
    fn a_build_that_is_too_large_is_refused_before_a_byte_of_it_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::open(directory.path()).unwrap();
        let uploads = Uploads::new(&data, Limits { upload_bytes: 10, ..Limits::default() });
        assert!(matches!(begin(&uploads, "20261121_0522", 0), Err(UploadError::TooLarge { limit_bytes: 10, .. })));
        assert_eq!(fs::read_dir(data.uploads()).unwrap().count(), 0);
    }
}
