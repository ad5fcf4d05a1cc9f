//! A writer that takes the digest of what passes through it.

use std::io::{self, Write};

use formats::digest::{FileDigest, Hasher};

/// Passes bytes on and takes their size and digest, so that one pass over an archive is enough.
pub struct HashingWriter<W> {
    inner: W,
    hasher: Hasher,
}

impl<W: Write> HashingWriter<W> {
    /// A writer in front of `inner`.
    pub fn new(inner: W) -> Self {
        Self { inner, hasher: Hasher::default() }
    }

    /// The digest of everything that was written, and the writer behind.
    pub fn finish(self) -> (FileDigest, W) {
        (self.hasher.finish(), self.inner)
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or(bytes));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_written_counts() {
        let mut room = [0_u8; 3];
        let mut writer = HashingWriter::new(room.as_mut_slice());
        assert_eq!(writer.write(b"abcdef").unwrap(), 3);
        assert_eq!(writer.finish().0, FileDigest::of(b"abc"));
    }
}
