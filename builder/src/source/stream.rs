//! The tar archive inside of whatever it is wrapped in. What that is, its first bytes say, whatever its name.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use archive::unpack::{Excludes, Listed, UnpackError, UnpackLimits, UnpackOptions};
use archive::xz::{DecodeLimits, Decoder};

use super::error::SourceError;

/// What an archive is wrapped in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrapping {
    None,
    Gzip,
    Bzip2,
    Xz,
    Zstd,
    Squashfs,
}

/// An archive and its name for messages.
pub(super) struct Stream<'a> {
    pub(super) name: &'a str,
    pub(super) file: File,
    /// Takes what the reader of squashfs complains about.
    pub(super) log: &'a File,
}

impl Stream<'_> {
    /// Unpacks it into the directory `dest`, but for `excludes`.
    pub(super) fn unpack(self, dest: &Path, excludes: Excludes) -> Result<(), SourceError> {
        let options = UnpackOptions { excludes, ..UnpackOptions::for_a_build()? };
        self.read(|tar| archive::unpack::unpack(tar, dest, &options).map(drop))
    }

    /// What is in it; the file can be read again afterwards.
    pub(super) fn list(&self) -> Result<Vec<Listed>, SourceError> {
        let again = Stream { name: self.name, file: self.file.try_clone()?, log: self.log };
        again.read(|tar| archive::unpack::list(tar, &UnpackLimits::default()))
    }

    fn read<T>(mut self, work: impl FnOnce(&mut dyn Read) -> Result<T, UnpackError>) -> Result<T, SourceError> {
        let failed = |source| SourceError::Unpack { name: self.name.to_owned(), source };
        let mut head = [0; HEAD_BYTES];
        self.file.rewind()?;
        let read = read_head(&mut self.file, &mut head)?;
        self.file.rewind()?;
        let wrapping = wrapping(&head[..read]).ok_or_else(|| SourceError::Kind { name: self.name.to_owned() })?;
        let mut tar: Box<dyn Read> = match wrapping {
            Wrapping::None => Box::new(self.file),
            Wrapping::Gzip => Box::new(flate2::read::MultiGzDecoder::new(self.file)),
            Wrapping::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(self.file)),
            Wrapping::Xz => Box::new(Decoder::new(self.file, &DecodeLimits::default())?),
            Wrapping::Zstd => Box::new(zstd::stream::read::Decoder::new(self.file)?),
            Wrapping::Squashfs => {
                let mut reader = SquashfsReader::start(self.file, self.log)?;
                let done = work(&mut reader);
                // What it says is the cause; the archive that ends too early is only the effect.
                reader.finish(self.name)?;
                return done.map_err(failed);
            }
        };
        work(&mut tar).map_err(failed)
    }
}

fn read_head(file: &mut File, head: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < head.len() {
        match file.read(&mut head[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

fn wrapping(head: &[u8]) -> Option<Wrapping> {
    let magics: [(&[u8], Wrapping); 5] = [
        (&[0x1f, 0x8b], Wrapping::Gzip),
        (b"BZh", Wrapping::Bzip2),
        (b"\xfd7zXZ\0", Wrapping::Xz),
        (&[0x28, 0xb5, 0x2f, 0xfd], Wrapping::Zstd),
        (b"hsqs", Wrapping::Squashfs),
    ];
    let known = magics.into_iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, wrapping)| wrapping);
    // The header of every tar format of this century, and an archive of nothing.
    let is_tar =
        head.get(257..262) == Some(b"ustar") || (head.len() == HEAD_BYTES && head.iter().all(|byte| *byte == 0));
    known.or_else(|| is_tar.then_some(Wrapping::None))
}

/// `sqfs2tar`, which turns a squashfs into tar without mounting it: what comes out is no more trusted than any other
/// archive.
struct SquashfsReader {
    child: Child,
}

impl SquashfsReader {
    fn start(file: File, log: &File) -> Result<Self, SourceError> {
        let child = Command::new("sqfs2tar")
            .args(["--root-becomes", ".", "--no-skip", "/dev/stdin"])
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .stdin(file)
            .stdout(Stdio::piped())
            .stderr(log.try_clone()?)
            .spawn();
        match child {
            Ok(child) => Ok(Self { child }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(SourceError::NoSquashfs),
            Err(error) => Err(error.into()),
        }
    }

    fn finish(mut self, name: &str) -> Result<(), SourceError> {
        drop(self.child.stdout.take());
        let status = self.child.wait()?;
        if status.success() {
            return Ok(());
        }
        Err(SourceError::Squashfs { name: name.to_owned(), reason: format!("sqfs2tar ended with {status}") })
    }
}

impl Read for SquashfsReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.child.stdout.as_mut().map_or(Ok(0), |stdout| stdout.read(out))
    }
}

impl Drop for SquashfsReader {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

const HEAD_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_say_what_it_is() {
        let mut tar = [0; HEAD_BYTES];
        tar[257..262].copy_from_slice(b"ustar");
        for (head, expected) in [
            (tar.as_slice(), Some(Wrapping::None)),
            (&[0; HEAD_BYTES], Some(Wrapping::None)),
            (b"\x1f\x8b\x08", Some(Wrapping::Gzip)),
            (b"BZh9", Some(Wrapping::Bzip2)),
            (b"\xfd7zXZ\0\0", Some(Wrapping::Xz)),
            (b"\x28\xb5\x2f\xfd", Some(Wrapping::Zstd)),
            (b"hsqs", Some(Wrapping::Squashfs)),
            (b"<html>", None),
            (b"", None),
        ] {
            assert_eq!(wrapping(head), expected);
        }
    }
}
