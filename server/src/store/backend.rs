//! What a store asks of the place where builds are kept.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use formats::image::ImageId;

use super::id::BuildId;
use super::objects::Object;

/// A place where builds are kept. Every call blocks.
///
/// The trait is as small as what this server does with builds; an implementation never relies on a conditional write,
/// because there are object stores that take the condition and ignore it. There is one writer at a time, by our own lock.
pub trait Backend: fmt::Debug + Send + Sync {
    /// Every build that has a record, in any order.
    fn builds(&self) -> io::Result<Vec<BuildId>>;

    /// Those of one image.
    fn builds_of(&self, image: &ImageId) -> io::Result<Vec<BuildId>>;

    /// The names of the files that stand with a build.
    fn names(&self, build: &BuildId) -> io::Result<Vec<String>>;

    /// The first bytes of a file, up to one more than the limit; `None` when there is none.
    fn read(&self, build: &BuildId, name: &str, limit_bytes: u64) -> io::Result<Option<Vec<u8>>>;

    /// A file; `None` when there is none.
    fn open(&self, build: &BuildId, name: &str) -> io::Result<Option<Opened>>;

    /// The path of a file on this machine, if builds are files of this machine.
    fn path(&self, build: &BuildId, name: &str) -> Option<PathBuf>;

    /// Takes a staged directory over as a build. It becomes visible as a whole, and never replaces another.
    fn place(&self, build: &BuildId, staged: PathBuf) -> io::Result<()>;

    /// Takes a file that was made over, to stand beside those of a build. It becomes visible as a whole.
    fn add(&self, build: &BuildId, name: &str, made: &Path) -> io::Result<()>;

    /// Removes a file that stands beside those of a build; none is as good as removed.
    fn discard(&self, build: &BuildId, name: &str) -> io::Result<()>;

    /// Removes a build. Half of one is never found under its name.
    fn remove(&self, build: &BuildId, staging: &Path) -> io::Result<()>;

    /// Moves a build to where it is no longer found but kept; `None` when there is none.
    fn set_aside(&self, build: &BuildId, quarantine: &Path) -> io::Result<Option<String>>;

    /// Removes what killed writers left; the number of files.
    fn sweep(&self) -> io::Result<usize>;
}

/// A file of a build that was found.
#[derive(Debug)]
pub enum Opened {
    /// A file of this machine.
    File {
        /// It.
        file: std::fs::File,
        /// Its size.
        size_bytes: u64,
        /// When it was last changed.
        modified: SystemTime,
    },
    /// An object.
    Object(Object),
}

impl Opened {
    /// Its size.
    pub fn size_bytes(&self) -> u64 {
        match self {
            Self::File { size_bytes, .. } => *size_bytes,
            Self::Object(object) => object.size_bytes,
        }
    }

    /// When it was last changed.
    pub fn modified(&self) -> SystemTime {
        match self {
            Self::File { modified, .. } => *modified,
            Self::Object(object) => object.modified,
        }
    }

    /// Its bytes from the beginning.
    pub fn into_reader(self) -> Box<dyn Read + Send> {
        match self {
            Self::File { file, .. } => Box::new(file),
            Self::Object(object) => Box::new(object.into_reader()),
        }
    }
}
