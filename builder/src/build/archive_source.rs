//! Unpacking an archive of this machine as the first tree.

use std::io::Read;
use std::path::Path;

use archive::unpack::{UnpackOptions, unpack as unpack_tar};
use archive::xz::{DecodeLimits, Decoder};

use super::BuildError;

/// Unpacks `path`, a `.tar` or `.tar.xz`, as the new directory `tree`.
pub(crate) fn unpack(path: &Path, tree: &Path) -> Result<(), BuildError> {
    let file = fs_err::File::open(path)?;
    let compressed = path.extension().is_some_and(|extension| extension == "xz");
    let tar: Box<dyn Read> =
        if compressed { Box::new(Decoder::new(file, &DecodeLimits::default())?) } else { Box::new(file) };
    fs_err::create_dir(tree)?;
    unpack_tar(tar, tree, &UnpackOptions::for_this_process()?)?;
    Ok(())
}
