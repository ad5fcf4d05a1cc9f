//! Filling the container directory that liblxc has begun.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use formats::metadata::MemberKind;
use fs_err as fs;

use super::TemplateError;
use super::options::Options;
use crate::acquire::{Acquired, Source};
use crate::container::compose::{self, Parts};
use crate::container::placeholders::Placeholders;
use crate::container::{policy, rootfs};
use crate::files::{self, Owner};

/// Unpacks the root file system and completes `config`, and returns what the image wants to be said in the end.
///
/// The configuration is checked before anything is unpacked and written after everything is: a killed template leaves
/// the configuration as liblxc wrote it.
pub(super) fn fill(
    options: &Options,
    image: Acquired<'_>,
    source: &Source<'_>,
) -> Result<Option<String>, TemplateError> {
    let config_path = options.path.join("config");
    let failed = |path: &Path| {
        let path = path.to_owned();
        |source| TemplateError::Storage { path, source }
    };
    let existing = fs::read_to_string(&config_path).map_err(failed(&config_path))?;
    let level = compose::level(compose::dialect(&existing));
    let relevant = |kind| image.metadata.relevant(kind, source.mode, level);
    let placeholders = Placeholders::new(&options.name, &options.path, &options.rootfs);
    let distribution = placeholders.replace_str(relevant(MemberKind::Config).ok_or(TemplateError::NoConfig)?);
    policy::check_config(&distribution, &options.allow_config_keys)?;
    let fstab = relevant(MemberKind::Fstab).map(|fstab| placeholders.replace_str(fstab));
    if let Some(fstab) = &fstab {
        policy::check_fstab(fstab, &options.allow_config_keys)?;
    }
    let message = relevant(MemberKind::CreateMessage).map(str::to_owned);

    // The root file system is liblxc's and visible, so every byte is verified before it is unpacked.
    let rootfs = image.rootfs.stored()?;
    rootfs::populate(&options.rootfs, rootfs, &image.metadata, (source.mode, level), Some(&placeholders))?;

    let fstab_path = options.path.join("fstab");
    if let Some(fstab) = &fstab {
        files::write_whole(&fstab_path, fstab.as_bytes(), 0o644, options.owner).map_err(failed(&fstab_path))?;
    }
    let fstab = fstab.as_ref().map(|_| fstab_path.as_path());
    let text = compose::compose(Parts { existing: &existing, distribution: &distribution, fstab, name: &options.name });
    replace(&config_path, &text, options.owner).map_err(failed(&config_path))?;
    Ok(message)
}

/// Replaces the configuration by one with the same mode, which belongs to the caller: liblxc reads and writes it with
/// the caller's own user id as soon as the template is done, and crashes when it cannot.
fn replace(path: &Path, text: &str, caller: Owner) -> io::Result<()> {
    let before = fs::metadata(path)?;
    let owner = if caller == Owner::SELF { owner_of(&before) } else { caller };
    files::write_whole(path, text.as_bytes(), before.mode() & 0o777, owner)
}

/// Only root gives files away; for everybody else they are their own already.
fn owner_of(metadata: &std::fs::Metadata) -> Owner {
    if rustix::process::geteuid().is_root() {
        Owner { uid: Some(metadata.uid()), gid: Some(metadata.gid()) }
    } else {
        Owner::SELF
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_replaced_configuration_keeps_its_mode_and_owner() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config");
        std::fs::write(&path, "old").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let before = std::fs::metadata(&path).unwrap();
        replace(&path, "new", Owner::SELF).unwrap();
        let after = std::fs::metadata(&path).unwrap();
        assert_eq!((before.mode(), before.uid(), before.gid()), (after.mode(), after.uid(), after.gid()));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
    }
}
