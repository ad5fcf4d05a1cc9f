//! What a build must be to enter the store, beyond the digests of its files.

use formats::name::Name;
use formats::record::{BuildFile, BuildRecord};
use formats::time::Timestamp;

/// Checks what a record says. Whatever it finds would make documents that some client cannot use.
pub fn lint(record: &BuildRecord) -> Result<(), Lint> {
    let has = |file| record.files.contains_key(&file);
    let lxc = has(BuildFile::RootfsTarXz) && has(BuildFile::MetaTarXz);
    if !lxc && pairs(record).next().is_none() {
        return Err(Lint::Incomplete);
    }
    for (metadata, rootfs) in pairs(record) {
        if record.fingerprint(metadata, rootfs).is_none() {
            return Err(Lint::NoFingerprint { metadata, rootfs });
        }
    }
    for (position, one) in record.fingerprints.iter().enumerate() {
        if record.fingerprints.iter().take(position).any(|other| other.sha256 == one.sha256) {
            return Err(Lint::SameFingerprint { metadata: one.metadata, rootfs: one.rootfs });
        }
    }
    if let Some(alias) = record.aliases.iter().find(|alias| !is_alias(alias)) {
        return Err(Lint::Alias { alias: alias.clone() });
    }
    match &record.end_of_life {
        Some(day) if format!("{day}T00:00:00Z").parse::<Timestamp>().is_err() || day.len() != 10 => {
            Err(Lint::EndOfLife { found: day.clone() })
        }
        _ => Ok(()),
    }
}

/// The pairs of files that Incus or LXD can make an instance of.
pub fn pairs(record: &BuildRecord) -> impl Iterator<Item = (BuildFile, BuildFile)> {
    let has = |(metadata, rootfs): &(BuildFile, BuildFile)| {
        record.files.contains_key(metadata) && record.files.contains_key(rootfs)
    };
    let metadata = [BuildFile::IncusTarXz, BuildFile::LxdTarXz].into_iter();
    let rootfs = [BuildFile::RootfsSquashfs, BuildFile::RootfsTarXz];
    metadata.flat_map(move |metadata| rootfs.map(|rootfs| (metadata, rootfs))).filter(has)
}

/// Aliases stand in a comma-separated list, and with an architecture and a variant added they are still image queries.
fn is_alias(alias: &str) -> bool {
    alias.split('/').count() <= MOST_PARTS && alias.split('/').all(|part| part.parse::<Name>().is_ok())
}

/// Why a build may not enter the store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lint {
    /// No client could use it.
    #[error("the build is incomplete: it has neither `rootfs.tar.xz` and `meta.tar.xz`, nor files for Incus or LXD")]
    Incomplete,
    /// Incus takes the name of an image from the index, so it must be there.
    #[error("the record has no image fingerprint for `{metadata}` and `{rootfs}`")]
    NoFingerprint {
        /// The metadata file.
        metadata: BuildFile,
        /// The rootfs file.
        rootfs: BuildFile,
    },
    /// LXD 5.0 refuses a server on which one image fingerprint occurs twice (canonical/lxd#12849).
    #[error("the image fingerprint for `{metadata}` and `{rootfs}` is also that of another pair of files")]
    SameFingerprint {
        /// The metadata file.
        metadata: BuildFile,
        /// The rootfs file.
        rootfs: BuildFile,
    },
    /// An alias that would break the list it stands in.
    #[error("`{}` is not a usable alias: expected names separated by slashes, such as `debian/13`", alias.escape_debug())]
    Alias {
        /// The alias.
        alias: String,
    },
    /// Not a day.
    #[error("expected a day such as `2030-06-30` as end of life, found `{}`", found.escape_debug())]
    EndOfLife {
        /// What the record says.
        found: String,
    },
}

const MOST_PARTS: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::FakeImage;

    fn record() -> BuildRecord {
        FakeImage::new("debian/trixie/amd64/default").incus().alias("debian/13").end_of_life("2030-06-30").record()
    }

    #[test]
    fn a_build_of_the_builder_passes() {
        assert_eq!(lint(&record()), Ok(()));
    }

    #[test]
    fn lies_of_a_record_are_named() {
        let mut twice = record();
        twice.fingerprints[1].sha256 = twice.fingerprints[0].sha256;
        assert!(matches!(lint(&twice), Err(Lint::SameFingerprint { .. })));
        let mut none = record();
        none.fingerprints.pop();
        assert!(matches!(lint(&none), Err(Lint::NoFingerprint { .. })));
        for alias in ["a,b", "", "../x", "a//b", "a/b/c/d"] {
            let lie = BuildRecord { aliases: vec![alias.to_owned()], ..record() };
            assert!(matches!(lint(&lie), Err(Lint::Alias { .. })), "{alias}");
        }
        for day in ["2030", "2030-02-30", "2030-06-30T00:00:00Z", "never"] {
            let lie = BuildRecord { end_of_life: Some(day.to_owned()), ..record() };
            assert!(matches!(lint(&lie), Err(Lint::EndOfLife { .. })), "{day}");
        }
    }

    #[test]
    fn a_build_that_no_client_could_use_is_refused() {
        let mut record = FakeImage::new("debian/trixie/amd64/default").record();
        record.files.remove(&BuildFile::MetaTarXz);
        assert_eq!(lint(&record), Err(Lint::Incomplete));
    }
}
