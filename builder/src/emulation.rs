//! Running the programs of another architecture, without any set-up of the host.
//!
//! Since Linux 6.7 every user namespace can have its own `binfmt_misc` (`Documentation/admin-guide/binfmt-misc.rst`): the
//! builder mounts one for its namespace, as a file system that is attached nowhere, and registers qemu's user emulation
//! in it. The kernel opens the emulator when it is registered, so the image needs no copy of it, and forgets everything
//! when the builder ends. Where the host has registered an emulator in this way itself, that one is used.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use formats::arch::Arch;
use rustix::fs::{Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use terminal::{Advice, ExitStatus};

use crate::sandbox;

/// An emulator that the kernel knows for as long as this lives.
pub(crate) struct Emulation {
    _file_system: OwnedFd,
}

/// Whether programs of `arch` do not run here by themselves, and the host has nobody registered for them.
pub(crate) fn is_needed(arch: Arch) -> bool {
    let runs = match Arch::host() {
        Some(host) => host == arch || (host, arch) == (Arch::Amd64, Arch::I386),
        None => false,
    };
    !runs && !is_registered(arch, Path::new(HOST))
}

/// Registers the emulator for `arch` in the user namespace of this process, which must be its own.
pub(crate) fn register(arch: Arch) -> Result<Emulation, EmulationError> {
    let emulator = emulator(arch)?;
    // What is mounted must belong to the same namespace.
    sandbox::keep_mounts_private()?;
    let unsupported = |errno: rustix::io::Errno| EmulationError::NoPrivateBinfmt { arch, reason: errno.to_string() };
    let file_system = fsopen("binfmt_misc", FsOpenFlags::FSOPEN_CLOEXEC).map_err(unsupported)?;
    fsconfig_create(&file_system).map_err(unsupported)?;
    let mounted = fsmount(&file_system, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).map_err(unsupported)?;
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let register = rustix::fs::openat(&mounted, "register", flags, Mode::empty()).map_err(io::Error::from)?;
    std::fs::File::from(register).write_all(entry(arch, &emulator).as_bytes())?;
    Ok(Emulation { _file_system: mounted })
}

/// Whether `binfmt_misc`, mounted at `directory`, has an emulator for `arch` that works where the host's tree is not
/// seen.
fn is_registered(arch: Arch, directory: &Path) -> bool {
    let (magic, _) = header(arch);
    let (class_and_data, machine) = (hex(&magic[..6]), hex(&magic[18..]));
    let Ok(entries) = std::fs::read_dir(directory) else { return false };
    entries.flatten().any(|entry| {
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        let value = |key| text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
        let found = value("magic ");
        text.starts_with("enabled")
            && value("flags: ").contains('F')
            && found.starts_with(&class_and_data)
            && found.get(36..) == Some(machine.as_str())
    })
}

/// The emulator: statically linked, as nothing else can be started in a tree without its libraries.
fn emulator(arch: Arch) -> Result<PathBuf, EmulationError> {
    let name = qemu_name(arch);
    for directory in ["/usr/local/bin", "/usr/bin"] {
        for ending in ["-static", ""] {
            let path = Path::new(directory).join(format!("qemu-{name}{ending}"));
            if path.is_file() && (ending == "-static" || is_static(&path)) {
                return Ok(path);
            }
        }
    }
    Err(EmulationError::NoEmulator { arch, name: format!("qemu-{name}-static") })
}

/// Whether an ELF file asks for no loader: none of the program headers of a static program names one.
fn is_static(path: &Path) -> bool {
    let mut head = [0; 4096];
    let read = std::fs::File::open(path).and_then(|mut file| io::Read::read(&mut file, &mut head));
    read.is_ok_and(|bytes| !head.get(..bytes).unwrap_or_default().windows(9).any(|text| text == b"/ld-linux"))
}

/// A line for `register`. `F` opens the emulator now, `P` keeps the name that a program was called by, `C` takes the
/// credentials of the program and not those of the emulator, for set-id programs.
fn entry(arch: Arch, emulator: &Path) -> String {
    let (magic, mask) = header(arch);
    let escaped = |bytes: &[u8]| {
        bytes.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "\\x{byte:02x}");
            text
        })
    };
    format!(":rootcellar-{arch}:M::{}:{}:{}:FPC", escaped(&magic), escaped(&mask), emulator.display())
}

/// The beginning of the architecture's ELF files and which bits of it count: class, byte order, version, machine, and
/// for the type that it is a program or a shared object (elf(5)). The field for the system is filled by few.
fn header(arch: Arch) -> ([u8; 20], [u8; 20]) {
    let (class, data, machine): (u8, u8, u16) = match arch {
        Arch::Amd64 => (2, 1, 62),
        Arch::I386 => (1, 1, 3),
        Arch::Arm64 => (2, 1, 183),
        Arch::Armhf | Arch::Armel => (1, 1, 40),
        Arch::Ppc64el => (2, 1, 21),
        Arch::Riscv64 => (2, 1, 243),
        Arch::S390x => (2, 2, 22),
        Arch::Loong64 => (2, 1, 258),
        Arch::Mips64el => (2, 1, 8),
        Arch::Mipsel => (1, 1, 8),
        Arch::Powerpc => (1, 2, 20),
        Arch::Ppc64 => (2, 2, 21),
    };
    let in_order = |number: u16| if data == 1 { number.to_le_bytes() } else { number.to_be_bytes() };
    let mut magic = [0; 20];
    magic[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', class, data, 1]);
    magic[16..18].copy_from_slice(&in_order(2));
    magic[18..].copy_from_slice(&in_order(machine));
    let mut mask = [0xff; 20];
    mask[7] = 0;
    mask[16..18].copy_from_slice(&in_order(0xfffe));
    (magic, mask)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What qemu calls an architecture.
fn qemu_name(arch: Arch) -> &'static str {
    match arch {
        Arch::Amd64 => "x86_64",
        Arch::I386 => "i386",
        Arch::Arm64 => "aarch64",
        Arch::Armhf | Arch::Armel => "arm",
        Arch::Ppc64el => "ppc64le",
        Arch::Riscv64 => "riscv64",
        Arch::S390x => "s390x",
        Arch::Loong64 => "loongarch64",
        Arch::Mips64el => "mips64el",
        Arch::Mipsel => "mipsel",
        Arch::Powerpc => "ppc",
        Arch::Ppc64 => "ppc64",
    }
}

/// Why programs of another architecture cannot be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EmulationError {
    #[error("programs for {arch} do not run here: no program `{name}`")]
    NoEmulator { arch: Arch, name: String },
    #[error("programs for {arch} do not run here: no binfmt_misc in a user namespace ({reason})")]
    NoPrivateBinfmt { arch: Arch, reason: String },
    #[error("the emulator cannot be registered")]
    Io(#[from] io::Error),
}

impl Advice for EmulationError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoEmulator { .. } => Some("install the package `qemu-user-static`".to_owned()),
            Self::NoPrivateBinfmt { .. } => Some(
                "that needs Linux 6.7 or later; on an older one the package `binfmt-support` registers emulators for \
                 the whole host"
                    .to_owned(),
            ),
            Self::Io(_) => None,
        }
    }

    fn exit_status(&self) -> ExitStatus {
        ExitStatus::Failed
    }
}

const HOST: &str = "/proc/sys/fs/binfmt_misc";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_says_by_which_bytes_a_program_is_known() {
        let arm = entry(Arch::Arm64, Path::new("/usr/bin/qemu-aarch64-static"));
        let magic = r":M::\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:";
        assert!(arm.contains(magic) && arm.ends_with(":/usr/bin/qemu-aarch64-static:FPC"), "{arm}");
        let ibm = entry(Arch::S390x, Path::new("/q"));
        assert!(ibm.contains(r"\x00\x02\x00\x16:") && ibm.contains(r"\xff\xfe\xff\xff:/q"), "{ibm}");
    }

    #[test]
    fn an_emulator_of_the_host_counts_when_images_need_no_copy_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let text = "enabled\ninterpreter /usr/bin/qemu-aarch64-static\nflags: POCF\noffset 0\n\
                    magic 7f454c460201010000000000000000000200b700\nmask ff\n";
        let of = |text: String, arch| {
            std::fs::write(directory.path().join("one"), text).unwrap();
            is_registered(arch, directory.path())
        };
        assert!(of(text.into(), Arch::Arm64));
        assert!(!of(text.into(), Arch::Riscv64));
        assert!(!of(text.replace("POCF", "POC"), Arch::Arm64));
        assert!(!of(text.replace("enabled", "disabled"), Arch::Arm64));
        assert!(!is_registered(Arch::Arm64, Path::new("/nonexistent")));
    }
}
