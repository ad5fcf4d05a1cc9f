//! A remote as `client.toml` has it.

use std::path::PathBuf;

use formats::certificate::Fingerprint;
use formats::name::Name;
use serde::{Deserialize, Serialize};

use super::{Remote, ServerUrl, Trust, default_channel, is_default_channel};

/// The keys of the table. Exactly one of them says why the server is trusted.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    url: ServerUrl,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fingerprint: Option<Fingerprint>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trust: Option<Word>,
    #[serde(default = "default_channel", skip_serializing_if = "is_default_channel")]
    channel: Name,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ca: Option<PathBuf>,
}

/// What vouches for a server, where no key does.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Tls,
}

impl TryFrom<Table> for Remote {
    type Error = TrustError;

    fn try_from(table: Table) -> Result<Self, TrustError> {
        let Table { url, fingerprint, trust, channel, ca } = table;
        let trust = match (fingerprint, trust) {
            (Some(fingerprint), None) => Trust::Pinned(fingerprint),
            (None, Some(Word::Tls)) => Trust::Tls,
            (None, None) => return Err(TrustError::Nothing),
            (Some(_), Some(_)) => return Err(TrustError::Both),
        };
        Ok(Self { url, trust, channel, ca })
    }
}

impl From<Remote> for Table {
    fn from(Remote { url, trust, channel, ca }: Remote) -> Self {
        let (fingerprint, trust) = match trust {
            Trust::Pinned(fingerprint) => (Some(fingerprint), None),
            Trust::Tls => (None, Some(Word::Tls)),
        };
        Self { url, fingerprint, trust, channel, ca }
    }
}

/// A remote that does not say clearly why it is trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// Nothing vouches for it.
    #[error("missing field `fingerprint`: expected the server's fingerprint, or `trust = \"tls\"` to do without")]
    Nothing,
    /// A key and its absence.
    #[error("expected either `fingerprint` or `trust = \"tls\"`, found both")]
    Both,
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINGERPRINT: &str = "fingerprint = \"0123456789ABCDEF0123456789ABCDEF01234567\"\n";
    const TLS: &str = "trust = \"tls\"\n";

    fn parse(lines: &[&str]) -> Result<Remote, String> {
        toml::from_str(&format!("url = \"https://h\"\n{}", lines.concat())).map_err(|error| error.to_string())
    }

    #[test]
    fn a_remote_is_trusted_for_its_key_or_for_tls_and_never_for_nothing_or_both() {
        assert!(matches!(parse(&[FINGERPRINT]).unwrap().trust, Trust::Pinned(_)));
        assert_eq!(parse(&[TLS]).unwrap().trust, Trust::Tls);
        assert!(parse(&[]).unwrap_err().contains("`trust = \"tls\"` to do without"));
        assert!(parse(&[FINGERPRINT, TLS]).unwrap_err().contains("found both"));
        assert!(parse(&["trust = \"anything\"\n"]).is_err());
    }

    #[test]
    fn a_remote_is_written_as_it_is_read() {
        for line in [FINGERPRINT, TLS] {
            let remote = parse(&[line]).unwrap();
            let text = toml::to_string(&remote).unwrap();
            assert_eq!(text, format!("url = \"https://h\"\n{line}"));
        }
    }
}
