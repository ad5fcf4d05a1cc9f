//! The header blocks of one member.

use tar::{EntryType, Header};

use super::pax::Records;

/// What the headers of a member say.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    pub(super) name: &'a [u8],
    pub(super) kind: EntryType,
    /// The target of a symbolic or hard link, else empty.
    pub(super) link: &'a [u8],
    pub(super) mode: u32,
    pub(super) user: u32,
    pub(super) group: u32,
    pub(super) size: u64,
    pub(super) mtime: i64,
    /// Major and minor number, of devices only.
    pub(super) device: (u32, u32),
    pub(super) xattrs: &'a [(Vec<u8>, Vec<u8>)],
}

impl<'a> Fields<'a> {
    pub(super) fn new(name: &'a [u8], kind: EntryType) -> Self {
        Self { name, kind, link: b"", mode: 0, user: 0, group: 0, size: 0, mtime: 0, device: (0, 0), xattrs: &[] }
    }

    /// The ustar header, behind an extended header where the ustar header does not hold everything.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut records = Records::default();
        let mut header = Header::new_ustar();
        header.set_entry_type(self.kind);
        header.set_mode(self.mode & 0o7777);
        header.set_uid(small(self.user, LARGEST_ID, "uid", &mut records));
        header.set_gid(small(self.group, LARGEST_ID, "gid", &mut records));
        header.set_size(small(self.size, LARGEST_NUMBER, "size", &mut records));
        if let Ok(mtime) = u64::try_from(self.mtime) {
            header.set_mtime(small(mtime, LARGEST_NUMBER, "mtime", &mut records));
        } else {
            header.set_mtime(0);
            records.push(b"mtime", self.mtime.to_string().as_bytes());
        }
        if let Some(ustar) = header.as_ustar_mut() {
            ustar.set_device_major(self.device.0);
            ustar.set_device_minor(self.device.1);
            if let Some((prefix, name)) = split(self.name) {
                fill(&mut ustar.prefix, prefix);
                fill(&mut ustar.name, name);
            } else {
                records.push(b"path", self.name);
                fill(&mut ustar.name, self.name);
            }
            if self.link.len() > ustar.linkname.len() {
                records.push(b"linkpath", self.link);
            }
            fill(&mut ustar.linkname, self.link);
        }
        for (name, value) in self.xattrs {
            records.push_xattr(name, value);
        }
        header.set_cksum();

        let mut blocks = Vec::with_capacity(BLOCK);
        let records = records.into_bytes();
        if !records.is_empty() {
            let extended =
                Fields { mode: 0o644, size: records.len() as u64, ..Fields::new(EXTENDED, EntryType::XHeader) };
            blocks = extended.encode();
            blocks.extend_from_slice(&records);
            blocks.extend_from_slice(padding(records.len() as u64));
        }
        blocks.extend_from_slice(header.as_bytes());
        blocks
    }
}

/// The zero bytes that follow a content of `size` bytes.
pub(super) fn padding(size: u64) -> &'static [u8] {
    let used = usize::try_from(size % BLOCK as u64).unwrap_or_default();
    ZEROS.get(used..).filter(|rest| rest.len() < BLOCK).unwrap_or_default()
}

/// `number` when the field holds it, else the largest number it holds, and a record with the number.
fn small(number: impl Into<u64>, largest: u64, key: &str, records: &mut Records) -> u64 {
    let number = number.into();
    if number > largest {
        records.push(key.as_bytes(), number.to_string().as_bytes());
    }
    number.min(largest)
}

/// A name as prefix and rest, when the two fields of ustar hold it.
fn split(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() <= 100 {
        return Some((b"", name));
    }
    let shortest_prefix = name.len().checked_sub(101)?;
    let slash = (shortest_prefix..name.len().min(156)).find(|at| name.get(*at) == Some(&b'/'))?;
    let (prefix, rest) = (name.get(..slash)?, name.get(slash + 1..)?);
    (!prefix.is_empty() && !rest.is_empty()).then_some((prefix, rest))
}

fn fill(field: &mut [u8], text: &[u8]) {
    for (slot, byte) in field.iter_mut().zip(text) {
        *slot = *byte;
    }
}

pub(super) const BLOCK: usize = 512;
static ZEROS: [u8; BLOCK] = [0; BLOCK];
/// Seven and eleven octal digits.
const LARGEST_ID: u64 = 0o777_7777;
const LARGEST_NUMBER: u64 = 0o777_7777_7777;
/// What readers that do not know extended headers name the file they make of one.
const EXTENDED: &[u8] = b"./PaxHeaders/member";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_is_padded_to_whole_blocks() {
        for (size, zeros) in [(0, 0), (1, 511), (511, 1), (512, 0), (513, 511)] {
            assert_eq!(padding(size).len(), zeros, "{size}");
        }
    }

    #[test]
    fn plain_members_take_one_block_and_large_numbers_take_three() {
        let plain = Fields::new(b"./a", EntryType::Regular);
        assert_eq!(plain.encode().len(), BLOCK);
        let foreign = Fields { user: 3_000_000, size: 1 << 40, mtime: -1, ..plain };
        let blocks = foreign.encode();
        assert_eq!(blocks.len(), 3 * BLOCK);
        let records = String::from_utf8_lossy(&blocks[BLOCK..2 * BLOCK]).into_owned();
        assert!(records.starts_with("15 uid=3000000\n22 size=1099511627776\n12 mtime=-1\n"), "{records}");
    }

    #[test]
    fn names_are_split_at_a_slash_where_both_fields_hold_a_part() {
        let long = |first: usize, second: usize| [vec![b'a'; first], b"/".to_vec(), vec![b'b'; second]].concat();
        for (name, fits) in [(long(155, 100), true), (long(156, 1), false), (long(10, 101), false), (long(99, 0), true)]
        {
            assert_eq!(split(&name).is_some(), fits, "{}", name.len());
        }
    }
}
