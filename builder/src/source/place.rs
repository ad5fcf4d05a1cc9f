//! Where an archive goes.

use std::fs::File;
use std::path::{Path, PathBuf};

use archive::unpack::Excludes;
use formats::arch::Arch;

use super::artifact::Artifact;
use super::error::SourceError;
use super::oci;
use super::stream::Stream;

/// Where an archive goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It is the root file system.
    Root,
    /// The root file system is in this directory, or else the whole is.
    Inside { directory: String },
    /// It is an OCI archive, whose layers are the root file system.
    Oci,
    /// It has one directory, which becomes `parent/name` in the tree.
    Below { parent: &'static str, directory: &'static str, name: &'static str },
}

/// The tree that is being made.
pub(super) struct Destination<'a> {
    /// For what is gone afterwards; in the same file system as the tree.
    pub(super) work: &'a Path,
    /// It does not exist before the first archive.
    pub(super) tree: &'a Path,
    pub(super) arch: Arch,
    pub(super) log: &'a File,
}

impl Destination<'_> {
    /// Puts an archive in its place.
    pub(super) fn put(&self, file: File, artifact: &Artifact) -> Result<(), SourceError> {
        let name = artifact.name();
        let stream = Stream { name, file, log: self.log };
        match &artifact.place {
            Place::Root => {
                fs_err::create_dir(self.tree)?;
                stream.unpack(self.tree, Excludes::default())
            }
            Place::Inside { directory } => {
                let whole = self.aside(stream)?;
                let inside = whole.join(directory);
                if is_directory(&inside)? {
                    fs_err::rename(inside, self.tree)?;
                    fs_err::remove_dir_all(whole)?;
                } else {
                    fs_err::rename(whole, self.tree)?;
                }
                Ok(())
            }
            Place::Oci => {
                let layout = self.aside(stream)?;
                fs_err::create_dir(self.tree)?;
                oci::unpack_layers(name, &layout, self.tree, self.arch, self.log)?;
                Ok(fs_err::remove_dir_all(layout)?)
            }
            Place::Below { parent, directory, name: new } => {
                let whole = self.aside(stream)?;
                let inside = whole.join(directory);
                if !is_directory(&inside)? {
                    return Err(SourceError::NoDirectory { name: name.to_owned(), directory: (*directory).to_owned() });
                }
                let tree = archive::beneath::RootDir::open(self.tree)?;
                tree.create_dir_all(parent)?;
                let target = self.directory(parent)?.join(new);
                if std::fs::symlink_metadata(&target).is_ok() {
                    fs_err::remove_dir_all(&target)?;
                }
                fs_err::rename(inside, target)?;
                Ok(fs_err::remove_dir_all(whole)?)
            }
        }
    }

    /// Unpacks an archive beside the tree.
    fn aside(&self, stream: Stream<'_>) -> Result<PathBuf, SourceError> {
        let directory = self.work.join("unpacked");
        fs_err::create_dir(&directory)?;
        stream.unpack(&directory, Excludes::default())?;
        Ok(directory)
    }

    /// A directory of the tree on the host: no part of the way there may be a link, which could lead out of the tree.
    fn directory(&self, path: &str) -> Result<PathBuf, SourceError> {
        let mut directory = self.tree.to_owned();
        for part in Path::new(path) {
            directory.push(part);
            if !is_directory(&directory)? {
                return Err(SourceError::NoDirectory { name: "the tree".to_owned(), directory: path.to_owned() });
            }
        }
        Ok(directory)
    }
}

/// Whether there is a directory, which is no link to one.
fn is_directory(path: &Path) -> Result<bool, SourceError> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) => Ok(metadata.is_dir()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}
