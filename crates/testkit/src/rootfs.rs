//! The root file system of a fake image.

use std::io::Write;

use tar::{Builder, EntryType, Header};

/// A tar archive as a builder of images writes it: members `./…`, numeric owners, one modification time.
#[derive(Clone, Debug, Default)]
pub struct FakeRootfs {
    /// Header, name, target and content of each member.
    entries: Vec<(Header, Vec<u8>, String, Vec<u8>)>,
}

impl FakeRootfs {
    /// The directories and the handful of files that every distribution has.
    pub fn minimal(os: &str, release: &str) -> Self {
        let mut rootfs = Self::default();
        rootfs.directory(".");
        for path in ["bin", "dev", "etc", "proc", "root", "run", "sbin", "sys", "tmp", "usr", "var"] {
            rootfs.directory(path);
        }
        let id = os.to_lowercase();
        rootfs.file("etc/os-release", 0o644, format!("NAME=\"{os}\"\nID={id}\nVERSION_CODENAME={release}\n"));
        rootfs.file("etc/hostname", 0o644, "LXC_NAME\n");
        rootfs.file("etc/hosts", 0o644, "127.0.0.1\tlocalhost\n127.0.1.1\tLXC_NAME\n");
        rootfs
    }

    /// Adds a directory.
    pub fn directory(&mut self, path: &str) -> &mut Self {
        let name = if path == "." { "./".to_owned() } else { format!("./{path}/") };
        self.push(EntryType::Directory, 0o755, &name, "", Vec::new())
    }

    /// Adds a regular file.
    pub fn file(&mut self, path: &str, mode: u32, content: impl Into<Vec<u8>>) -> &mut Self {
        self.push(EntryType::Regular, mode, &format!("./{path}"), "", content.into())
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, path: &str, target: &str) -> &mut Self {
        self.push(EntryType::Symlink, 0o777, &format!("./{path}"), target, Vec::new())
    }

    /// Adds a character device.
    pub fn device(&mut self, path: &str, major: u32, minor: u32) -> &mut Self {
        let mut header = header(EntryType::Char, 0o666);
        header.set_device_major(major).and_then(|()| header.set_device_minor(minor)).expect("a UStar header");
        self.entries.push((header, format!("./{path}").into_bytes(), String::new(), Vec::new()));
        self
    }

    /// Gives the member that was added last to another user and group.
    pub fn owned_by(&mut self, uid: u32, gid: u32) -> &mut Self {
        if let Some((header, ..)) = self.entries.last_mut() {
            header.set_uid(uid.into());
            header.set_gid(gid.into());
        }
        self
    }

    /// Adds a member under any name, `..` and leading slashes included: a lie for tests of unpacking.
    pub fn lie(&mut self, kind: EntryType, name: &str, target: &str, content: &[u8]) -> &mut Self {
        self.push(kind, 0o644, name, target, content.to_vec())
    }

    /// Adds a regular file whose name need not be text.
    pub fn lie_bytes(&mut self, name: &[u8], content: &[u8]) -> &mut Self {
        self.entries.push((header(EntryType::Regular, 0o644), name.to_vec(), String::new(), content.to_vec()));
        self
    }

    /// Adds all members of another archive.
    pub(crate) fn append(&mut self, other: &Self) {
        self.entries.extend_from_slice(&other.entries);
    }

    /// The archive, not compressed.
    pub fn to_tar(&self) -> Vec<u8> {
        let mut archive = Builder::new(Vec::new());
        for (header, name, target, content) in &self.entries {
            let mut header = header.clone();
            header.set_size(content.len() as u64);
            write_text(&mut header.as_ustar_mut().expect("a UStar header").name, name);
            write_text(&mut header.as_ustar_mut().expect("a UStar header").linkname, target.as_bytes());
            header.set_cksum();
            archive.append(&header, content.as_slice()).expect("memory takes all bytes");
        }
        archive.into_inner().expect("memory takes all bytes")
    }

    fn push(&mut self, kind: EntryType, mode: u32, name: &str, target: &str, content: Vec<u8>) -> &mut Self {
        self.entries.push((header(kind, mode), name.as_bytes().to_vec(), target.to_owned(), content));
        self
    }
}

/// Compresses into an `.xz` of several blocks, as the builder's files are.
pub(crate) fn xz(plain: &[u8]) -> Vec<u8> {
    let stream = xz2::stream::MtStreamBuilder::new().threads(1).preset(0).block_size(64 << 10).encoder();
    let mut encoder = xz2::write::XzEncoder::new_stream(Vec::new(), stream.expect("valid xz options"));
    encoder.write_all(plain).expect("memory takes all bytes");
    encoder.finish().expect("memory takes all bytes")
}

fn header(kind: EntryType, mode: u32) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(MODIFIED);
    header
}

/// Names go into the header as they are: the setters of the library refuse the lies that tests need.
fn write_text(field: &mut [u8], text: &[u8]) {
    field.get_mut(..text.len()).expect("a name of at most 100 bytes").copy_from_slice(text);
}

const MODIFIED: u64 = 1_795_411_320;
