//! The outermost format of a package file: an `ar` archive (deb(5)).

use std::io::{self, Read, Seek, SeekFrom, Write};

/// One member, and where its content is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ArMember {
    /// Its name, without the slash that some archivers end it with.
    pub(super) name: String,
    /// Where its content begins.
    pub(super) offset: u64,
    /// How long its content is.
    pub(super) size_bytes: u64,
}

/// The members of an archive. A member that is longer than the archive is an error, as is anything between members.
pub(super) fn members(mut archive: impl Read + Seek) -> io::Result<Vec<ArMember>> {
    let end = archive.seek(SeekFrom::End(0))?;
    archive.seek(SeekFrom::Start(0))?;
    let mut magic = [0; MAGIC.len()];
    archive.read_exact(&mut magic)?;
    if magic != *MAGIC {
        return Err(bad("not an `ar` archive"));
    }
    let mut members = Vec::new();
    let mut offset = MAGIC.len() as u64;
    while offset < end {
        if members.len() == MEMBERS {
            return Err(bad("an `ar` archive of a package has too many members"));
        }
        let mut header = [0; HEADER_BYTES];
        archive.seek(SeekFrom::Start(offset))?;
        archive.read_exact(&mut header)?;
        let member = parse(&header, offset + HEADER_BYTES as u64).ok_or_else(|| bad("an `ar` header is damaged"))?;
        let content_end = member.offset.checked_add(member.size_bytes).filter(|content_end| *content_end <= end);
        let content_end = content_end.ok_or_else(|| bad("an `ar` member is longer than the file"))?;
        offset = content_end + content_end % 2;
        members.push(member);
    }
    Ok(members)
}

fn parse(header: &[u8; HEADER_BYTES], offset: u64) -> Option<ArMember> {
    let text = std::str::from_utf8(header).ok()?.strip_suffix("`\n")?;
    let name = text.get(..16)?.trim_end();
    let digits = text.get(48..58)?.trim_end();
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let name = name.strip_suffix('/').unwrap_or(name).to_owned();
    Some(ArMember { name, offset, size_bytes: digits.parse().ok()? })
}

/// Begins an archive.
pub(super) fn begin(mut out: impl Write) -> io::Result<()> {
    out.write_all(MAGIC)
}

/// Appends a member whose size is known when its content is written: `content` writes it, and the header follows.
pub(super) fn append<W: Write + Seek>(
    out: &mut W,
    name: &str,
    content: impl FnOnce(&mut W) -> io::Result<()>,
) -> io::Result<()> {
    let start = out.stream_position()?;
    out.write_all(&[b' '; HEADER_BYTES])?;
    content(out)?;
    let end = out.stream_position()?;
    let size = end - start - HEADER_BYTES as u64;
    let header = format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n", 0, 0, 0, 100_644);
    if header.len() != HEADER_BYTES {
        return Err(bad("a member does not fit in an `ar` header"));
    }
    out.seek(SeekFrom::Start(start))?;
    out.write_all(header.as_bytes())?;
    out.seek(SeekFrom::Start(end))?;
    if size % 2 == 1 {
        out.write_all(b"\n")?;
    }
    Ok(())
}

fn bad(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

const MAGIC: &[u8; 8] = b"!<arch>\n";
const HEADER_BYTES: usize = 60;
/// A package has three members; dpkg allows more, whose names begin with `_`.
const MEMBERS: usize = 64;

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut out = Cursor::new(Vec::new());
        begin(&mut out).unwrap();
        for (name, content) in members {
            append(&mut out, name, |out| out.write_all(content)).unwrap();
        }
        out.into_inner()
    }

    #[test]
    fn what_was_appended_is_found_again() {
        let bytes = archive(&[("debian-binary", b"2.0\n"), ("control.tar", b"odd"), ("data.tar", b"")]);
        let found = members(Cursor::new(&bytes)).unwrap();
        let names: Vec<_> = found.iter().map(|member| member.name.as_str()).collect();
        assert_eq!(names, ["debian-binary", "control.tar", "data.tar"]);
        let control = usize::try_from(found[1].offset).unwrap();
        assert_eq!(&bytes[control..control + 3], b"odd");
    }

    #[test]
    fn a_slash_after_a_name_does_not_count() {
        let header = format!("{:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", "data.tar.xz/", 0, 0, 0, 100_644, 0);
        let bytes = [MAGIC.as_slice(), header.as_bytes()].concat();
        assert_eq!(members(Cursor::new(bytes)).unwrap()[0].name, "data.tar.xz");
    }

    #[test]
    fn cut_and_foreign_files_are_refused() {
        let good = archive(&[("debian-binary", b"2.0\n"), ("data.tar", b"content")]);
        for cut in [0, 7, 20, 67, 70, 80, good.len() - 4] {
            assert!(members(Cursor::new(&good[..cut])).is_err(), "cut at {cut}");
        }
        assert!(members(Cursor::new(b"PK\x03\x04....")).is_err());
    }

    proptest! {
        #[test]
        fn any_input_gives_members_inside_of_it_or_an_error(tail: Vec<u8>) {
            let bytes = [MAGIC.as_slice(), &tail].concat();
            if let Ok(found) = members(Cursor::new(&bytes)) {
                for member in found {
                    prop_assert!(member.offset + member.size_bytes <= bytes.len() as u64);
                }
            }
        }

        #[test]
        fn any_contents_come_back(contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..5)) {
            let named: Vec<_> = contents.iter().map(|content| ("member", content.as_slice())).collect();
            let bytes = archive(&named);
            let found = members(Cursor::new(&bytes)).unwrap();
            let back: Vec<_> = found.iter().map(|member| {
                let start = usize::try_from(member.offset).unwrap();
                bytes[start..start + usize::try_from(member.size_bytes).unwrap()].to_vec()
            }).collect();
            prop_assert_eq!(back, contents);
        }
    }
}
