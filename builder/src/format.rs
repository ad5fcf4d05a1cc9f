//! What a build is packed as.

use std::str::FromStr;

use formats::record::BuildFile;

/// The formats chosen with `--formats`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Formats {
    /// `rootfs.tar.xz` and LXC metadata; always on, because every record describes that rootfs.
    pub(crate) lxc: bool,
    /// `rootfs.squashfs`, Incus and LXD metadata.
    pub(crate) incus: bool,
    /// The unified tarball, for importing by hand.
    pub(crate) unified: bool,
}

impl Formats {
    /// The files of the build directory, in the order in which they are made.
    pub(crate) fn files(self) -> Vec<BuildFile> {
        let mut files = Vec::new();
        if self.incus {
            files.extend([BuildFile::RootfsSquashfs, BuildFile::IncusTarXz, BuildFile::LxdTarXz]);
        }
        if self.unified {
            files.push(BuildFile::UnifiedTarXz);
        }
        if self.lxc {
            files.extend([BuildFile::RootfsTarXz, BuildFile::MetaTarXz]);
        }
        files.extend([BuildFile::ImageYaml, BuildFile::PackagesJson, BuildFile::SbomSpdxJson]);
        files
    }
}

impl FromStr for Formats {
    type Err = FormatsError;

    fn from_str(text: &str) -> Result<Self, FormatsError> {
        let mut formats = Self { lxc: false, incus: false, unified: false };
        for name in text.split(',') {
            match name.trim() {
                "lxc" => formats.lxc = true,
                // The two differ in one metadata file, and servers publish both.
                "incus" | "lxd" => formats.incus = true,
                "unified" => formats.unified = true,
                _ => return Err(FormatsError::Unknown { found: name.to_owned() }),
            }
        }
        if formats.lxc { Ok(formats) } else { Err(FormatsError::NoLxc) }
    }
}

/// Why `--formats` is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FormatsError {
    #[error("expected a list of `lxc`, `incus` and `unified`, found `{found}`")]
    Unknown { found: String },
    #[error("`lxc` must be among the formats: every build has a `rootfs.tar.xz`")]
    NoLxc,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_a_list_with_lxc_in_it() {
        assert_eq!("lxc".parse(), Ok(Formats { lxc: true, incus: false, unified: false }));
        assert_eq!("lxc,incus".parse(), Ok(Formats { lxc: true, incus: true, unified: false }));
        assert_eq!("unified, lxc".parse(), Ok(Formats { lxc: true, incus: false, unified: true }));
        assert_eq!("incus,lxd".parse::<Formats>(), Err(FormatsError::NoLxc));
        assert!("lxc,ova".parse::<Formats>().is_err());
        assert!("".parse::<Formats>().is_err());
    }
}
