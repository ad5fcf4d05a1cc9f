use std::io::{self, Write};

use xz2::stream::{Check, Filters, LzmaOptions, MtStreamBuilder};
use xz2::write::XzEncoder;

use super::available_threads;

/// How to compress.
#[derive(Clone, Debug)]
pub struct XzOptions {
    /// The preset of xz, 0 (fast) to 9 (small). Default: 6.
    pub level: u32,
    /// Whether what is packed holds programs for x86. Addresses in them are made absolute first (xz's filter `x86`, which
    /// every decoder of the format knows), which saves 7 % of a Debian image. Default: no.
    pub x86: bool,
    /// How many threads to use; it does not change the result. Default: what the process may use.
    pub threads: u32,
    /// Uncompressed bytes in a block. Default: 24 MiB, three times the dictionary of level 6, which costs less than 2 %
    /// of size and lets an image of 200 MiB be decoded by eight threads.
    pub block_size: u64,
    /// Fewer threads are used where more would need more memory than this. Default: 2 GiB (level 6 takes 165 MiB a thread).
    pub memory_bytes: u64,
}

impl Default for XzOptions {
    fn default() -> Self {
        Self { level: 6, x86: false, threads: available_threads(), block_size: 24 << 20, memory_bytes: 2 << 30 }
    }
}

/// Compresses what is written to it. Without [`Encoder::finish`] the file is not complete.
pub struct Encoder<W: Write> {
    inner: XzEncoder<W>,
}

impl<W: Write> Encoder<W> {
    /// An encoder that writes to `out`. Fails when the level or the block size is none that xz knows.
    pub fn new(out: W, options: &XzOptions) -> io::Result<Self> {
        let mut builder = MtStreamBuilder::new();
        let mut filters = Filters::new();
        if options.x86 {
            filters.x86();
        }
        filters.lzma2(&LzmaOptions::new_preset(options.level)?);
        builder.filters(filters).check(Check::Crc64).block_size(options.block_size.max(1));
        let mut threads = options.threads.max(1);
        builder.threads(threads);
        while threads > 1 && builder.memusage() > options.memory_bytes {
            threads -= 1;
            builder.threads(threads);
        }
        Ok(Self { inner: XzEncoder::new_stream(out, builder.encoder()?) })
    }

    /// Writes what is left and the index, and returns the writer behind.
    pub fn finish(self) -> io::Result<W> {
        self.inner.finish()
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write(bytes)
    }

    /// Does nothing: a flush would end a block, and the blocks of a file must not depend on who flushes.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
