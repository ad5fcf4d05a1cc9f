//! Reads an archive member by member: header blocks, extended headers, long names and sparse maps become one
//! [`Member`]; its content is then read in pieces.

use std::io::{self, BufRead, BufReader, Read};

use tar::{EntryType, GnuExtSparseHeader, GnuSparseHeader, Header};

use super::name::MemberPath;
use super::pax::{Overrides, Time};
use super::sparse::{MapReader, SparseMap};
use super::{UnpackError, UnpackLimits};
use crate::acl;
use crate::text::shown;

/// One member of an archive.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) path: MemberPath,
    pub(crate) kind: Kind,
    /// Permissions with set-id and sticky bits.
    pub(crate) mode: u32,
    pub(crate) user: u64,
    pub(crate) group: u64,
    pub(crate) mtime: Time,
    /// Sorted by name.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Access control lists in texts that name users of another host.
    pub(crate) unreadable_acls: u64,
}

/// What a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File { stored_bytes: u64, sparse: Option<SparseMap> },
    Directory,
    Symlink(Vec<u8>),
    HardLink(MemberPath),
    Character { major: u32, minor: u32 },
    Block { major: u32, minor: u32 },
    Fifo,
}

/// Reads the members of an archive.
pub(crate) struct Members<R> {
    input: BufReader<R>,
    limits: UnpackLimits,
    offset: u64,
    /// Content of the current member that was not read yet, and the zeros after it.
    content_left: u64,
    padding: u64,
    /// From global extended headers.
    globals: Overrides,
    entries: u64,
    unpacked_bytes: u64,
    pax_total_bytes: u64,
    pax_bytes: u64,
    /// For messages.
    current: Vec<u8>,
}

impl<R: Read> Members<R> {
    pub(crate) fn new(input: R, limits: &UnpackLimits) -> Self {
        Self {
            input: BufReader::with_capacity(BUFFER_BYTES, input),
            limits: limits.clone(),
            offset: 0,
            content_left: 0,
            padding: 0,
            globals: Overrides::default(),
            entries: 0,
            unpacked_bytes: 0,
            pax_total_bytes: 0,
            pax_bytes: 0,
            current: b"the first member".to_vec(),
        }
    }

    /// The next member, or nothing at the end mark. Content of the member before that was not read is skipped.
    pub(crate) fn next(&mut self) -> Result<Option<Member>, UnpackError> {
        self.skip_content()?;
        self.pax_bytes = 0;
        let mut overrides = self.globals.clone();
        let (mut long_name, mut long_link) = (None, None);
        loop {
            let at = self.offset;
            let mut header = Header::new_old();
            self.read_block(header.as_mut_bytes())?;
            if header.as_bytes().iter().all(|byte| *byte == 0) {
                self.drain()?;
                return Ok(None);
            }
            let size = check(&header).and_then(|()| number(&header.as_old().size, header.entry_size()));
            let size = size.map_err(|problem| UnpackError::BadHeader { offset: at, problem })?;
            let problem = |problem| UnpackError::BadHeader { offset: at, problem };
            match header.entry_type() {
                EntryType::XHeader => {
                    let records = self.extension(size)?;
                    overrides.read(&records).map_err(|problem| self.bad_extension(problem))?;
                }
                EntryType::XGlobalHeader => {
                    let records = self.extension(size)?;
                    self.globals.read(&records).map_err(|problem| self.bad_extension(problem))?;
                    let Overrides { path, link, size, sparse, .. } = &self.globals;
                    if path.is_some() || link.is_some() || size.is_some() || *sparse != <_>::default() {
                        return Err(self.bad_extension("a global header names a file or its size"));
                    }
                    overrides = self.globals.clone();
                }
                EntryType::GNULongName => long_name = Some(until_nul(self.extension(size)?)),
                EntryType::GNULongLink => long_link = Some(until_nul(self.extension(size)?)),
                // The label of a GNU archive is no file.
                EntryType::__Nonexhaustive(b'V') => self.begin_content(size)?,
                _ => {
                    overrides.path = overrides.path.or(long_name);
                    overrides.link = overrides.link.or(long_link);
                    return self.member(&header, size, overrides, problem).map(Some);
                }
            }
            self.skip_content()?;
        }
    }

    /// The next piece of the current member's content, empty at its end. [`Members::consume`] says how much was used.
    pub(crate) fn content(&mut self) -> Result<&[u8], UnpackError> {
        if self.content_left == 0 {
            return Ok(&[]);
        }
        let limit = usize::try_from(self.content_left).unwrap_or(usize::MAX);
        let offset = self.offset;
        match fill(&mut self.input)? {
            [] => Err(UnpackError::Truncated { offset }),
            piece => Ok(piece.get(..limit).unwrap_or(piece)),
        }
    }

    pub(crate) fn consume(&mut self, bytes: usize) {
        self.input.consume(bytes);
        self.offset += bytes as u64;
        self.content_left = self.content_left.saturating_sub(bytes as u64);
    }

    fn member(
        &mut self,
        header: &Header,
        size: u64,
        overrides: Overrides,
        problem: impl Fn(&'static str) -> UnpackError,
    ) -> Result<Member, UnpackError> {
        let old = header.as_old();
        let name = overrides.sparse.name.as_ref().or(overrides.path.as_ref());
        let name = name.cloned().unwrap_or_else(|| header.path_bytes().into_owned());
        self.current.clone_from(&name);
        self.entries += 1;
        self.limit("members", self.entries, self.limits.entries)?;
        let link = overrides.link.unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned());
        self.limit("bytes in a path", name.len().max(link.len()) as u64, self.limits.path_bytes)?;

        let device = || -> Result<(u32, u32), UnpackError> {
            let (major, minor) = match (header.as_ustar(), header.as_gnu()) {
                (Some(ustar), _) => (&ustar.dev_major, &ustar.dev_minor),
                (_, Some(gnu)) => (&gnu.dev_major, &gnu.dev_minor),
                (None, None) => (&BLANK, &BLANK),
            };
            let major = number(major, header.device_major()).map_err(&problem)?.unwrap_or_default();
            let minor = number(minor, header.device_minor()).map_err(&problem)?.unwrap_or_default();
            Ok((major, minor))
        };
        let entry_type = header.entry_type();
        let kind = match entry_type {
            EntryType::Regular | EntryType::Continuous if !name.ends_with(b"/") => {
                self.file(overrides.size.unwrap_or(size), overrides.sparse)?
            }
            EntryType::GNUSparse => self.old_sparse_file(header, overrides.size.unwrap_or(size))?,
            EntryType::Directory | EntryType::Regular | EntryType::Continuous => Kind::Directory,
            EntryType::Symlink if link.is_empty() || link.contains(&0) => return Err(problem("a link has no target")),
            EntryType::Symlink => Kind::Symlink(link),
            EntryType::Link => Kind::HardLink(MemberPath::parse(&link)?),
            EntryType::Char => device().map(|(major, minor)| Kind::Character { major, minor })?,
            EntryType::Block => device().map(|(major, minor)| Kind::Block { major, minor })?,
            EntryType::Fifo => Kind::Fifo,
            other => return Err(UnpackError::UnknownKind { member: shown(&name), kind: other.as_byte().into() }),
        };
        // As in GNU tar, a hard link's size is that of the file it points to, and no content follows.
        if !matches!(kind, Kind::File { .. } | Kind::HardLink(_)) {
            self.begin_content(overrides.size.unwrap_or(size))?;
        }

        let mut unreadable_acls = 0;
        let mut xattrs = overrides.xattrs;
        let lists = [(overrides.acl_access, acl::ACCESS), (overrides.acl_default, acl::DEFAULT)];
        for (text, name) in lists.into_iter().filter_map(|(text, name)| Some((text?, name))) {
            if !xattrs.contains_key(name) {
                match acl::from_text(&text) {
                    Some(value) => drop(xattrs.insert(name.to_vec(), value)),
                    None => unreadable_acls += 1,
                }
            }
        }
        let xattr_bytes = xattrs.iter().map(|(name, value)| (name.len() + value.len()) as u64).sum();
        self.limit("bytes of extended attributes", xattr_bytes, self.limits.xattr_bytes)?;

        let id = |over: Option<u64>, field: &[u8], parsed| match over {
            Some(id) => Ok(id),
            None => number(field, parsed).map_err(&problem),
        };
        let seconds = || number(&old.mtime, header.mtime()).map(u64::cast_signed).map_err(&problem);
        Ok(Member {
            path: MemberPath::parse(&name)?,
            kind,
            mode: number(&old.mode, header.mode()).map_err(&problem)? & 0o7777,
            user: id(overrides.user, &old.uid, header.uid())?,
            group: id(overrides.group, &old.gid, header.gid())?,
            mtime: overrides.mtime.map_or_else(|| seconds().map(|seconds| Time { seconds, nanoseconds: 0 }), Ok)?,
            xattrs: xattrs.into_iter().collect(),
            unreadable_acls,
        })
    }

    fn file(&mut self, size: u64, records: super::pax::SparseRecords) -> Result<Kind, UnpackError> {
        self.begin_content(size)?;
        let parts = match (records.major, records.minor, records.map) {
            (None | Some(0), _, None) => return Ok(Kind::File { stored_bytes: size, sparse: None }),
            (None | Some(0), _, Some(map)) => map,
            (Some(1), None | Some(0), _) => self.sparse_map()?,
            _ => return Err(self.bad_extension("a sparse format is unknown")),
        };
        let real_size = records.size.ok_or_else(|| self.bad_extension("a sparse file has no size"))?;
        self.sparse_file(parts, real_size)
    }

    fn sparse_file(&mut self, parts: Vec<(u64, u64)>, real_size: u64) -> Result<Kind, UnpackError> {
        self.limit("unpacked bytes", real_size, self.limits.unpacked_bytes)?;
        let stored_bytes = self.content_left;
        let sparse = SparseMap::new(parts, real_size, stored_bytes).map_err(|problem| self.bad_extension(problem))?;
        Ok(Kind::File { stored_bytes, sparse: Some(sparse) })
    }

    /// The map in front of the content (GNU tar's sparse format 1.0).
    fn sparse_map(&mut self) -> Result<Vec<(u64, u64)>, UnpackError> {
        let mut map = MapReader::default();
        loop {
            let mut block = [0; BLOCK];
            self.content_left = self
                .content_left
                .checked_sub(BLOCK as u64)
                .ok_or_else(|| self.bad_extension("a sparse map does not end"))?;
            self.read_block(&mut block)?;
            self.count_pax(BLOCK as u64)?;
            if let Some(parts) = map.read(&block).map_err(|problem| self.bad_extension(problem))? {
                return Ok(parts);
            }
        }
    }

    /// The map in the header and the blocks after it (GNU tar's sparse format of old).
    fn old_sparse_file(&mut self, header: &Header, size: u64) -> Result<Kind, UnpackError> {
        let Some(gnu) = header.as_gnu() else { return Err(self.bad_extension("a sparse file has no GNU header")) };
        let mut parts = Vec::new();
        let mut collect = |slots: &[GnuSparseHeader]| {
            for slot in slots.iter().take_while(|slot| slot.offset.first() != Some(&0)) {
                let (Ok(offset), Ok(length)) = (slot.offset(), slot.length()) else {
                    return Err("a sparse map has a field that is no number");
                };
                parts.push((offset, length));
            }
            Ok(())
        };
        collect(&gnu.sparse).map_err(|problem| self.bad_extension(problem))?;
        let mut more = gnu.is_extended();
        while more {
            let mut block = GnuExtSparseHeader::new();
            self.read_block(block.as_mut_bytes())?;
            self.count_pax(BLOCK as u64)?;
            collect(block.sparse()).map_err(|problem| self.bad_extension(problem))?;
            more = block.is_extended();
        }
        let real_size = gnu.real_size().map_err(|_| self.bad_extension("a sparse file has no size"))?;
        self.begin_content(size)?;
        self.sparse_file(parts, real_size)
    }

    fn begin_content(&mut self, size: u64) -> Result<(), UnpackError> {
        self.unpacked_bytes = self.unpacked_bytes.saturating_add(size);
        self.limit("unpacked bytes", self.unpacked_bytes, self.limits.unpacked_bytes)?;
        self.content_left = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
        Ok(())
    }

    /// The content of a header that describes the next one.
    fn extension(&mut self, size: u64) -> Result<Vec<u8>, UnpackError> {
        self.count_pax(size.saturating_add(BLOCK as u64))?;
        self.content_left = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
        let mut content = Vec::new();
        loop {
            let piece = self.content()?;
            if piece.is_empty() {
                return Ok(content);
            }
            content.extend_from_slice(piece);
            let used = piece.len();
            self.consume(used);
        }
    }

    fn count_pax(&mut self, bytes: u64) -> Result<(), UnpackError> {
        self.pax_bytes = self.pax_bytes.saturating_add(bytes);
        self.pax_total_bytes = self.pax_total_bytes.saturating_add(bytes);
        self.limit("bytes of extended headers in one member", self.pax_bytes, self.limits.pax_bytes)?;
        self.limit("bytes of extended headers", self.pax_total_bytes, self.limits.pax_total_bytes)
    }

    fn skip_content(&mut self) -> Result<(), UnpackError> {
        self.content_left = self.content_left.saturating_add(std::mem::take(&mut self.padding));
        loop {
            let used = self.content()?.len();
            if used == 0 {
                return Ok(());
            }
            self.consume(used);
        }
    }

    /// Reads what follows the end mark, so that a digest or a check at the end of the input is seen.
    fn drain(&mut self) -> Result<(), UnpackError> {
        loop {
            let used = fill(&mut self.input)?.len();
            if used == 0 {
                return Ok(());
            }
            self.input.consume(used);
            self.unpacked_bytes = self.unpacked_bytes.saturating_add(used as u64);
            self.limit("unpacked bytes", self.unpacked_bytes, self.limits.unpacked_bytes)?;
        }
    }

    fn read_block(&mut self, block: &mut [u8; BLOCK]) -> Result<(), UnpackError> {
        self.input.read_exact(block).map_err(|error| match error.kind() {
            // Readers with a message of their own know better what is missing.
            io::ErrorKind::UnexpectedEof if error.get_ref().is_none() => UnpackError::Truncated { offset: self.offset },
            _ => UnpackError::Read(error),
        })?;
        self.offset += BLOCK as u64;
        Ok(())
    }

    fn limit(&self, what: &'static str, found: u64, limit: u64) -> Result<(), UnpackError> {
        if found > limit {
            return Err(UnpackError::TooMuch { what, limit, member: shown(&self.current) });
        }
        Ok(())
    }

    fn bad_extension(&self, problem: &'static str) -> UnpackError {
        UnpackError::BadExtension { member: shown(&self.current), problem }
    }
}

fn fill<R: Read>(input: &mut BufReader<R>) -> Result<&[u8], UnpackError> {
    loop {
        match input.fill_buf() {
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(UnpackError::Read(error)),
        }
    }
    Ok(input.buffer())
}

/// Compares a header with its checksum. Some archivers of old summed signed bytes.
fn check(header: &Header) -> Result<(), &'static str> {
    let stated = header.cksum().map_err(|_| "the checksum is no number")?;
    let with_blank_checksum = || {
        let blank = |(at, byte): (usize, &u8)| if CHECKSUM_FIELD.contains(&at) { b' ' } else { *byte };
        header.as_bytes().iter().enumerate().map(blank)
    };
    let unsigned: u32 = with_blank_checksum().map(u32::from).sum();
    let signed: i32 = with_blank_checksum().map(|byte| i32::from(byte.cast_signed())).sum();
    if stated == unsigned || i32::try_from(stated) == Ok(signed) { Ok(()) } else { Err("the checksum does not match") }
}

/// A number field; blank means zero, as in headers of archivers that leave out what does not apply.
fn number<T: Default>(field: &[u8], parsed: io::Result<T>) -> Result<T, &'static str> {
    if field.iter().all(|byte| matches!(byte, 0 | b' ')) {
        return Ok(T::default());
    }
    parsed.map_err(|_| "a number field is no number")
}

fn until_nul(mut name: Vec<u8>) -> Vec<u8> {
    name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
    name
}

const BLOCK: usize = 512;
const BUFFER_BYTES: usize = 256 << 10;
const BLANK: [u8; 8] = [0; 8];
const CHECKSUM_FIELD: std::ops::Range<usize> = 148..156;
