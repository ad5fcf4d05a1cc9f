//! The root file system of an image on its way from the cache into a container.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write as _};

use archive::hashing::HashingWriter;
use archive::unpack::UnpackError;
use archive::xz::{DecodeLimits, Decoder};
use formats::digest::FileDigest;

use crate::cache::{Cache, CachedBuild, Draft, Entry};
use crate::files::Lock;
use crate::remote::Origin;

/// The root file system of an image, checked against its digest and at its beginning.
#[derive(Debug)]
pub struct Rootfs<'a>(Form<'a>);

#[derive(Debug)]
enum Form<'a> {
    /// The tar archive itself.
    Plain(File),
    /// As it was downloaded. Whoever decodes it first keeps the archive.
    Compressed(File, Box<Keeper<'a>>),
}

impl<'a> Rootfs<'a> {
    pub(super) fn plain(tar: File) -> Self {
        Self(Form::Plain(tar))
    }

    pub(super) fn compressed(xz: File, keeper: Keeper<'a>) -> Self {
        Self(Form::Compressed(xz, Box::new(keeper)))
    }

    /// Hands the tar archive to `read`, which reads it to its end. A compressed one is decoded, and what came out stays
    /// in the cache: the next create decodes nothing. That the cache has no room for it is no failure.
    pub fn read<T>(self, read: impl FnOnce(&mut dyn Read) -> Result<T, UnpackError>) -> Result<T, UnpackError> {
        match self.0 {
            Form::Plain(mut tar) => read(&mut tar),
            Form::Compressed(xz, keeper) => {
                let mut tar = Decoder::new(xz, &DecodeLimits::default()).map_err(UnpackError::Read)?;
                let mut kept = Kept { tar: &mut tar, copy: keeper.begin() };
                let result = read(&mut kept)?;
                if let Some(copy) = kept.copy {
                    keeper.keep(copy);
                }
                Ok(result)
            }
        }
    }

    /// Decodes a compressed archive into the cache.
    pub fn warm(self) -> Result<(), UnpackError> {
        match self.0 {
            Form::Plain(_) => Ok(()),
            Form::Compressed(..) => {
                self.read(|tar| io::copy(tar, &mut io::sink()).map(drop).map_err(UnpackError::Read))
            }
        }
    }
}

/// Where a decoded archive goes. While it exists the image is locked, so that of many creates only the first decodes,
/// and the others copy what it kept.
#[derive(Debug)]
pub(super) struct Keeper<'a> {
    pub(super) cache: &'a Cache,
    pub(super) origin: &'a Origin,
    pub(super) entry: Entry,
    pub(super) build: CachedBuild,
    pub(super) _lock: Lock,
}

impl Keeper<'_> {
    fn begin(&self) -> Option<Copy> {
        let identity = format!("{}.tar", self.build.image.product_name().replace(':', "."));
        let draft = self.cache.draft(self.origin, &identity);
        let draft = draft.inspect_err(|error| not_kept(error)).ok()?;
        let file = draft.file().inspect_err(|error| not_kept(error)).ok()?;
        Some(Copy { to: HashingWriter::new(BufWriter::with_capacity(COPY_BYTES, file)), draft })
    }

    fn keep(&self, copy: Copy) {
        let stored = copy.finish().and_then(|(found, draft)| match self.build.tar {
            Some(expected) if expected != found => Err(io::Error::other(format!(
                "expected an archive with sha256 {}, found {}",
                expected.sha256, found.sha256
            ))),
            _ => {
                self.cache.place(draft, &found).map_err(io::Error::other)?;
                let build = CachedBuild { tar: Some(found), ..self.build.clone() };
                self.entry.store(&build).map_err(io::Error::other)
            }
        });
        if let Err(error) = stored {
            not_kept(&error);
        }
    }
}

fn not_kept(error: &dyn std::error::Error) {
    tracing::warn!("the decoded rootfs is not kept in the cache: {error}");
}

/// A copy of what is read.
struct Copy {
    to: HashingWriter<BufWriter<File>>,
    draft: Draft,
}

impl Copy {
    fn finish(self) -> io::Result<(FileDigest, Draft)> {
        let (digest, mut file) = self.to.finish();
        file.flush()?;
        Ok((digest, self.draft))
    }
}

/// Passes on what it reads and copies it, until a copy fails.
struct Kept<'a> {
    tar: &'a mut dyn Read,
    copy: Option<Copy>,
}

impl Read for Kept<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.tar.read(buffer)?;
        if let (Some(copy), Some(piece)) = (&mut self.copy, buffer.get(..count))
            && let Err(error) = copy.to.write_all(piece)
        {
            not_kept(&error);
            self.copy = None;
        }
        Ok(count)
    }
}

/// What the copy is written in.
const COPY_BYTES: usize = 1 << 20;
