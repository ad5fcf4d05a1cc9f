//! An archive that is as long as it was said to be.

use std::io::{self, Read};

/// Passes on what it reads, which must be as long as the signed documents say, if they say it. A single byte more is an
/// error and is not passed on: a small file that decodes to more than any disk holds ends before it fills one. An end
/// before that is an error, too, and no end.
pub(super) struct Bounded<R> {
    inner: R,
    said_bytes: Option<u64>,
    read_bytes: u64,
}

impl<R: Read> Bounded<R> {
    pub(super) fn new(inner: R, said_bytes: Option<u64>) -> Self {
        Self { inner, said_bytes, read_bytes: 0 }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(said_bytes) = self.said_bytes else { return self.inner.read(buffer) };
        if buffer.is_empty() {
            return Ok(0);
        }
        let left = usize::try_from(said_bytes - self.read_bytes).unwrap_or(usize::MAX);
        if left == 0 {
            return match self.inner.read(&mut [0])? {
                0 => Ok(0),
                _ => Err(wrong(format!("it is longer than the {said_bytes} bytes that the signed documents say"))),
            };
        }
        let length = left.min(buffer.len());
        let count = self.inner.read(buffer.get_mut(..length).unwrap_or_default())?;
        if count == 0 {
            let read_bytes = self.read_bytes;
            return Err(wrong(format!("it has {read_bytes} of the {said_bytes} bytes that the signed documents say")));
        }
        self.read_bytes += count as u64;
        Ok(count)
    }
}

/// An archive that is not the one of the signed documents.
pub(super) fn wrong(how: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, how)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8], said_bytes: Option<u64>) -> (Vec<u8>, io::Result<usize>) {
        let mut passed_on = Vec::new();
        let outcome = Bounded::new(content, said_bytes).read_to_end(&mut passed_on);
        (passed_on, outcome)
    }

    #[test]
    fn what_is_as_long_as_said_is_passed_on() {
        for said in [None, Some(7)] {
            let (passed_on, outcome) = read(b"archive", said);
            assert_eq!((&passed_on[..], outcome.unwrap()), (&b"archive"[..], 7), "{said:?}");
        }
        assert_eq!(read(b"", Some(0)).1.unwrap(), 0);
    }

    #[test]
    fn an_end_before_its_time_is_an_error() {
        for said in [8, u64::MAX] {
            let (passed_on, outcome) = read(b"archive", Some(said));
            assert_eq!((&passed_on[..], outcome.unwrap_err().kind()), (&b"archive"[..], io::ErrorKind::InvalidData));
        }
    }

    #[test]
    fn the_first_byte_beyond_is_an_error_and_is_not_passed_on() {
        let (passed_on, outcome) = read(b"archive", Some(6));
        assert_eq!((&passed_on[..], outcome.unwrap_err().kind()), (&b"archiv"[..], io::ErrorKind::InvalidData));
        let mut endless = Bounded::new(io::repeat(0), Some(100_000));
        assert_eq!(io::copy(&mut endless, &mut io::sink()).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
