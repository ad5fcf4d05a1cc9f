//! Deltas between uncompressed archives, for our own client.

use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use archive::hashing::HashingWriter;
use archive::xz::{DecodeLimits, Decoder};
use formats::delta::TAR_WINDOW_LOG_MAX;
use formats::digest::{FileDigest, Hasher};
use formats::record::BuildRecord;
use fs_err as fs;

use super::{DeltaError, DeltaId};
use crate::store::BuildId;

/// Makes the delta between the archives of two builds, old and new, as the file `place`, and checks that it gives back
/// the new one. The old archive is held in memory, and as much of the new one.
pub(super) fn make(
    delta: &DeltaId,
    base: &BuildId,
    [old, new]: [&BuildRecord; 2],
    [old_file, new_file]: [PathBuf; 2],
    place: &Path,
) -> Result<FileDigest, DeltaError> {
    let capacity = usize::try_from(old.rootfs_tar.size_bytes).unwrap_or(0);
    let mut prefix = Vec::with_capacity(capacity);
    open(&old_file, old)?.read_to_end(&mut prefix)?;
    expect(base, old.rootfs_tar, FileDigest::of(&prefix))?;

    let mut encoder =
        zstd::stream::write::Encoder::with_ref_prefix(HashingWriter::new(fs::File::create(place)?), LEVEL, &prefix)?;
    encoder.long_distance_matching(true)?;
    encoder.window_log(window_log(old.rootfs_tar.size_bytes + new.rootfs_tar.size_bytes))?;
    encoder.set_pledged_src_size(Some(new.rootfs_tar.size_bytes))?;
    let mut hasher = Hasher::default();
    let mut source = open(&new_file, new)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = source.read(&mut buffer)?;
        let bytes = buffer.get(..count).unwrap_or_default();
        if bytes.is_empty() {
            break;
        }
        hasher.update(bytes);
        io::Write::write_all(&mut encoder, bytes)?;
    }
    expect(&delta.build, new.rootfs_tar, hasher.finish())?;
    let (digest, _) = encoder.finish()?.finish();

    let file = BufReader::with_capacity(BUFFER_BYTES, fs::File::open(place)?);
    let mut decoder = zstd::stream::read::Decoder::with_ref_prefix(file, &prefix)?;
    decoder.window_log_max(TAR_WINDOW_LOG_MAX)?;
    let mut hasher = Hasher::default();
    io::copy(&mut decoder, &mut hasher)?;
    let (expected, found) = (new.rootfs_tar, hasher.finish());
    if found == expected {
        Ok(digest)
    } else {
        Err(DeltaError::Wrong { delta: Box::new(delta.clone()), expected, found })
    }
}

/// The archive in a `rootfs.tar.xz`; no more of it than its record says, and a byte.
fn open(path: &Path, record: &BuildRecord) -> io::Result<impl Read + use<>> {
    Ok(Decoder::new(fs::File::open(path)?, &DecodeLimits::default())?.take(record.rootfs_tar.size_bytes + 1))
}

fn expect(build: &BuildId, expected: FileDigest, found: FileDigest) -> Result<(), DeltaError> {
    if found == expected {
        return Ok(());
    }
    Err(DeltaError::DamagedFile {
        build: Box::new(build.clone()),
        file: "the archive in rootfs.tar.xz",
        expected,
        found,
    })
}

/// The smallest window in which all of the old and the new archive lie.
fn window_log(bytes: u64) -> u32 {
    bytes.max(2).next_power_of_two().trailing_zeros().clamp(WINDOW_LOG_MIN, TAR_WINDOW_LOG_MAX)
}

/// Higher levels take forty times as long for a third less.
const LEVEL: i32 = 3;
const WINDOW_LOG_MIN: u32 = 20;
const BUFFER_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_holds_both_archives_and_is_one_that_clients_accept() {
        assert_eq!([0, 1 << 20, (1 << 20) + 1, 540 << 20, 2 << 30, 1 << 40].map(window_log), [20, 20, 21, 30, 31, 31]);
    }
}
