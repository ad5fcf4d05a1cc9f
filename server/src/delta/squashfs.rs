//! Deltas between squashfs files, for Incus and LXD.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use formats::digest::{FileDigest, Hasher};
use formats::record::{BuildFile, BuildRecord};
use fs_err as fs;

use super::{DeltaError, DeltaId};

/// Makes the delta between two squashfs files, old and new, as the file `place`, and checks with the
/// command line that Incus and LXD use that it gives back the new one.
pub(super) fn make(
    delta: &DeltaId,
    new: &BuildRecord,
    [old, target]: [PathBuf; 2],
    place: &Path,
) -> Result<FileDigest, DeltaError> {
    let window = fs::metadata(&old)?.len().next_power_of_two().clamp(WINDOW_MIN, WINDOW_MAX).to_string();
    // Without external and secondary compression and without file names: plain RFC 3284, the same bytes each time. A
    // squashfs is compressed already; a higher level only takes longer.
    let encode = ["-e", "-1", "-f", "-q", "-D", "-A", "-S", "none", "-B", &window, "-s"];
    let mut encoder = xdelta3(&encode).arg(&old).arg(&target).arg(place).stderr(Stdio::piped()).spawn()?;
    finish(delta, &mut encoder)?;

    let mut decoder =
        xdelta3(&["-d", "-c", "-s"]).arg(&old).arg(place).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut hasher = Hasher::default();
    if let Some(mut result) = decoder.stdout.take() {
        io::copy(&mut result, &mut hasher)?;
    }
    finish(delta, &mut decoder)?;
    let found = hasher.finish();
    match new.files.get(&BuildFile::RootfsSquashfs) {
        Some(expected) if *expected != found => {
            Err(DeltaError::Wrong { delta: Box::new(delta.clone()), expected: *expected, found })
        }
        _ => digest(place).map_err(DeltaError::Io),
    }
}

/// Whether the program is there.
pub(super) fn is_installed() -> bool {
    let version =
        Command::new(PROGRAM).arg("-V").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok()
}

fn xdelta3(args: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    // It takes more arguments from this variable.
    command.args(args).env_remove("XDELTA").stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn finish(delta: &DeltaId, program: &mut Child) -> Result<(), DeltaError> {
    let mut said = Vec::new();
    if let Some(stderr) = program.stderr.take() {
        stderr.take(MOST_SAID).read_to_end(&mut said)?;
    }
    let status = program.wait()?;
    if status.success() {
        return Ok(());
    }
    let said = format!("{status}: {}", String::from_utf8_lossy(&said).trim());
    Err(DeltaError::Program { delta: Box::new(delta.clone()), said })
}

fn digest(path: &Path) -> io::Result<FileDigest> {
    let mut hasher = Hasher::default();
    io::copy(&mut fs::File::open(path)?, &mut hasher)?;
    Ok(hasher.finish())
}

const PROGRAM: &str = "xdelta3";
/// What `xdelta3` uses by itself, and the most it can.
const WINDOW_MIN: u64 = 64 << 20;
const WINDOW_MAX: u64 = 1 << 31;
const MOST_SAID: u64 = 4096;
