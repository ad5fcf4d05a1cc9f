//! Deltas: files that make the rootfs of a build out of that of an earlier build of the same image.
//!
//! A delta stands in the directory of the build it makes and is listed among its items in the products file:
//!
//! | field of the [`Item`](crate::streams::Item) | value |
//! |---|---|
//! | its key in `items` | the file's name, [`DeltaKind::file_name`] |
//! | `ftype` | [`DeltaKind::ftype`] |
//! | `delta_base` | the serial of the earlier build, which is a version of the same product |
//! | `path`, `size`, `sha256` | of the delta itself, as for every file |
//!
//! | [`DeltaKind`] | file | `ftype` | base and result | format |
//! |---|---|---|---|---|
//! | `Tar` | `rootfs.tar.<base>.zst` | `root.tar.zst-patch` | the uncompressed `rootfs.tar` | one zstd frame |
//! | `Squashfs` | `rootfs.squashfs.<base>.vcdiff` | `squashfs.vcdiff` | `rootfs.squashfs` | VCDIFF (RFC 3284) |
//!
//! `Tar` is for our own client; Incus and LXD pass over a type they do not know. The frame refers to the whole base as
//! prefix: it is decoded with `ZSTD_DCtx_refPrefix` over the bytes of the base (`zstd -d --patch-from BASE`) and a
//! window log of at most [`TAR_WINDOW_LOG_MAX`], and states the size of its content. What the base must be is the item
//! `rootfs.tar.xz` of version `delta_base`, field `tar`: size and sha256 of the archive before compression. What the
//! result must be is the field `tar` of the same item of the delta's own version. The client checks both, and the
//! digest of the delta before it is decoded.
//!
//! `Squashfs` is what Incus and LXD apply (`xdelta3 -d -s BASE`); its result is checked by the image fingerprint. Both
//! break when a version has two deltas they could use, so a version has at most one delta of each kind.

use crate::serial::Serial;

/// What a delta is made of, and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeltaKind {
    /// Between the uncompressed archives of two `rootfs.tar.xz`.
    Tar,
    /// Between two `rootfs.squashfs`.
    Squashfs,
}

impl DeltaKind {
    /// Both kinds.
    pub const ALL: [Self; 2] = [Self::Tar, Self::Squashfs];

    /// What the item says as `ftype`.
    pub fn ftype(self) -> &'static str {
        match self {
            Self::Tar => "root.tar.zst-patch",
            Self::Squashfs => "squashfs.vcdiff",
        }
    }

    /// The name of the delta from the build `base`.
    pub fn file_name(self, base: &Serial) -> String {
        let (stem, extension) = self.affixes();
        format!("{stem}{base}{extension}")
    }

    /// Kind and base of a file name, if it is that of a delta.
    pub fn parse_file_name(name: &str) -> Option<(Self, Serial)> {
        Self::ALL.into_iter().find_map(|kind| {
            let (stem, extension) = kind.affixes();
            let base = name.strip_prefix(stem)?.strip_suffix(extension)?.parse().ok()?;
            Some((kind, base))
        })
    }

    fn affixes(self) -> (&'static str, &'static str) {
        match self {
            Self::Tar => ("rootfs.tar.", ".zst"),
            Self::Squashfs => ("rootfs.squashfs.", ".vcdiff"),
        }
    }
}

/// The largest window log of a [`DeltaKind::Tar`]: archives of more than 1 GiB have no delta.
pub const TAR_WINDOW_LOG_MAX: u32 = 31;

/// The largest base and result of a [`DeltaKind::Tar`], in bytes.
pub const TAR_MAX_BYTES: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_delta_says_what_it_is_made_from_and_other_names_are_none() {
        let base: Serial = "20261122_0522".parse().unwrap();
        assert_eq!(DeltaKind::Tar.file_name(&base), "rootfs.tar.20261122_0522.zst");
        for kind in DeltaKind::ALL {
            assert_eq!(DeltaKind::parse_file_name(&kind.file_name(&base)), Some((kind, base.clone())));
        }
        for name in ["rootfs.tar.xz", "rootfs.tar..zst", "rootfs.tar.../../x.zst", "rootfs.squashfs.20261122_0522.zst"]
        {
            assert_eq!(DeltaKind::parse_file_name(name), None, "{name}");
        }
    }
}
