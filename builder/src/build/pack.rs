//! Turning the finished tree into the files of the build directory.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use archive::pack::PackOptions;
use archive::xz::XzOptions;
use archive::{pack_members_and_tree_xz, pack_members_xz, pack_tree_xz};
use formats::digest::{FileDigest, Hasher};
use formats::metadata::MemberKind;
use formats::metadata::incus::IncusMetadata;
use formats::record::BuildFile;
use formats::time::Timestamp;

use super::BuildError;
use super::generate::IncusTemplates;
use super::tree::{TakenDevice, Tree};
use super::unpack::host_environment;
use crate::plan::Plan;
use crate::sandbox::{self, Run, Session, Step, Surroundings};
use crate::spec::Spec;

/// Packs into one directory.
pub(crate) struct Packer<'a> {
    /// Where the files go.
    pub(crate) directory: &'a Path,
    /// The newest time in any of them.
    pub(crate) now: Timestamp,
    /// How hard to compress the rootfs.
    pub(crate) xz: XzOptions,
    /// Log and deadline.
    pub(crate) around: Surroundings<'a>,
}

/// The files that were made.
pub(crate) type Packed = BTreeMap<BuildFile, FileDigest>;

impl Packer<'_> {
    /// `rootfs.squashfs`. Devices are taken out of the tree and described to mksquashfs: it does not know that files
    /// stand for some.
    pub(crate) fn squashfs(&self, tree: &Path) -> Result<FileDigest, BuildError> {
        let out = self.directory.join(BuildFile::RootfsSquashfs.name());
        let mut command = vec!["mksquashfs".to_owned(), tree.display().to_string(), out.display().to_string()];
        command.extend(SQUASHFS_OPTIONS.map(str::to_owned));
        let devices = Tree::open(tree)?.take_devices()?;
        let described = devices.iter().map(described).collect::<String>();
        let mut definitions = tempfile::NamedTempFile::new_in(self.directory)?;
        if !devices.is_empty() {
            definitions.write_all(described.as_bytes())?;
            command.extend(["-pf".to_owned(), definitions.path().display().to_string()]);
        }
        let step = Step::new("mksquashfs", Run::Command(command));
        // It takes the time of the file system from SOURCE_DATE_EPOCH and clamps those of files to it.
        let session = Session { environment: host_environment(self.now), steps: vec![step], ..Session::default() };
        sandbox::run(&session, self.around)?;
        let mut hasher = Hasher::default();
        std::io::copy(&mut fs_err::File::open(out)?, &mut hasher)?;
        Ok(hasher.finish())
    }

    /// `incus.tar.xz` and `lxd.tar.xz`. Servers that publish both must be able to tell the images apart by their
    /// fingerprint, so LXD's metadata names its format.
    pub(crate) fn incus(&self, spec: &Spec, plan: &Plan, templates: &IncusTemplates) -> Result<Packed, BuildError> {
        let mut packed = Packed::new();
        for (file, extra) in [(BuildFile::IncusTarXz, None), (BuildFile::LxdTarXz, Some(("type", "lxd")))] {
            let mut metadata = incus_metadata(spec, plan, templates, self.now);
            metadata.properties.extend(extra.map(|(key, value)| (key.to_owned(), value.to_owned())));
            packed.insert(file, self.members(file, &incus_members(&metadata, templates))?);
        }
        Ok(packed)
    }

    /// `unified.tar.xz`: the metadata comes first, so that nobody has to read the whole to know what it is.
    pub(crate) fn unified(
        &self,
        spec: &Spec,
        plan: &Plan,
        templates: &IncusTemplates,
        tree: &Path,
    ) -> Result<FileDigest, BuildError> {
        let members = incus_members(&incus_metadata(spec, plan, templates, self.now), templates);
        let out = self.directory.join(BuildFile::UnifiedTarXz.name());
        let options = PackOptions::new(self.now);
        Ok(pack_members_and_tree_xz(&members, tree, "rootfs", &out, &options, &self.xz)?.xz)
    }

    /// `rootfs.tar.xz` and the digest of what is in it.
    pub(crate) fn rootfs(&self, tree: &Path) -> Result<archive::Packed, BuildError> {
        let out = self.directory.join(BuildFile::RootfsTarXz.name());
        Ok(pack_tree_xz(tree, &out, &PackOptions::new(self.now), &self.xz)?)
    }

    /// `meta.tar.xz`.
    pub(crate) fn meta(
        &self,
        spec: &Spec,
        plan: &Plan,
        tree: &Tree,
        substituted: &[String],
    ) -> Result<FileDigest, BuildError> {
        let mut metadata = plan.lxc.metadata.clone();
        let lines = |lines: &[String]| lines.join("\n") + "\n";
        let nodes = tree.device_nodes()?;
        // With nothing to leave out it is a blank line, as in distrobuilder's images.
        let excludes = lines(&nodes);
        let expiry = (self.now + spec.cache_span).unix();
        metadata.set(MemberKind::Expiry, None, None, format!("{expiry}\n"));
        metadata.set(MemberKind::Excludes, Some(formats::compat::Mode::User), None, excludes);
        if !substituted.is_empty() {
            metadata.set(MemberKind::Templates, None, None, lines(substituted));
        }
        self.members(BuildFile::MetaTarXz, &metadata.to_members())
    }

    /// A small text file.
    pub(crate) fn text(&self, file: BuildFile, text: &str) -> Result<FileDigest, BuildError> {
        fs_err::write(self.directory.join(file.name()), text)?;
        Ok(FileDigest::of(text.as_bytes()))
    }

    fn members(&self, file: BuildFile, members: &[(String, Vec<u8>)]) -> Result<FileDigest, BuildError> {
        let out = self.directory.join(file.name());
        Ok(pack_members_xz(members, &out, self.now, &XzOptions::default())?.xz)
    }
}

/// A device as mksquashfs's `-pf` takes it.
fn described(taken: &TakenDevice) -> String {
    let TakenDevice { member, device, mode, uid, gid } = taken;
    let name = member.trim_start_matches("./").replace('\\', "\\\\").replace('"', "\\\"");
    let kind = if device.is_block { 'b' } else { 'c' };
    format!("\"{name}\" {kind} {mode:o} {uid} {gid} {} {}\n", device.major, device.minor)
}

/// The metadata and its templates as files.
fn incus_members(metadata: &IncusMetadata, templates: &IncusTemplates) -> Vec<(String, Vec<u8>)> {
    let mut members = vec![("metadata.yaml".to_owned(), metadata.to_yaml().into_bytes())];
    let texts = templates.texts.iter();
    members.extend(texts.map(|(name, text)| (format!("templates/{name}"), text.clone().into_bytes())));
    members
}

fn incus_metadata(spec: &Spec, plan: &Plan, templates: &IncusTemplates, now: Timestamp) -> IncusMetadata {
    let image = &spec.definition.image;
    let properties = [
        ("architecture", image.architecture_mapped.as_str()),
        ("description", &plan.description),
        ("name", &plan.name),
        ("os", image.distribution.as_str()),
        ("release", image.release.as_str()),
        ("serial", spec.serial.as_str()),
        ("variant", image.variant.as_str()),
    ];
    IncusMetadata {
        architecture: image.architecture.to_string(),
        creation_date: now.unix(),
        expiry_date: (now + spec.cache_span).unix(),
        properties: properties.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        templates: templates.entries.clone(),
    }
}

/// The block size of the field, and zstd: a thirteenth of xz's time for a quarter more bytes. Level 15 would take four
/// times as long as 9 for half a percent.
const SQUASHFS_OPTIONS: [&str; 11] = [
    "-noappend",
    "-no-exports",
    "-no-progress",
    "-no-recovery",
    "-xattrs",
    "-b",
    "1M",
    "-comp",
    "zstd",
    "-Xcompression-level",
    "9",
];
