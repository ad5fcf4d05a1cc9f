//! Files with holes.

use super::pax::number;

/// Where the stored bytes of a file belong, and how long the file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SparseMap {
    parts: Vec<(u64, u64)>,
    size: u64,
}

impl SparseMap {
    /// A map whose parts are in order, inside of the file, and together as long as the stored bytes.
    pub(super) fn new(parts: Vec<(u64, u64)>, size: u64, stored_bytes: u64) -> Result<Self, &'static str> {
        let mut end = 0;
        let mut sum = 0_u64;
        for (offset, length) in &parts {
            let part_end = offset.checked_add(*length).filter(|part_end| *offset >= end && *part_end <= size);
            end = part_end.ok_or("the parts of a sparse file overlap or are not inside of it")?;
            sum += length;
        }
        if sum != stored_bytes {
            return Err("the parts of a sparse file are not as long as what is stored");
        }
        Ok(Self { parts, size })
    }

    /// The size of the file, holes included.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Offsets and lengths of what is stored.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (u64, u64)> {
        self.parts.iter().copied()
    }
}

/// Reads the map that GNU tar's format 1.0 puts in front of the content: decimal numbers, a line each, how many parts
/// and then offset and length of each.
#[derive(Default)]
pub(super) struct MapReader {
    digits: Vec<u8>,
    expected: Option<u64>,
    numbers: Vec<u64>,
}

impl MapReader {
    /// Takes in a block; gives the parts when the map is complete.
    pub(super) fn read(&mut self, block: &[u8]) -> Result<Option<Vec<(u64, u64)>>, &'static str> {
        for byte in block {
            if *byte != b'\n' {
                self.digits.push(*byte);
                if self.digits.len() > DIGITS {
                    return Err("a number of a sparse map is too long");
                }
                continue;
            }
            let parsed = number(&self.digits).ok_or("a sparse map has a line that is no number")?;
            self.digits.clear();
            match self.expected {
                None => self.expected = Some(parsed.checked_mul(2).ok_or("a sparse map is too long")?),
                Some(_) => self.numbers.push(parsed),
            }
            if self.expected == Some(self.numbers.len() as u64) {
                let parts = self.numbers.chunks_exact(2).filter_map(|pair| Some((*pair.first()?, *pair.last()?)));
                return Ok(Some(parts.collect()));
            }
        }
        Ok(None)
    }
}

/// The digits of the largest number of 64 bits.
const DIGITS: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_overlap_leave_the_file_or_lie_about_its_content_are_refused() {
        assert!(SparseMap::new(vec![(0, 5), (5, 5)], 10, 10).is_ok());
        for (parts, stored) in [
            (vec![(0, 5), (4, 5)], 10),
            (vec![(5, 6)], 6),
            (vec![(0, 5)], 6),
            (vec![(u64::MAX, 2)], 2),
            (vec![(5, 1), (0, 1)], 2),
        ] {
            assert!(SparseMap::new(parts.clone(), 10, stored).is_err(), "{parts:?}");
        }
    }

    #[test]
    fn a_map_may_cross_blocks() {
        let mut reader = MapReader::default();
        assert_eq!(reader.read(b"2\n0\n51"), Ok(None));
        assert_eq!(reader.read(b"2\n1024\n1\n\0\0\0"), Ok(Some(vec![(0, 512), (1024, 1)])));
        assert!(MapReader::default().read(b"x\n").is_err());
        assert!(MapReader::default().read(&[b'1'; 30]).is_err());
    }
}
