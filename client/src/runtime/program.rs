//! The last steps of a process that becomes a program of the container.

use std::ffi::CString;
use std::io;

use nix::errno::Errno;
use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::capability::Capabilities;
use super::plan::PATH;

/// Why a command was not executed, and the status that says so: 127 when there is none, 126 otherwise, as a shell has
/// it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) reason: String,
    pub(crate) code: i32,
}

/// There is no such command.
pub(crate) const NOT_FOUND: i32 = 127;
/// There is one, and it cannot be run.
pub(crate) const CANNOT_RUN: i32 = 126;

/// Becomes the command. It is looked for in the `PATH` of its environment, as execvpe(3) does. Returns only when that
/// fails.
pub(crate) fn execute(command: &[String], environment: &[String]) -> Failure {
    let strings =
        |texts: &[String]| texts.iter().map(|text| CString::new(text.as_str())).collect::<Result<Vec<_>, _>>();
    let (Ok(arguments), Ok(variables)) = (strings(command), strings(environment)) else {
        return Failure { reason: "the command or its environment holds a zero byte".to_owned(), code: CANNOT_RUN };
    };
    search(command, environment, |file| match nix::unistd::execve(&file, &arguments, &variables) {
        Err(errno) => errno,
    })
}

/// Says what will keep the command from being executed, as far as can be told without doing it.
pub(crate) fn check(command: &[String], environment: &[String]) -> Result<(), Failure> {
    let mut is_found = false;
    let failure = search(command, environment, |file| match accessat(CWD, &file, Access::EXEC_OK, AtFlags::EACCESS) {
        Ok(()) => {
            is_found = true;
            Errno::ENOENT
        }
        Err(error) => Errno::from_raw(error.raw_os_error()),
    });
    if is_found { Ok(()) } else { Err(failure) }
}

fn search(command: &[String], environment: &[String], mut attempt: impl FnMut(CString) -> Errno) -> Failure {
    let name = command.first().cloned().unwrap_or_default();
    let path = environment.iter().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or(PATH);
    let candidates: Vec<String> = if name.contains('/') {
        vec![name.clone()]
    } else {
        path.split(':').map(|directory| format!("{directory}/{name}")).collect()
    };
    let mut error = Errno::ENOENT;
    for candidate in candidates {
        let Ok(file) = CString::new(candidate) else { continue };
        match attempt(file) {
            Errno::ENOENT | Errno::ENOTDIR => {}
            other => error = other,
        }
    }
    match error {
        Errno::ENOENT => Failure { reason: format!("the container has no command `{name}`"), code: NOT_FOUND },
        error => Failure { reason: format!("cannot execute `{name}`: {}", error.desc()), code: CANNOT_RUN },
    }
}

/// The capabilities to keep, and how many the kernel has.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    kept: u64,
    all: u64,
}

impl Bounds {
    /// Those of the wanted ones that the calling process has. To be called where the host's `/proc` is.
    pub(crate) fn new(wanted: Capabilities) -> io::Result<Self> {
        Ok(Self { kept: wanted.available()?.bits(), all: Capabilities::default().known_here().bits() })
    }

    /// Leaves the calling process no others. What is dropped from the bounding set cannot come back through any program,
    /// set-uid or with file capabilities. Nothing is inheritable or ambient: programs of other users get none through
    /// exec.
    pub(crate) fn apply(self) -> io::Result<()> {
        for number in (0..u64::BITS).filter(|number| self.all & !self.kept & (1 << number) != 0) {
            rustix::thread::remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number))?;
        }
        let kept = CapabilitySet::from_bits_retain(self.kept);
        let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
        rustix::thread::clear_ambient_capability_set()?;
        Ok(rustix::thread::set_capabilities(None, sets)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_command_is_looked_for_in_the_path_of_its_environment() {
        assert!(check(&words(&["sh"]), &words(&["PATH=/nowhere:/bin"])).is_ok());
        assert_eq!(check(&words(&["sh"]), &words(&["PATH=/nowhere"])).unwrap_err().code, NOT_FOUND);
        assert!(check(&words(&["/bin/sh"]), &words(&["PATH=/nowhere"])).is_ok());
    }

    #[test]
    fn what_is_no_program_is_told_from_what_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("data"), "").unwrap();
        let path = format!("PATH={}", dir.path().display());
        assert_eq!(check(&words(&["data"]), std::slice::from_ref(&path)).unwrap_err().code, CANNOT_RUN);
        assert_eq!(execute(&words(&["missing"]), &[path]).reason, "the container has no command `missing`");
    }
}
