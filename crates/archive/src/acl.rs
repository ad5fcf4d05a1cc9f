//! POSIX access control lists: the form of the kernel (the attribute `system.posix_acl_*`) and the text of star and GNU
//! tar (the record `SCHILY.acl.*`).
//!
//! Archives carry both. GNU tar with `--acls` reads the text alone and takes away a list that only the attribute has;
//! without `--acls` it reads the attribute alone.

/// The attribute `system.posix_acl_*` for a text such as `user::rw-,user:1000:r--,group::r--,mask::r--,other::---`, or
/// nothing when it names a user or group that has no number here.
///
/// Entries are separated by commas or newlines. star appends the number as a fourth field; GNU tar with
/// `--numeric-owner` writes it in place of the name. A name alone means a different user on every host, so it counts
/// only when it is `root`.
pub(crate) fn from_text(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut entries = Vec::new();
    for entry in text.split([',', '\n']) {
        let entry = entry.split('#').next().unwrap_or_default().trim();
        if !entry.is_empty() {
            entries.push(self::entry(entry)?);
        }
    }
    // The kernel wants the order of tags, and within a tag the order of ids.
    entries.sort_unstable();
    let mut value = VERSION.to_le_bytes().to_vec();
    for (tag, id, permissions) in entries {
        value.extend_from_slice(&tag.to_le_bytes());
        value.extend_from_slice(&permissions.to_le_bytes());
        value.extend_from_slice(&id.to_le_bytes());
    }
    Some(value)
}

/// The text of a list, with numbers for names, or nothing when it is no list.
pub(crate) fn to_text(list: &[u8]) -> Option<String> {
    let entries = list.strip_prefix(&VERSION.to_le_bytes())?;
    let mut text = String::new();
    for entry in entries.chunks(ENTRY_BYTES) {
        let [tag, 0, permissions, 0, id @ ..] = entry else { return None };
        let id = u32::from_le_bytes(id.try_into().ok()?);
        let (kind, is_named) = match tag {
            0x01 => ("user", false),
            0x02 => ("user", true),
            0x04 => ("group", false),
            0x08 => ("group", true),
            0x10 => ("mask", false),
            0x20 => ("other", false),
            _ => return None,
        };
        let id = if is_named { id.to_string() } else { String::new() };
        let letter = |bit: u8, letter: char| if permissions & bit == 0 { '-' } else { letter };
        let separator = if text.is_empty() { "" } else { "," };
        text.extend([separator, kind, ":", &id, ":"]);
        text.extend([letter(4, 'r'), letter(2, 'w'), letter(1, 'x')]);
    }
    Some(text)
}

/// The attribute of the list that decides access, and of the one that directories hand on.
pub(crate) const ACCESS: &[u8] = b"system.posix_acl_access";
pub(crate) const DEFAULT: &[u8] = b"system.posix_acl_default";

/// Tag, id and permissions of one entry.
fn entry(text: &str) -> Option<(u16, u32, u16)> {
    let mut fields = text.split(':').map(str::trim);
    let (kind, qualifier) = (fields.next()?, fields.next()?);
    let (permissions, number) = match (fields.next(), fields.next()) {
        // `other:r--` and `mask:r--` have no qualifier field in older texts.
        (None, _) => return self::entry(&format!("{kind}::{qualifier}")),
        (Some(permissions), number) => (permissions, number),
    };
    let (owner, named) = match kind {
        "user" | "u" => (0x01, 0x02),
        "group" | "g" => (0x04, 0x08),
        "mask" | "m" => (0x10, 0x10),
        "other" | "o" => (0x20, 0x20),
        _ => return None,
    };
    let (tag, id) = match (qualifier, number) {
        ("", _) => (owner, NO_ID),
        ("root", None) => (named, 0),
        (_, Some(number)) | (number, None) => (named, number.parse().ok()?),
    };
    let mut bits = 0;
    for letter in permissions.chars() {
        bits |= match letter {
            'r' => 4,
            'w' => 2,
            'x' => 1,
            '-' => 0,
            _ => return None,
        };
    }
    Some((tag, id, bits))
}

/// `POSIX_ACL_XATTR_VERSION` and `ACL_UNDEFINED_ID` of the kernel.
const VERSION: u32 = 2;
const NO_ID: u32 = u32::MAX;
const ENTRY_BYTES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_texts_of_a_list_give_the_form_of_the_kernel() {
        let numeric = from_text(b"user::rw-\nuser:1000:r--\ngroup::r--\nmask::r--\nother::---\n").unwrap();
        let star = from_text(b"user::rw-,user:joe:r--:1000,group::r--,mask::r--,other::---").unwrap();
        assert_eq!(numeric, star);
        assert_eq!(numeric.len(), 4 + 5 * 8);
        assert_eq!(numeric[12..20], [2, 0, 4, 0, 0xe8, 3, 0, 0]);
    }

    #[test]
    fn a_list_survives_its_own_text() {
        let text = "user::rwx,user:7:r-x,group::r--,group:4000000:-w-,mask::rwx,other::---";
        assert_eq!(to_text(&from_text(text.as_bytes()).unwrap()).unwrap(), text);
        for no_list in [&b""[..], b"\x03\0\0\0", b"\x02\0\0\0\x01", b"\x02\0\0\0\xff\0\0\0\0\0\0\0"] {
            assert_eq!(to_text(no_list), None, "{no_list:?}");
        }
    }

    #[test]
    fn a_name_without_a_number_is_not_guessed() {
        assert_eq!(from_text(b"user::rw-,user:joe:r--"), None);
        assert!(from_text(b"user::rw-,user:root:r--").is_some());
    }

    #[test]
    fn text_that_is_no_list_is_refused() {
        for text in [&b"user"[..], b"user::rq-", b"nobody::rw-", b"\xff::rw-", b"user"] {
            assert_eq!(from_text(text), None, "{}", String::from_utf8_lossy(text));
        }
    }
}
