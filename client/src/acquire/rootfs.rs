//! The root file system of an image on its way from the cache into a container.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write as _};

use archive::unpack::UnpackError;
use archive::xz::{DecodeLimits, Decoder};
use formats::digest::{FileDigest, Hasher};

use super::AcquireError;
use super::arriving::Arriving;
use super::bounded::{Bounded, wrong};
use crate::cache::{Cache, CachedBuild, CurrentBuild, Draft, Entry};
use crate::checkpoint::checkpoint;
use crate::files::Lock;
use crate::narrator::{Narrator, Step};
use crate::remote::Origin;

/// The root file system of an image on its way into a container.
#[derive(Debug)]
pub struct Rootfs<'a> {
    form: Form<'a>,
    tar_bytes: Option<u64>,
    narrator: Option<&'a Narrator>,
}

#[derive(Debug)]
enum Form<'a> {
    /// The caller said that it has the tree.
    Tree,
    /// The tar archive itself, checked and at its beginning.
    Plain(File),
    /// As it was downloaded, likewise. Whoever decodes it first keeps the archive.
    Compressed(File, Box<Keeper<'a>>),
    /// On the server.
    Remote(Box<Arriving<'a>>, Box<Keeper<'a>>),
}

impl<'a> Rootfs<'a> {
    /// A tar archive that was checked already, of which nothing is told. It may be a pipe, so its size is another matter.
    pub(crate) fn plain(tar: File, tar_bytes: Option<u64>) -> Self {
        Self { form: Form::Plain(tar), tar_bytes, narrator: None }
    }

    /// How large the tar archive is, which is about what its files take. Unknown before somebody has decoded it, where
    /// the server does not say.
    pub(crate) fn tar_bytes(&self) -> Option<u64> {
        self.tar_bytes
    }

    /// One whose tree the caller has.
    pub(super) fn tree() -> Self {
        Self { form: Form::Tree, tar_bytes: None, narrator: None }
    }

    /// A tar archive of the cache.
    pub(super) fn decoded(tar: File, narrator: &'a Narrator) -> Self {
        let tar_bytes = tar.metadata().ok().map(|about| about.len());
        Self { form: Form::Plain(tar), tar_bytes, narrator: Some(narrator) }
    }

    pub(super) fn compressed(xz: File, keeper: Keeper<'a>, narrator: &'a Narrator) -> Self {
        let tar_bytes = keeper.tar_bytes();
        Self { form: Form::Compressed(xz, Box::new(keeper)), tar_bytes, narrator: Some(narrator) }
    }

    pub(super) fn remote(arriving: Arriving<'a>, keeper: Keeper<'a>, narrator: &'a Narrator) -> Self {
        let tar_bytes = keeper.tar_bytes();
        Self { form: Form::Remote(Box::new(arriving), Box::new(keeper)), tar_bytes, narrator: Some(narrator) }
    }

    /// Hands the tar archive to `read`, which reads it to its end, and tells that it is unpacked.
    ///
    /// What is on the server is downloaded, hashed and decoded at the same time. So `read` sees bytes before all of them
    /// are verified, and what it makes must stay hidden until this returns: it fails unless everything that was read is
    /// what the signed documents say, the archive inside of a file included where they name it. One that is longer than
    /// they say fails at its first byte too many. What was decoded stays in the cache: the next create decodes nothing.
    /// That the cache has no room for that is no failure.
    pub fn read<T>(self, read: impl FnOnce(&mut dyn Read) -> Result<T, UnpackError>) -> Result<T, ReadError> {
        let tell = |what: fn(&Narrator)| self.narrator.iter().copied().for_each(what);
        match self.form {
            Form::Tree => Err(UnpackError::Read(io::Error::other("its tree was there and is gone; try again")).into()),
            Form::Plain(mut tar) => {
                tell(Narrator::unpacking);
                Ok(read(&mut tar)?)
            }
            Form::Compressed(xz, keeper) => {
                tell(Narrator::unpacking);
                let (result, copy) = decode(xz, &keeper, read)?;
                keeper.keep(copy)?;
                Ok(result)
            }
            Form::Remote(arriving, keeper) => {
                let stored = || {
                    tell_ready(self.narrator, &keeper.build);
                    tell(Narrator::unpacking);
                };
                let (result, copy) = arriving.read(stored, |xz| decode(xz, &keeper, read))?;
                keeper.keep(copy)?;
                Ok(result)
            }
        }
    }

    /// Makes the tar archive ready in the cache, so that a create decodes nothing.
    pub fn warmed(self) -> Result<(), ReadError> {
        match &self.form {
            Form::Tree | Form::Plain(_) => Ok(()),
            Form::Compressed(..) | Form::Remote(..) => {
                self.read(|tar| io::copy(tar, &mut io::sink()).map(drop).map_err(UnpackError::Read))
            }
        }
    }

    /// The same, downloaded and verified now, for those who have no hidden place to unpack to. Nothing is decoded yet.
    pub fn stored(self) -> Result<Self, AcquireError> {
        let Form::Remote(arriving, keeper) = self.form else { return Ok(self) };
        let file = arriving.store()?;
        keeper.keep(None)?;
        tell_ready(self.narrator, &keeper.build);
        Ok(Self { form: Form::Compressed(file, keeper), ..self })
    }
}

fn tell_ready(narrator: Option<&Narrator>, build: &CachedBuild) {
    if let Some(narrator) = narrator {
        narrator.tell_about(Step::Ready, &build.to_string());
    }
}

/// Why a root file system was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is bad, or what it is read for failed.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// It was not had.
    #[error(transparent)]
    Acquire(#[from] AcquireError),
}

impl ReadError {
    /// Whether the data is bad, and not this machine.
    pub fn is_bad_data(&self) -> bool {
        match self {
            Self::Unpack(error) => error.is_bad_data(),
            Self::Acquire(error) => !error.is_failure(),
        }
    }
}

fn decode<T>(
    xz: impl Read,
    keeper: &Keeper<'_>,
    read: impl FnOnce(&mut dyn Read) -> Result<T, UnpackError>,
) -> Result<(T, Option<(Copy, FileDigest)>), UnpackError> {
    let expected = keeper.build.tar;
    let decoder = Decoder::new(xz, &decode_limits()).map_err(UnpackError::Read)?;
    let mut tar = Bounded::new(decoder, expected.map(|tar| tar.size_bytes));
    let mut kept = Kept { tar: &mut tar, hasher: Hasher::default(), copy: keeper.begin() };
    let result = read(&mut kept)?;
    // The end of an archive may be found before the end of its bytes.
    io::copy(&mut kept, &mut io::sink()).map_err(UnpackError::Read)?;
    let found = kept.hasher.finish();
    if let Some(expected) = expected.filter(|expected| *expected != found) {
        let (said, found) = (expected.sha256, found.sha256);
        let how = format!("it has the sha256 {found}, and the signed documents say {said}");
        return Err(UnpackError::Read(wrong(how)));
    }
    Ok((result, kept.copy.map(|copy| (copy, found))))
}

/// Blocks are decoded in parallel as far as a small host has memory for it.
pub(super) fn decode_limits() -> DecodeLimits {
    DecodeLimits { parallel_bytes: 100 << 20, ..DecodeLimits::default() }
}

/// What is stored when a build is complete. While it exists the image is locked, so that of many creates only the first
/// downloads and decodes, and the others copy what it kept.
#[derive(Debug)]
pub(super) struct Keeper<'a> {
    pub(super) cache: &'a Cache,
    pub(super) origin: &'a Origin,
    pub(super) entry: Entry,
    pub(super) build: CachedBuild,
    /// What becomes the current build of the image, if this one does.
    pub(super) current: Option<CurrentBuild>,
    pub(super) _lock: Lock,
}

impl Keeper<'_> {
    fn tar_bytes(&self) -> Option<u64> {
        self.build.tar.map(|tar| tar.size_bytes)
    }

    fn begin(&self) -> Option<Copy> {
        let identity = format!("{}.tar", self.build.image.product_name().replace(':', "."));
        let draft = self.cache.draft(self.origin, &identity);
        let draft = draft.inspect_err(|error| not_kept(error)).ok()?;
        let file = draft.file().inspect_err(|error| not_kept(error)).ok()?;
        Some(Copy { to: BufWriter::with_capacity(COPY_BYTES, file), draft })
    }

    /// Stores the build, and with it the decoded archive if there is a copy of it.
    fn keep(&self, copy: Option<(Copy, FileDigest)>) -> Result<(), AcquireError> {
        let kept = copy.map(|(copy, found)| self.place(copy, found).inspect_err(|error| not_kept(error)));
        let build = CachedBuild { tar: kept.and_then(Result::ok).or(self.build.tar), ..self.build.clone() };
        self.entry.store(&build)?;
        checkpoint("fetch:stored");
        if let Some(current) = &self.current {
            self.entry.set_current(current)?;
        }
        Ok(self.cache.adopt()?)
    }

    fn place(&self, copy: Copy, found: FileDigest) -> io::Result<FileDigest> {
        let Copy { mut to, draft } = copy;
        to.flush()?;
        checkpoint("decode:archive");
        self.cache.place(draft, &found).map_err(io::Error::other)?;
        checkpoint("decode:placed");
        Ok(found)
    }
}

fn not_kept(error: &dyn std::error::Error) {
    tracing::warn!("the decoded rootfs is not kept in the cache: {error}");
}

/// A copy of what is read.
struct Copy {
    to: BufWriter<File>,
    draft: Draft,
}

/// Passes on what it reads, takes the digest of it, and copies it until a copy fails.
struct Kept<'a> {
    tar: &'a mut dyn Read,
    hasher: Hasher,
    copy: Option<Copy>,
}

impl Read for Kept<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.tar.read(buffer)?;
        let piece = buffer.get(..count).unwrap_or_default();
        self.hasher.update(piece);
        if let Some(copy) = &mut self.copy
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
