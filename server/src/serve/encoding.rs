//! Smaller forms of JSON documents, for clients that ask for them (RFC 9110 section 12.5.3).

use std::io::{self, Write};

use axum::http::{HeaderMap, HeaderValue, header};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use formats::digest::Sha256;

use super::document::{Content, etag};

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// The better one.
    Zstd,
    /// The one that everybody knows.
    Gzip,
}

/// A document in a coding. It is another representation than the plain one, so its entity tag is another.
#[derive(Clone, Debug)]
pub(super) struct Encoded {
    pub(super) coding: Coding,
    pub(super) content: Content,
    pub(super) etag: HeaderValue,
}

impl Coding {
    const ALL: [Self; 2] = [Self::Zstd, Self::Gzip];

    /// Its name in header fields.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    /// Whether a client takes it. One that says nothing, or says `*` only, gets the plain form.
    pub(super) fn is_accepted(self, headers: &HeaderMap) -> bool {
        let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|choice| {
            let (name, weight) = choice.split_once(';').unwrap_or((choice, ""));
            let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
            name.trim().eq_ignore_ascii_case(self.name()) && weight.is_none_or(|weight| weight > 0.0)
        })
    }

    fn encode(self, parts: &[Bytes]) -> io::Result<Vec<u8>> {
        let write = |encoder: &mut dyn Write| parts.iter().try_for_each(|part| encoder.write_all(part));
        match self {
            Self::Zstd => {
                let mut encoder = zstd::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
                write(&mut encoder)?;
                encoder.finish()
            }
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                write(&mut encoder)?;
                encoder.finish()
            }
        }
    }
}

/// A document in every coding that makes it smaller, the better coding first.
pub(super) fn encodings(parts: &[Bytes], size_bytes: u64) -> Vec<Encoded> {
    let encode = |coding: Coding| {
        let encoded = coding.encode(parts).ok().filter(|encoded| (encoded.len() as u64) < size_bytes)?;
        let etag = etag(&Sha256::of(&encoded));
        Some(Encoded { coding, content: Bytes::from(encoded).into(), etag })
    };
    Coding::ALL.into_iter().filter_map(encode).collect()
}

const ZSTD_LEVEL: i32 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coding_is_used_only_for_those_who_name_it() {
        for (value, expected) in [
            ("gzip", [false, true]),
            ("zstd, gzip;q=0.5", [true, true]),
            ("GZIP;q=1.0, zstd;q=0", [false, true]),
            ("gzip; q=0.000", [false, false]),
            ("identity", [false, false]),
            ("*", [false, false]),
            ("", [false, false]),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(value))]);
            assert_eq!(Coding::ALL.map(|coding| coding.is_accepted(&headers)), expected, "{value}");
        }
        assert!(!Coding::Gzip.is_accepted(&HeaderMap::new()));
    }

    #[test]
    fn what_would_grow_stays_plain() {
        assert_eq!(encodings(&[Bytes::from_static(b"{}")], 2).len(), 0);
        let parts = vec![Bytes::from_static(b"rootcellar "); 100];
        let [zstd, gzip] = <[Encoded; 2]>::try_from(encodings(&parts, 1100)).unwrap();
        assert!(zstd.etag != gzip.etag && zstd.coding == Coding::Zstd && gzip.coding == Coding::Gzip);
    }
}
