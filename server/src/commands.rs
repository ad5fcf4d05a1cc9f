//! One file per command: what it takes, and what it does.

pub mod delta;
pub mod export;
pub mod import;
pub mod keys;
pub mod list;
pub mod pin;
pub mod promote;
pub mod prune;
pub mod publish;
pub mod rollback;
pub mod serve;
pub mod store;
pub mod token;
pub mod verify;

use std::time::SystemTime;

use formats::time::{Span, Timestamp};

use crate::cli::Context;
use crate::data::Writer;
use crate::error::Error;
use crate::keys::Keys;
use crate::publish::{Published, Publisher};

/// The keys of this server; made now, and announced, if there are none yet.
fn keys_for(writer: &Writer, context: &Context) -> Result<Keys, Error> {
    let now = Timestamp::from(SystemTime::now());
    Ok(Keys::load_or_make(writer, &host_name(), now, &context.printer)?)
}

/// Makes a new generation and says so.
fn publish_now(writer: &Writer, validity: Span, context: &Context) -> Result<Published, Error> {
    let keys = keys_for(writer, context)?;
    let new = Publisher::new(writer).publish(writer, &keys, context.now(), validity, &context.printer)?;
    publish::announce(&new, context);
    Ok(new)
}

/// The name of this machine.
pub(crate) fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

/// How long a generation is valid when nothing else is said.
pub(crate) const DEFAULT_VALIDITY: Span = Span::from_days(2);
