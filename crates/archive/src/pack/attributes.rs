//! Extended attributes, read for packing.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use crate::ids::IdMaps;

/// Reads the extended attributes that belong to an image.
pub(super) struct Attributes<'a> {
    ids: &'a IdMaps,
    names: Vec<u8>,
    value: Vec<u8>,
}

impl<'a> Attributes<'a> {
    pub(super) fn new(ids: &'a IdMaps) -> Self {
        Self { ids, names: vec![0; LARGEST], value: vec![0; LARGEST] }
    }

    /// The attributes of an open file or directory, sorted by name.
    pub(super) fn of_file(&mut self, file: BorrowedFd<'_>) -> rustix::io::Result<Xattrs> {
        let listed = rustix::fs::flistxattr(file, self.names.as_mut_slice());
        self.read(listed, |name, value| rustix::fs::fgetxattr(file, name, value))
    }

    /// The attributes of what is only opened as a path: links, fifos and devices.
    pub(super) fn of_node(&mut self, node: BorrowedFd<'_>) -> rustix::io::Result<Xattrs> {
        let path = format!("/proc/self/fd/{}", node.as_raw_fd());
        let listed = rustix::fs::listxattr(&path, self.names.as_mut_slice());
        self.read(listed, |name, value| rustix::fs::getxattr(&path, name, value))
    }

    fn read(
        &mut self,
        listed: rustix::io::Result<usize>,
        get: impl Fn(&[u8], &mut [u8]) -> rustix::io::Result<usize>,
    ) -> rustix::io::Result<Xattrs> {
        let names_bytes = match listed {
            Ok(0) | Err(Errno::NOTSUP) => return Ok(Vec::new()),
            Ok(bytes) => bytes,
            Err(errno) => return Err(errno),
        };
        let mut xattrs = Vec::new();
        for name in self.names.get(..names_bytes).unwrap_or_default().split(|byte| *byte == 0) {
            if belongs_to_image(name) {
                let value_bytes = match get(name, self.value.as_mut_slice()) {
                    Err(Errno::NODATA) => continue,
                    other => other?,
                };
                let value = self.value.get(..value_bytes).unwrap_or_default().to_vec();
                xattrs.push((name.to_vec(), self.as_inside(name, value)));
            }
        }
        xattrs.sort();
        Ok(xattrs)
    }

    /// A value as it reads inside of the user namespace: ids in access control lists are translated, and a capability
    /// that holds for the namespace's root only becomes one that holds for root.
    fn as_inside(&self, name: &[u8], mut value: Vec<u8>) -> Vec<u8> {
        if self.ids.is_identity() {
            return value;
        }
        if name.starts_with(b"system.posix_acl_") {
            // A version, then entries of tag, permissions (16 bits each) and id (32 bits), all little endian.
            for entry in value.get_mut(4..).unwrap_or_default().chunks_exact_mut(8) {
                let [tag, _, _, _, id @ ..] = entry else { continue };
                let map = match tag {
                    0x02 => &self.ids.users,
                    0x08 => &self.ids.groups,
                    _ => continue,
                };
                let outside = id.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte));
                if let Some(inside) = map.to_inside(outside) {
                    id.copy_from_slice(&inside.to_le_bytes());
                }
            }
        } else if name == b"security.capability" && value.len() == 24 && value.get(3) == Some(&3) {
            // Revision 3 is revision 2 and the id of the root it holds for (capabilities(7)).
            value.truncate(20);
            if let Some(revision) = value.get_mut(3) {
                *revision = 2;
            }
        }
        value
    }
}

/// Names and values.
type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// Labels and measurements (`SELinux`, IMA, EVM) belong to the host that makes them, overlay's marks to a mount.
fn belongs_to_image(name: &[u8]) -> bool {
    let overlay = name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.");
    let wanted: [&[u8]; 5] =
        [b"security.capability", b"system.posix_acl_access", b"system.posix_acl_default", b"user.", b"trusted."];
    !overlay && wanted.iter().any(|prefix| name.starts_with(prefix))
}

/// The kernel's limit of one value, and of one list of names (`XATTR_SIZE_MAX`, `XATTR_LIST_MAX`).
const LARGEST: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{IdMap, IdRange};

    fn shifted() -> IdMaps {
        let map = IdMap::new(vec![IdRange { inside: 0, outside: 100_000, count: 65536 }]);
        IdMaps { users: map.clone(), groups: map }
    }

    #[test]
    fn ids_in_an_access_control_list_are_those_inside() {
        let ids = shifted();
        let entry = |tag: u16, id: u32| [&tag.to_le_bytes()[..], &[4, 0], &id.to_le_bytes()].concat();
        let list = |user: u32| [vec![2, 0, 0, 0], entry(1, u32::MAX), entry(2, user), entry(0x20, u32::MAX)].concat();
        let read = Attributes::new(&ids).as_inside(b"system.posix_acl_access", list(101_000));
        assert_eq!(read, list(1000));
    }

    #[test]
    fn a_capability_of_the_namespaces_root_becomes_a_capability_of_root() {
        let ids = shifted();
        let outside = [&[1, 0, 0, 3][..], &[0; 16], &100_000_u32.to_le_bytes()].concat();
        let inside = [&[1, 0, 0, 2][..], &[0; 16]].concat();
        assert_eq!(Attributes::new(&ids).as_inside(b"security.capability", outside), inside);
    }

    #[test]
    fn labels_of_the_host_do_not_belong_to_an_image() {
        for (name, belongs) in [
            (&b"security.capability"[..], true),
            (b"user.x", true),
            (b"security.selinux", false),
            (b"security.ima", false),
            (b"trusted.overlay.opaque", false),
            (b"", false),
        ] {
            assert_eq!(belongs_to_image(name), belongs, "{}", String::from_utf8_lossy(name));
        }
    }
}
