//! `rootcellar-builder pack SPEC ROOTFS`

use std::path::PathBuf;

use terminal::{ExitStatus, Printer};

use super::CommandError;
use super::build::{BuildArgs, Request, tell};

/// Make an image of a tree that is there already.
///
/// Everything without a type has been done in it, as after distrobuilder's `build-dir`: what is left are the packages
/// and actions of type `container`, the files and the `post-files` actions. The tree itself is not changed.
#[derive(Debug, clap::Args)]
pub(crate) struct PackArgs {
    #[command(flatten)]
    build: BuildArgs,
    /// The tree.
    #[arg(value_name = "ROOTFS")]
    tree: PathBuf,
}

/// Packs, and prints where the build is.
pub(crate) fn run(args: &PackArgs, printer: &Printer) -> Result<ExitStatus, CommandError> {
    if !args.tree.is_dir() {
        let source = std::io::ErrorKind::NotADirectory.into();
        return Err(CommandError::Directory { path: args.tree.clone(), source });
    }
    let outcome = Request::of(&args.build, Some(&args.tree))?.carry_out(true, None, printer)?;
    Ok(tell(outcome, args.build.format, printer))
}
