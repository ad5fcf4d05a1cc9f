//! Extended headers, read by their lengths: values may contain newlines and zero bytes.

use std::collections::BTreeMap;

/// What the records of a member's extended header say. An empty value takes a record back (POSIX.1-2001, pax).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Overrides {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) user: Option<u64>,
    pub(super) group: Option<u64>,
    pub(super) mtime: Option<Time>,
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) acl_access: Option<Vec<u8>>,
    pub(super) acl_default: Option<Vec<u8>>,
    pub(super) sparse: SparseRecords,
}

/// The records of GNU tar's sparse formats 0.0, 0.1 and 1.0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SparseRecords {
    pub(super) major: Option<u64>,
    pub(super) minor: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    /// Offsets and lengths of the parts that are no holes, for the formats that keep them here.
    pub(super) map: Option<Vec<(u64, u64)>>,
    offset: Option<u64>,
}

/// A point in time to the nanosecond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Time {
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
}

impl Overrides {
    /// Adds the records of an extended header; an error says what is wrong with them.
    pub(super) fn read(&mut self, mut records: &[u8]) -> Result<(), &'static str> {
        while !records.is_empty() {
            let space =
                records.iter().take(LENGTH_DIGITS).position(|byte| *byte == b' ').ok_or("a record has no length")?;
            let length = records.get(..space).and_then(number).and_then(|length| usize::try_from(length).ok());
            let length = length.ok_or("the length of a record is no number")?;
            let record = records.get(space + 1..length).ok_or("a record is longer or shorter than its length")?;
            let record = record.strip_suffix(b"\n").ok_or("a record does not end where its length says")?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or("a record has no value")?;
            let (key, value) = (record.get(..equals).unwrap_or_default(), record.get(equals + 1..).unwrap_or_default());
            self.set(key, value)?;
            records = records.get(length..).unwrap_or_default();
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        let bytes = (!value.is_empty()).then(|| value.to_vec());
        let parsed = || if value.is_empty() { Ok(None) } else { number(value).map(Some).ok_or("a number is none") };
        match key {
            b"path" => self.path = bytes,
            b"linkpath" => self.link = bytes,
            b"size" => self.size = parsed()?,
            b"uid" => self.user = parsed()?,
            b"gid" => self.group = parsed()?,
            b"mtime" => self.mtime = bytes.map(|_| time(value).ok_or("a time is none")).transpose()?,
            b"SCHILY.acl.access" => self.acl_access = bytes,
            b"SCHILY.acl.default" => self.acl_default = bytes,
            b"GNU.sparse.major" => self.sparse.major = parsed()?,
            b"GNU.sparse.minor" => self.sparse.minor = parsed()?,
            b"GNU.sparse.name" => self.sparse.name = bytes,
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => self.sparse.size = parsed()?,
            b"GNU.sparse.map" => self.sparse.map = Some(map(value).ok_or("a sparse map is none")?),
            b"GNU.sparse.offset" => self.sparse.offset = parsed()?,
            b"GNU.sparse.numbytes" => {
                let offset = self.sparse.offset.take().ok_or("a sparse part has no offset")?;
                let length = number(value).ok_or("a number is none")?;
                self.sparse.map.get_or_insert_default().push((offset, length));
            }
            b"GNU.sparse.numblocks" => self.sparse.map = Some(Vec::new()),
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    let name = xattr_name(name);
                    if name.is_empty() || name.contains(&0) {
                        return Err("an extended attribute has no valid name");
                    }
                    self.xattrs.insert(name, value.to_vec());
                }
            }
        }
        Ok(())
    }
}

/// Decimal digits and nothing else.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// Seconds with an optional sign and fraction. What is finer than a nanosecond is cut off.
fn time(text: &[u8]) -> Option<Time> {
    let (negative, text) = text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest));
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let seconds = i64::try_from(number(parts.next()?)?).ok()?;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(9);
    let nanoseconds = digits.fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
    Some(match (negative, nanoseconds) {
        (false, _) => Time { seconds, nanoseconds },
        (true, 0) => Time { seconds: -seconds, nanoseconds },
        (true, _) => Time { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds },
    })
}

/// `OFFSET,LENGTH,OFFSET,LENGTH…`
fn map(text: &[u8]) -> Option<Vec<(u64, u64)>> {
    let mut numbers = text.split(|byte| *byte == b',').map(number);
    let mut map = Vec::new();
    while let Some(offset) = numbers.next() {
        map.push((offset?, numbers.next()??));
    }
    Some(map)
}

/// GNU tar writes `=` in the name of an attribute as `%3D`, and `%` as `%25`.
fn xattr_name(mut key: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(key.len());
    while let [first, rest @ ..] = key {
        let (byte, rest) = match key {
            [b'%', b'3', b'D', rest @ ..] => (b'=', rest),
            [b'%', b'2', b'5', rest @ ..] => (b'%', rest),
            _ => (*first, rest),
        };
        name.push(byte);
        key = rest;
    }
    name
}

/// More digits than the length of any record has.
const LENGTH_DIGITS: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(records: &[u8]) -> Result<Overrides, &'static str> {
        let mut overrides = Overrides::default();
        overrides.read(records).map(|()| overrides)
    }

    /// A record with the length it has.
    fn record(text: &str) -> Vec<u8> {
        let length =
            (text.len()..=text.len() + 9).find(|length| length.to_string().len() + text.len() + 2 == *length).unwrap();
        format!("{length} {text}\n").into_bytes()
    }

    #[test]
    fn a_newline_in_a_value_does_not_end_the_record() {
        let overrides = read(&[record("SCHILY.xattr.user.a=1\n2=3"), record("path=a\nb")].concat()).unwrap();
        assert_eq!(overrides.xattrs[b"user.a".as_slice()], b"1\n2=3");
        assert_eq!(overrides.path.unwrap(), b"a\nb");
    }

    #[test]
    fn the_last_record_of_a_key_counts_and_an_empty_one_takes_it_back() {
        assert_eq!(read(b"10 path=a\n10 path=b\n").unwrap().path.unwrap(), b"b");
        assert_eq!(read(b"10 path=a\n8 path=\n").unwrap().path, None);
    }

    #[test]
    fn times_have_signs_and_fractions() {
        for (text, seconds, nanoseconds) in [
            ("12", 12, 0),
            ("12.5", 12, 500_000_000),
            ("-1.25", -2, 750_000_000),
            ("-3", -3, 0),
            ("0.1234567899", 0, 123_456_789),
        ] {
            assert_eq!(time(text.as_bytes()), Some(Time { seconds, nanoseconds }), "{text}");
        }
        for text in ["", "-", "1.x", "1e3", " 1", "99999999999999999999"] {
            assert_eq!(time(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn records_that_lie_about_their_length_are_refused() {
        for records in [
            &b"10 path=abc\n"[..],
            b"0 path=a\n",
            b"99 path=a\n",
            b"path=a\n",
            b"5 a\n",
            b"x",
            b"3 \n",
            b"18446744073709551616 a=b\n",
        ] {
            assert!(read(records).is_err(), "{}", String::from_utf8_lossy(records));
        }
    }

    #[test]
    fn sparse_maps_are_read_from_one_record_or_from_many() {
        let many = ["offset=0", "numbytes=5", "offset=90", "numbytes=1"];
        let many = read(&many.map(|text| record(&format!("GNU.sparse.{text}"))).concat());
        let one = read(&record("GNU.sparse.map=0,5,90,1"));
        assert_eq!(many.unwrap().sparse.map.unwrap(), [(0, 5), (90, 1)]);
        assert_eq!(one.unwrap().sparse.map.unwrap(), [(0, 5), (90, 1)]);
        assert!(read(&record("GNU.sparse.map=0,5,")).is_err());
    }

    #[test]
    fn the_escapes_in_the_name_of_an_attribute_are_undone() {
        assert_eq!(xattr_name(b"user.a%3Db%25c%"), b"user.a=b%c%");
    }
}
