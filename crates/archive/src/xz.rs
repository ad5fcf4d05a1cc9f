//! xz (the .xz file format 1.2.1) in several blocks.
//!
//! A file of one block can be decoded by one thread only, by any decoder, so [`Encoder`] always starts a new block after
//! a fixed number of bytes. Its output depends on the level and the block size, never on the number of threads.

mod decode;
mod encode;

pub use decode::{DecodeLimits, Decoder};
pub use encode::{Encoder, XzOptions};

/// How many threads this process may use.
fn available_threads() -> u32 {
    std::thread::available_parallelism().map_or(1, |threads| u32::try_from(threads.get()).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    fn text(bytes: usize) -> Vec<u8> {
        (0_u64..).flat_map(|n| (n * n).to_string().into_bytes()).take(bytes).collect()
    }

    fn encoded(plain: &[u8], options: &XzOptions) -> Vec<u8> {
        let mut encoder = Encoder::new(Vec::new(), options).unwrap();
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn decoded(xz: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        Decoder::new(xz, &DecodeLimits::default())?.read_to_end(&mut plain)?;
        Ok(plain)
    }

    fn small_blocks(threads: u32) -> XzOptions {
        XzOptions { level: 0, threads, block_size: 1 << 16, ..XzOptions::default() }
    }

    #[test]
    fn the_number_of_threads_does_not_change_the_bytes() {
        let plain = text(1_000_000);
        let one = encoded(&plain, &small_blocks(1));
        assert_eq!(one, encoded(&plain, &small_blocks(2)));
        assert_eq!(one, encoded(&plain, &small_blocks(7)));
        assert_eq!(decoded(&one).unwrap(), plain);
    }

    #[test]
    fn programs_for_x86_come_back_as_they_were_and_take_less_room() {
        // Calls of one function from many places: as the distance is different each time, only the filter sees it.
        let target = 3_000_000_u32;
        let calls = (0..60_000_u32).flat_map(|call| {
            let next = call * 21 + 5;
            let mut code = vec![0xe8];
            code.extend(target.wrapping_sub(next).to_le_bytes());
            code.extend(b"\x48\x8b\x45\xf8\x90\x48\x8b\x45\xf0\x90\x48\x8b\x45\xe8\x90\x90");
            code
        });
        let plain: Vec<u8> = calls.collect();
        let options = XzOptions { level: 4, ..XzOptions::default() };
        let filtered = encoded(&plain, &XzOptions { x86: true, ..options.clone() });
        assert_eq!(decoded(&filtered).unwrap(), plain);
        assert!(filtered.len() * 2 < encoded(&plain, &options).len(), "{}", filtered.len());
    }

    #[test]
    fn a_file_has_as_many_blocks_as_its_size_asks_for() {
        let one_block = encoded(&text(1 << 20), &XzOptions { block_size: 1 << 20, ..small_blocks(1) });
        let many_blocks = encoded(&text(1 << 20), &small_blocks(1));
        // Each of the sixteen blocks has a header, a check and an index record.
        assert!(many_blocks.len() > one_block.len() + 15 * 20, "{} {}", many_blocks.len(), one_block.len());
    }

    #[test]
    fn concatenated_and_padded_streams_are_one_file() {
        let mut file = encoded(b"first ", &small_blocks(1));
        file.extend_from_slice(&[0; 8]);
        file.extend(encoded(b"second", &small_blocks(1)));
        file.extend_from_slice(&[0; 4]);
        assert_eq!(decoded(&file).unwrap(), b"first second");
    }

    #[test]
    fn truncated_flipped_and_trailing_bytes_are_refused() {
        let good = encoded(&text(300_000), &small_blocks(2));
        for cut in [0, 1, 11, 12, good.len() / 2, good.len() - 1] {
            assert!(decoded(&good[..cut]).is_err(), "cut at {cut}");
        }
        let mut flipped = good.clone();
        flipped[good.len() / 2] ^= 1;
        assert!(decoded(&flipped).is_err());
        assert!(decoded(&[good.as_slice(), b"junk"].concat()).is_err());
    }

    /// Hands out pieces, and before each the number of bytes that were decoded must be near to what is possible.
    struct Slow<'a> {
        pieces: std::slice::Chunks<'a, u8>,
        handed_out: u64,
        decoded: std::rc::Rc<std::cell::Cell<u64>>,
        behind: std::rc::Rc<std::cell::Cell<u64>>,
    }

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            std::thread::sleep(std::time::Duration::from_millis(30));
            self.behind.set(self.behind.get().max(self.handed_out.saturating_sub(self.decoded.get())));
            let Some(piece) = self.pieces.next() else { return Ok(0) };
            buffer[..piece.len()].copy_from_slice(piece);
            self.handed_out += piece.len() as u64;
            Ok(piece.len())
        }
    }

    #[test]
    fn what_can_be_decoded_is_handed_out_before_slow_input_is_waited_for() {
        // Random bytes take as much room compressed, so what came in and what must come out are about the same.
        let mut state = 1_u64;
        let plain: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .take(3 << 20)
        .collect();
        let xz = encoded(&plain, &XzOptions { level: 0, block_size: 1 << 20, ..XzOptions::default() });
        let [decoded, behind] = [(); 2].map(|()| std::rc::Rc::new(std::cell::Cell::new(0)));
        let slow =
            Slow { pieces: xz.chunks(64 << 10), handed_out: 0, decoded: decoded.clone(), behind: behind.clone() };
        let mut stream = Decoder::new(slow, &DecodeLimits { threads: 2, ..DecodeLimits::default() }).unwrap();
        // Small pieces, as members of an archive are.
        let mut piece = [0; 4096];
        loop {
            let count = stream.read(&mut piece).unwrap();
            if count == 0 {
                break;
            }
            decoded.set(decoded.get() + count as u64);
        }
        assert_eq!(decoded.get(), plain.len() as u64);
        // Without that it would be nearly all of it. A busy machine may take a while for a piece.
        assert!(behind.get() < 2 << 20, "{} bytes behind", behind.get());
    }

    #[test]
    fn a_dictionary_larger_than_the_memory_limit_is_refused() {
        let file = encoded(&text(1000), &XzOptions { level: 6, ..small_blocks(1) });
        let mut plain = Vec::new();
        let limits = DecodeLimits { memory_bytes: 1 << 20, ..DecodeLimits::default() };
        let error = Decoder::new(file.as_slice(), &limits).unwrap().read_to_end(&mut plain).unwrap_err();
        assert!(error.to_string().contains("memory"), "{error}");
    }
}
