//! Whose a place in an object store is.

use std::io;

use serde::{Deserialize, Serialize};

use super::Objects;
use super::client::Client;
use crate::store::settings::{Settings, SettingsError};

/// What came of taking a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Nobody wrote there before.
    New,
    /// It was this data directory's already.
    Ours,
    /// It was another's, and is no longer.
    TakenOver,
}

/// `owner.json`: the data directory that writes below the prefix. The lock of a data directory keeps its own processes
/// apart; this keeps apart data directories, which know nothing of one another.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Owner {
    format: Format,
    owner: String,
}

#[derive(Debug, Serialize, Deserialize)]
enum Format {
    #[serde(rename = "rootcellar-store:1")]
    V1,
}

impl Objects {
    /// Takes a place for the data directory of the settings, and finds out whether it can be written and read.
    pub(crate) fn claim(settings: &Settings, take_over: bool) -> Result<Claim, SettingsError> {
        let client = Client::open(settings)?;
        let claim = match client.owner_there()? {
            None => Claim::New,
            Some(owner) if owner == settings.owner => Claim::Ours,
            Some(_) if take_over => Claim::TakenOver,
            Some(_) => return Err(SettingsError::Owned { place: settings.place.to_string() }),
        };
        let owner = Owner { format: Format::V1, owner: settings.owner.clone() };
        client.put(OWNER, serde_json::to_vec_pretty(&owner).map_err(io::Error::other)?)?;
        client.put(PROBE, b"can this be removed?\n".to_vec())?;
        client.remove(PROBE)?;
        client.expect_owner()?;
        Ok(claim)
    }
}

impl Client {
    /// Fails unless the place is this data directory's.
    pub(super) fn expect_owner(&self) -> io::Result<()> {
        let found = match self.owner_there()? {
            Some(owner) if owner == self.owner => return Ok(()),
            Some(_) => "another data directory",
            None => "nobody",
        };
        let place = self.url("");
        let place = place.trim_end_matches('/');
        Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("`{place}` belongs to {found}: expected this one")))
    }

    fn owner_there(&self) -> io::Result<Option<String>> {
        let Some(json) = self.read(OWNER, MOST_BYTES)? else { return Ok(None) };
        let owner: Owner = serde_json::from_slice(&json).map_err(|error| {
            let reason = format!("`{}` is not ours: {error}", self.url(OWNER));
            io::Error::new(io::ErrorKind::InvalidData, reason)
        })?;
        Ok(Some(owner.owner))
    }
}

const OWNER: &str = "owner.json";
const PROBE: &str = "probe";
const MOST_BYTES: u64 = 4096;
