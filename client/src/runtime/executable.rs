//! Our own program, executed again.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::{Errno, FdFlags, fcntl_setfd};

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
        command.arg0(NAME).arg("internal-runtime");
        command
    }

    /// Executes a sealed copy in memory. For processes that enter the container: its root can open their
    /// `/proc/PID/exe` for writing and would otherwise replace our program on the host (CVE-2019-5736).
    pub(crate) fn sealed_command(&self) -> io::Result<(Command, OwnedFd)> {
        let copy = sealed(&mut File::open(&self.0)?)?;
        let mut command = Command::new(format!("/proc/self/fd/{}", copy.as_raw_fd()));
        command.arg0(NAME).arg("internal-runtime");
        Ok((command, copy))
    }
}

/// Hands a value to the program that is about to be executed: the number of a file descriptor that survives exec.
pub(crate) fn pass(value: &impl serde::Serialize) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create("request", MemfdFlags::CLOEXEC)?);
    serde_json::to_writer(&mut file, value)?;
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
    fn a_sealed_copy_runs() {
        let (mut command, _copy) = Executable::at(Path::new("/bin/echo")).sealed_command().unwrap();
        let output = command.arg("hello").output().unwrap();
        assert_eq!(output.stdout, b"internal-runtime hello\n");
    }

    #[test]
    fn a_value_passes_through_a_file_descriptor() {
        let fd = pass(&vec!["a", "b"]).unwrap();
        assert_eq!(take::<Vec<String>>(&mut File::from(fd)).unwrap(), ["a", "b"]);
    }
}
