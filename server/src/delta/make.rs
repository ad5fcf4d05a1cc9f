//! Making deltas, beside everything else: nothing waits for it but other makers of deltas.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use formats::delta::DeltaKind;
use formats::digest::FileDigest;
use formats::record::{BuildFile, BuildRecord};
use fs_err as fs;
use rustix::fs::{FlockOperation, flock};
use terminal::Printer;

use super::{DeltaError, DeltaId, Deltas, Step, squashfs, steps, tar};
use crate::channel::Channel;
use crate::checkpoint::checkpoint;
use crate::data::DataDir;
use crate::limits::Limits;
use crate::store::{BuildId, Store};

/// The one maker of deltas of a data directory.
#[derive(Debug)]
pub struct Maker {
    data: DataDir,
    store: Store,
    limits: Limits,
    has_xdelta3: bool,
    _lock: fs::File,
}

/// What became of one delta.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was made, and gives back exactly what it should; clients see it with the next generation.
    Made(DeltaId, FileDigest),
    /// It would not save enough.
    TooLarge(DeltaId),
}

/// Makes the deltas that lead to a build in the channels that offer it; whether there are any.
pub fn make_for(data: &DataDir, build: &BuildId, limits: Limits, printer: &Printer) -> Result<bool, DeltaError> {
    let steps = steps(&Channel::all(data)?).into_iter().filter(|step| step.build == *build);
    let mut any = false;
    for step in steps {
        let outcomes = Maker::lock(data, limits, printer)?.make(&step, printer)?;
        any |= outcomes.iter().any(|outcome| matches!(outcome, Outcome::Made(..)));
    }
    Ok(any)
}

impl Maker {
    /// Waits until no other process makes deltas. What a killed one left is removed.
    pub fn lock(data: &DataDir, limits: Limits, printer: &Printer) -> Result<Self, DeltaError> {
        let path = data.root().join("delta.lock");
        let lock = fs::OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                printer.say("Waiting for another rootcellar-server to finish its deltas");
                flock(&lock, FlockOperation::LockExclusive).map_err(std::io::Error::from)?;
            }
            Err(error) => return Err(std::io::Error::from(error).into()),
        }
        for left in fs::read_dir(data.making())? {
            let left = left?;
            if left.file_type()?.is_dir() { fs::remove_dir_all(left.path())? } else { fs::remove_file(left.path())? }
        }
        let has_xdelta3 = squashfs::is_installed();
        Ok(Self { data: data.clone(), store: Store::new(data), limits, has_xdelta3, _lock: lock })
    }

    /// Whether deltas for Incus and LXD can be made.
    pub fn has_xdelta3(&self) -> bool {
        self.has_xdelta3
    }

    /// Makes the deltas of one step that are missing. They are checked by applying them, and put beside their build
    /// when both builds are still there.
    pub fn make(&self, step: &Step, printer: &Printer) -> Result<Vec<Outcome>, DeltaError> {
        let base = BuildId { image: step.build.image.clone(), serial: step.base.clone() };
        let (Some(old), Some(new)) = (self.store.record(&base)?, self.store.record(&step.build)?) else {
            return Ok(Vec::new());
        };
        let known = Deltas::read(&self.data)?;
        let mut outcomes = Vec::new();
        for kind in DeltaKind::ALL {
            let delta = DeltaId { build: step.build.clone(), kind, base: step.base.clone() };
            if known.is_known(&delta) || !self.is_useful(kind, &old, &new) {
                continue;
            }
            // What is fetched to be read lies there as long as it is needed.
            let scratch = tempfile::tempdir_in(self.data.making())?;
            let file = match kind {
                DeltaKind::Tar => BuildFile::RootfsTarXz,
                DeltaKind::Squashfs => BuildFile::RootfsSquashfs,
            };
            let local = |build| self.store.local(build, file.name(), scratch.path());
            let files = [local(&base)?, local(&step.build)?];
            let place = self.data.making().join(delta.name());
            let digest = match kind {
                DeltaKind::Tar => tar::make(&delta, &base, [&old, &new], files, &place)?,
                DeltaKind::Squashfs => squashfs::make(&delta, &new, files, &place)?,
            };
            let full_bytes = new.files.get(&file).map_or(0, |full| full.size_bytes);
            let most_bytes = u128::from(full_bytes) * u128::from(self.limits.delta_percent) / 100;
            let is_small = u128::from(digest.size_bytes) < most_bytes;
            outcomes.extend(self.install(&delta, is_small.then_some(digest), place, printer)?);
        }
        Ok(outcomes)
    }

    /// Whether a host with `old` would fetch anything for `new` that a delta can shorten.
    fn is_useful(&self, kind: DeltaKind, old: &BuildRecord, new: &BuildRecord) -> bool {
        let have = |file| old.files.contains_key(&file) && new.files.contains_key(&file);
        match kind {
            DeltaKind::Tar => {
                let largest = old.rootfs_tar.size_bytes.max(new.rootfs_tar.size_bytes);
                have(BuildFile::RootfsTarXz)
                    && old.rootfs_tar != new.rootfs_tar
                    && largest <= self.limits.delta_tar_bytes
            }
            // Incus names an image by its metadata too: with other metadata it fetches the same squashfs again.
            DeltaKind::Squashfs => {
                let name = |record: &BuildRecord, file| record.fingerprint(file, BuildFile::RootfsSquashfs);
                let differs = |file| name(new, file).is_some() && name(old, file) != name(new, file);
                self.has_xdelta3
                    && have(BuildFile::RootfsSquashfs)
                    && (differs(BuildFile::IncusTarXz) || differs(BuildFile::LxdTarXz))
            }
        }
    }

    /// Puts a delta in its place, then on the list. Killed in between, it is a file that nobody is told of and that
    /// the next maker replaces.
    fn install(
        &self,
        delta: &DeltaId,
        digest: Option<FileDigest>,
        made: PathBuf,
        printer: &Printer,
    ) -> Result<Option<Outcome>, DeltaError> {
        let writer = self.data.write(printer)?;
        let base = BuildId { image: delta.build.image.clone(), serial: delta.base.clone() };
        if self.store.record(&base)?.is_none() || self.store.record(&delta.build)?.is_none() {
            fs::remove_file(made)?;
            return Ok(None);
        }
        let mut deltas = Deltas::read(&writer)?;
        let Some(digest) = digest else {
            fs::remove_file(made)?;
            deltas.add_too_large(delta);
            deltas.write(&writer)?;
            return Ok(Some(Outcome::TooLarge(delta.clone())));
        };
        let file = fs::File::open(&made)?;
        file.set_permissions(PermissionsExt::from_mode(0o644))?;
        file.sync_all()?;
        checkpoint("delta:made");
        self.store.add(&writer, &delta.build, &delta.name(), &made)?;
        checkpoint("delta:placed");
        deltas.add(delta, digest);
        deltas.write(&writer)?;
        Ok(Some(Outcome::Made(delta.clone(), digest)))
    }
}
