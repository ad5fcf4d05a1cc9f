//! `rootcellar-server pin` and `unpin`.

use clap::Args;
use terminal::ExitStatus;

use crate::cli::Context;
use crate::error::Error;
use crate::retention::{RetentionError, pins, write_pins};
use crate::store::{BuildId, Store};

/// Keep builds whatever `prune` is told.
#[derive(Debug, Args)]
pub struct PinArgs {
    /// A build, such as `debian/trixie/amd64/default@20261123_0522`.
    #[arg(required = true, value_name = "IMAGE@SERIAL")]
    builds: Vec<BuildId>,
}

/// Let `prune` remove builds again.
#[derive(Debug, Args)]
pub struct UnpinArgs {
    /// A build that is pinned.
    #[arg(required = true, value_name = "IMAGE@SERIAL")]
    builds: Vec<BuildId>,
}

/// Runs `rootcellar-server pin`.
pub fn pin(args: &PinArgs, context: &Context) -> Result<ExitStatus, Error> {
    let writer = context.data.write(&context.printer)?;
    let (store, mut pinned) = (Store::new(&writer), pins(&writer)?);
    for build in &args.builds {
        if store.record(build)?.is_none() {
            return Err(RetentionError::NoBuild { build: Box::new(build.clone()), pinned: false }.into());
        }
        pinned.insert(build.clone());
    }
    write_pins(&writer, pinned)?;
    Ok(ExitStatus::Done)
}

/// Runs `rootcellar-server unpin`.
pub fn unpin(args: &UnpinArgs, context: &Context) -> Result<ExitStatus, Error> {
    let writer = context.data.write(&context.printer)?;
    let mut pinned = pins(&writer)?;
    for build in &args.builds {
        if !pinned.remove(build) {
            return Err(RetentionError::NoBuild { build: Box::new(build.clone()), pinned: true }.into());
        }
    }
    write_pins(&writer, pinned)?;
    Ok(ExitStatus::Done)
}
