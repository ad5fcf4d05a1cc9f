//! Our own program, executed again.

mod unwritable;

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, Write as _};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::{Errno, FdFlags, fcntl_setfd};

use super::idmap::IdMap;

/// Where the program is that understands `internal-runtime`: the one that runs, unless a foreign program says otherwise.
#[derive(Clone, Debug)]
pub(crate) struct Executable(PathBuf);

impl Default for Executable {
    fn default() -> Self {
        Self("/proc/self/exe".into())
    }
}

impl Executable {
    pub(crate) fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Executes the file itself. For processes that the container never sees.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.0);
        command.arg0(NAME).arg(STEP);
        command
    }

    /// Executes what nobody in a container with these ids can change. For processes that enter the container: its root
    /// can open their `/proc/PID/exe` for writing and would otherwise replace our program on the host (CVE-2019-5736).
    ///
    /// That is the file itself where it belongs to nobody in the container, else a file system of its own that has no
    /// way to write, else a sealed copy in memory.
    pub(crate) fn protected_command(&self, map: &IdMap) -> io::Result<(Command, OwnedFd)> {
        let mut file = File::open(&self.0)?;
        let metadata = file.metadata()?;
        let (path, kept) = if is_out_of_reach(&metadata, map) {
            (self.0.clone(), file.into())
        } else {
            let kept = match unwritable::view(&file, &metadata) {
                Ok(view) => view,
                Err(error) => {
                    tracing::debug!(%error, "The program is copied to memory");
                    sealed(&mut file)?
                }
            };
            (format!("/proc/self/fd/{}", kept.as_raw_fd()).into(), kept)
        };
        let mut command = Command::new(path);
        command.arg0(NAME).arg(STEP);
        Ok((command, kept))
    }
}

/// Whether no capability over its own ids lets a process of the namespace write the file. With an access control list,
/// the bits of the group are the most that the list gives to anybody.
fn is_out_of_reach(file: &Metadata, map: &IdMap) -> bool {
    !map.is_empty() && !map.reaches_user(file.uid()) && file.mode() & 0o022 == 0
}

/// Hands a value to the program that is about to be executed: the number of a file descriptor that survives exec.
pub(crate) fn pass(value: &impl serde::Serialize) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create("request", MemfdFlags::CLOEXEC)?);
    file.write_all(&serde_json::to_vec(value)?)?;
    file.rewind()?;
    fcntl_setfd(&file, FdFlags::empty())?;
    Ok(file.into())
}

/// Takes what [`pass`] handed over.
pub(crate) fn take<T: serde::de::DeserializeOwned>(file: &mut File) -> io::Result<T> {
    let mut json = Vec::new();
    file.read_to_end(&mut json)?;
    Ok(serde_json::from_slice(&json)?)
}

fn sealed(source: &mut File) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Kernels before 6.3 do not know EXEC, and memory is executable there without it.
    let copy = match memfd_create(NAME, flags | MemfdFlags::EXEC) {
        Err(Errno::INVAL) => memfd_create(NAME, flags),
        result => result,
    }?;
    let mut file = File::from(copy);
    io::copy(source, &mut file)?;
    fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(file.into())
}

const NAME: &str = "rootcellar";
/// The command that does a step of the runtime.
pub(crate) const STEP: &str = "internal-runtime";

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_sealed_copy_cannot_be_written_through_its_link() {
        let copy = sealed(&mut File::open("/bin/true").unwrap()).unwrap();
        let link = format!("/proc/self/fd/{}", copy.as_raw_fd());
        let written = std::fs::OpenOptions::new().write(true).open(link).and_then(|mut file| file.write_all(b"x"));
        assert_eq!(written.unwrap_err().raw_os_error(), Some(libc::EPERM));
    }

    #[test]
    fn a_protected_program_runs() {
        for map in [IdMap::default(), IdMap::parse(["b 0 100000 65536"]).unwrap()] {
            let (mut command, _kept) = Executable::at(Path::new("/bin/echo")).protected_command(&map).unwrap();
            let output = command.arg("hello").output().unwrap();
            assert_eq!(output.stdout, b"internal-runtime hello\n");
        }
    }

    #[test]
    fn a_file_of_somebody_in_the_container_is_in_reach() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        let file = File::create(&path).unwrap();
        let out_of_reach = |mode: u32, map: &str| {
            rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(mode)).unwrap();
            is_out_of_reach(&path.metadata().unwrap(), &IdMap::parse([map]).unwrap())
        };
        let own = rustix::process::geteuid().as_raw();
        assert!(out_of_reach(0o755, "b 0 100000 65536"));
        assert!(!out_of_reach(0o775, "b 0 100000 65536") && !out_of_reach(0o757, "b 0 100000 65536"));
        assert!(!out_of_reach(0o755, &format!("b 0 {own} 1")) && !out_of_reach(0o755, ""));
    }

    #[test]
    fn a_value_passes_through_a_file_descriptor() {
        let fd = pass(&vec!["a", "b"]).unwrap();
        assert_eq!(take::<Vec<String>>(&mut File::from(fd)).unwrap(), ["a", "b"]);
    }
}
