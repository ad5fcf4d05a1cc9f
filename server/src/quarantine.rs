//! Quarantine: where damaged builds go.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use fs_err as fs;

use crate::channel::{Channel, ChannelError};
use crate::data::Writer;
use crate::files;
use crate::store::{BuildId, Store};

/// Moves a build out of the store and keeps it, for people to look at; `None` when the store does not have it. It can
/// be imported again.
pub fn quarantine(writer: &Writer, build: &BuildId) -> io::Result<Option<PathBuf>> {
    let place = Store::new(writer).directory(build);
    let parent = writer.quarantine().join(build.image.to_string());
    fs::create_dir_all(&parent)?;
    let numbered = |number: u32| {
        let suffix = if number == 1 { String::new() } else { format!(".{number}") };
        parent.join(format!("{}{suffix}", build.serial))
    };
    let Some(aside) = (1..MOST_COPIES).map(numbered).find(|aside| !aside.exists()) else {
        let reason = format!("`{}` holds too many copies of one build", parent.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, reason));
    };
    match fs::rename(&place, &aside) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    files::sync_parent(&place)?;
    files::sync_parent(&aside)?;
    Ok(Some(aside))
}

/// Takes builds out of every channel, for good; whether any channel had one.
pub fn deselect(writer: &Writer, builds: &BTreeSet<BuildId>) -> Result<bool, ChannelError> {
    let mut any = false;
    for mut channel in Channel::all(writer)? {
        if channel.forget(builds) {
            channel.write(writer)?;
            any = true;
        }
    }
    Ok(any)
}

const MOST_COPIES: u32 = 100;
