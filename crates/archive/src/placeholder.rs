//! Devices in trees that are made where nobody may make devices.
//!
//! No user namespace may make character and block devices (mknod(2), EPERM), and a tree that is built in one must still
//! become the same archive as one built by the host's root. A placeholder is a regular file with owner, mode and times of
//! the device and the extended attribute `user.rootcellar.device`, whose value is `c 1 3` for `/dev/null`. It is packed
//! as the device it stands for. Archives of others cannot bring placeholders: the attribute is dropped when they are
//! unpacked.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

/// The attribute that makes a file a placeholder.
pub(crate) const ATTRIBUTE: &[u8] = b"user.rootcellar.device";

/// A device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// A block device; else a character device.
    pub is_block: bool,
    /// Its major number.
    pub major: u32,
    /// Its minor number.
    pub minor: u32,
}

impl Device {
    /// Makes a file that stands for this device, with no content and mode 0600. Fails where something is already.
    pub fn create(self, path: &Path) -> io::Result<File> {
        let file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
        self.mark(file.as_fd())?;
        Ok(file)
    }

    /// The device that the regular file at `path` stands for, if it stands for any. Links are not followed.
    pub fn at(path: &Path) -> io::Result<Option<Self>> {
        let mut value = [0; LARGEST];
        match rustix::fs::lgetxattr(path, ATTRIBUTE, &mut value) {
            Ok(bytes) => Ok(Self::parse(value.get(..bytes).unwrap_or_default())),
            Err(Errno::NODATA | Errno::NOTSUP | Errno::RANGE) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Makes an open file a placeholder.
    pub(crate) fn mark(self, file: BorrowedFd<'_>) -> rustix::io::Result<()> {
        rustix::fs::fsetxattr(file, ATTRIBUTE, self.to_string().as_bytes(), XattrFlags::empty())
    }

    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let mut words = text.split(' ');
        let is_block = match words.next()? {
            "b" => true,
            "c" => false,
            _ => return None,
        };
        let mut number = || words.next()?.parse().ok();
        let (major, minor) = (number()?, number()?);
        words.next().is_none().then_some(Self { is_block, major, minor })
    }
}

/// The value of the attribute: `c 1 3`.
impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", if self.is_block { 'b' } else { 'c' }, self.major, self.minor)
    }
}

/// More than two numbers and a letter take.
const LARGEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_survives_its_placeholder() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("null");
        let null = Device { is_block: false, major: 1, minor: 3 };
        drop(null.create(&path).unwrap());
        assert_eq!(Device::at(&path).unwrap(), Some(null));
        assert!(null.create(&path).is_err(), "what is there was replaced");
        std::fs::write(directory.path().join("plain"), "").unwrap();
        assert_eq!(Device::at(&directory.path().join("plain")).unwrap(), None);
    }

    #[test]
    fn text_that_names_no_device_is_none() {
        for text in ["", "c", "c 1", "c 1 3 4", "x 1 3", "c -1 3", "c 1 99999999999", "c  1 3"] {
            assert_eq!(Device::parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(Device::parse(b"b 7 0"), Some(Device { is_block: true, major: 7, minor: 0 }));
    }
}
