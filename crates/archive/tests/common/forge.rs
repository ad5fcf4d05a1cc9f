//! Archives that no honest archiver writes.

#![allow(dead_code, reason = "each test uses a part")]

use tar::{EntryType, Header};

/// An archive in the making.
#[derive(Default)]
pub(crate) struct Forge {
    bytes: Vec<u8>,
}

impl Forge {
    pub(crate) fn file(self, name: &str, content: &str) -> Self {
        self.member(name, EntryType::Regular, "", content.as_bytes())
    }

    pub(crate) fn dir(self, name: &str) -> Self {
        self.member(name, EntryType::Directory, "", b"")
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.member(name, EntryType::Symlink, target, b"")
    }

    pub(crate) fn hard_link(self, name: &str, target: &str) -> Self {
        self.member(name, EntryType::Link, target, b"")
    }

    pub(crate) fn member(self, name: &str, kind: EntryType, link: &str, content: &[u8]) -> Self {
        self.header(name, kind, link, content.len() as u64, |_| {}).content(content)
    }

    /// An extended header with these `KEY=VALUE` records.
    pub(crate) fn pax(self, records: &[&str]) -> Self {
        let record = |text: &str| {
            let length = (text.len()..=text.len() + 9)
                .find(|length| length.to_string().len() + text.len() + 2 == *length)
                .unwrap();
            format!("{length} {text}\n")
        };
        let records: String = records.iter().map(|text| record(text)).collect();
        self.member("pax", EntryType::XHeader, "", records.as_bytes())
    }

    /// A header alone, changed by `change` before its checksum is taken.
    pub(crate) fn header(
        mut self,
        name: &str,
        kind: EntryType,
        link: &str,
        size: u64,
        change: impl FnOnce(&mut Header),
    ) -> Self {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_uid(rustix::process::geteuid().as_raw().into());
        header.set_gid(rustix::process::getegid().as_raw().into());
        header.set_mtime(1_000_000_000);
        header.set_size(size);
        change(&mut header);
        header.set_cksum();
        self.bytes.extend_from_slice(header.as_bytes());
        self
    }

    pub(crate) fn content(mut self, content: &[u8]) -> Self {
        self.bytes.extend_from_slice(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    /// The archive with its end mark.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(&[0; 1024]);
        self.bytes
    }

    /// The archive without its end mark.
    pub(crate) fn cut(self) -> Vec<u8> {
        self.bytes
    }
}
