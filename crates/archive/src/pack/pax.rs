//! Extended headers of POSIX.1-2001: records `LENGTH KEY=VALUE\n`, where the length counts itself.

use crate::acl;

/// The records of one extended header.
#[derive(Default)]
pub(super) struct Records {
    bytes: Vec<u8>,
}

impl Records {
    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while rest + digits(length) != length {
            length = rest + digits(length);
        }
        for part in [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"] {
            self.bytes.extend_from_slice(part);
        }
    }

    /// An extended attribute; an access control list as text, too. A key ends at the first `=`, so GNU tar writes `=` in a name as `%3D`, and `%` as `%25`.
    pub(super) fn push_xattr(&mut self, name: &[u8], value: &[u8]) {
        let mut key = b"SCHILY.xattr.".to_vec();
        for byte in name {
            match byte {
                b'=' => key.extend_from_slice(b"%3D"),
                b'%' => key.extend_from_slice(b"%25"),
                other => key.push(*other),
            }
        }
        self.push(&key, value);
        let text_key: &[u8] = match name {
            acl::ACCESS => b"SCHILY.acl.access",
            acl::DEFAULT => b"SCHILY.acl.default",
            _ => return,
        };
        if let Some(text) = acl::to_text(value) {
            self.push(text_key, text.as_bytes());
        }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_record_counts_its_own_digits() {
        for value_bytes in [0, 1, 85, 86, 87, 88, 89, 90, 984, 985, 986, 987, 9_980, 9_985, 100_000] {
            let mut records = Records::default();
            records.push(b"path", &vec![b'x'; value_bytes]);
            let bytes = records.into_bytes();
            let stated: usize = String::from_utf8_lossy(&bytes).split(' ').next().unwrap().parse().unwrap();
            assert_eq!(stated, bytes.len(), "{value_bytes}");
        }
    }

    #[test]
    fn an_equals_sign_in_the_name_of_an_attribute_does_not_end_the_key() {
        let mut records = Records::default();
        records.push_xattr(b"user.a=b%", b"c=d");
        assert_eq!(records.into_bytes(), b"34 SCHILY.xattr.user.a%3Db%25=c=d\n");
    }
}
