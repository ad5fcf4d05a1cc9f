//! Applying a delta: see [`formats::delta`] for the format.

use std::io::{self, BufRead, Read};

use formats::delta::TAR_WINDOW_LOG_MAX;

/// What a delta makes of the archive `base`. Nothing vouches for it: it must be compared with what it should be. Of more
/// than `size_bytes` one byte is read, which is enough to notice.
pub fn patched<'a>(delta: impl BufRead + 'a, base: &'a [u8], size_bytes: u64) -> io::Result<impl Read + 'a> {
    let mut decoder = zstd::stream::read::Decoder::with_ref_prefix(delta, base)?;
    decoder.window_log_max(TAR_WINDOW_LOG_MAX)?;
    Ok(decoder.take(size_bytes.saturating_add(1)))
}
