//! Architectures and their spellings.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A machine architecture. It is stored and printed with Debian's name; the other spellings exist because formats
/// demand them: the kernel's in `lxc.arch` and `metadata.yaml`, aliases in what people and specs write (incus
/// `shared/osarch/architectures.go`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Arch {
    /// 64-bit x86.
    Amd64,
    /// 32-bit x86.
    I386,
    /// 64-bit ARM.
    Arm64,
    /// 32-bit ARM with hardware floating point.
    Armhf,
    /// 32-bit ARM without.
    Armel,
    /// 64-bit little-endian POWER.
    Ppc64el,
    /// 64-bit RISC-V.
    Riscv64,
    /// IBM Z.
    S390x,
    /// 64-bit LoongArch.
    Loong64,
    /// 64-bit little-endian MIPS.
    Mips64el,
    /// 32-bit little-endian MIPS.
    Mipsel,
    /// 32-bit big-endian POWER.
    Powerpc,
    /// 64-bit big-endian POWER.
    Ppc64,
}

impl Arch {
    /// Debian's name, `amd64`.
    pub fn as_str(self) -> &'static str {
        self.spellings().0
    }

    /// The kernel's name as `uname -m` prints it, `x86_64`.
    pub fn kernel_name(self) -> &'static str {
        self.spellings().1
    }

    /// `linux32` for 32-bit architectures, else `linux64`: what `lxc.arch` of distrobuilder's images says.
    pub fn personality(self) -> &'static str {
        match self {
            Self::I386 | Self::Armhf | Self::Armel | Self::Mipsel | Self::Powerpc => "linux32",
            Self::Amd64
            | Self::Arm64
            | Self::Ppc64el
            | Self::Riscv64
            | Self::S390x
            | Self::Loong64
            | Self::Mips64el
            | Self::Ppc64 => "linux64",
        }
    }

    /// The architecture this program was compiled for.
    pub fn host() -> Option<Self> {
        std::env::consts::ARCH.parse().ok()
    }

    fn spellings(self) -> (&'static str, &'static str, &'static [&'static str]) {
        let row = ROWS.iter().find(|row| row.0 == self).unwrap_or(&ROWS[0]);
        (row.1, row.2, row.3)
    }
}

impl FromStr for Arch {
    type Err = ParseArchError;

    fn from_str(text: &str) -> Result<Self, ParseArchError> {
        ROWS.iter()
            .find(|(_, debian, kernel, aliases)| text == *debian || text == *kernel || aliases.contains(&text))
            .map(|row| row.0)
            .ok_or_else(|| ParseArchError { found: text.chars().take(40).flat_map(char::escape_debug).collect() })
    }
}

impl TryFrom<String> for Arch {
    type Error = ParseArchError;

    fn try_from(text: String) -> Result<Self, ParseArchError> {
        text.parse()
    }
}

impl From<Arch> for String {
    fn from(arch: Arch) -> Self {
        arch.as_str().to_owned()
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Text that names no known architecture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown architecture `{found}`, expected a name such as `amd64`, `arm64`, `armhf` or `riscv64`")]
pub struct ParseArchError {
    found: String,
}

type Row = (Arch, &'static str, &'static str, &'static [&'static str]);

const ROWS: &[Row] = &[
    (Arch::Amd64, "amd64", "x86_64", &["generic_64", "x86-64", "x86_64_v1", "x86_64_v2", "x86_64_v3", "x86_64_v4"]),
    (Arch::I386, "i386", "i686", &["i586", "386", "x86", "generic_32"]),
    (Arch::Arm64, "arm64", "aarch64", &["arm64_generic"]),
    (Arch::Armhf, "armhf", "armv7l", &["armhfp", "armv7", "armv7a_hardfp", "armv7a_vfpv3_hardfp"]),
    (Arch::Armel, "armel", "armv6l", &["arm"]),
    (Arch::Ppc64el, "ppc64el", "ppc64le", &["powerpc64le"]),
    (Arch::Riscv64, "riscv64", "riscv64", &[]),
    (Arch::S390x, "s390x", "s390x", &[]),
    (Arch::Loong64, "loong64", "loongarch64", &[]),
    (Arch::Mips64el, "mips64el", "mips64", &["mips64le"]),
    (Arch::Mipsel, "mipsel", "mips", &["mipsle"]),
    (Arch::Powerpc, "powerpc", "ppc", &[]),
    (Arch::Ppc64, "ppc64", "ppc64", &["powerpc64"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_leads_to_the_same_architecture_and_prints_as_debians() {
        for (arch, debian, kernel, aliases) in ROWS {
            for spelling in [debian, kernel].into_iter().chain(*aliases) {
                assert_eq!(spelling.parse(), Ok(*arch), "{spelling}");
            }
            assert_eq!(arch.to_string(), *debian);
        }
    }

    #[test]
    fn no_spelling_names_two_architectures() {
        let mut all: Vec<_> = ROWS
            .iter()
            .flat_map(|(_, debian, kernel, aliases)| {
                let mut one = vec![*debian, *kernel];
                one.extend(*aliases);
                one.sort_unstable();
                one.dedup();
                one
            })
            .collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn an_unknown_architecture_is_an_error_that_names_it() {
        assert!("vax".parse::<Arch>().unwrap_err().to_string().contains("`vax`"));
    }
}
