//! The files of a build: packed, judged and recorded.

use archive::xz::XzOptions;
use formats::arch::Arch;
use formats::record::{BuildFile, BuildRecord};
use serde_json::json;

use super::Running;
use super::stage::{Left, Stage};
use crate::build::inventory::Inventory;
use crate::build::lint::{self, Finding, Host};
use crate::build::pack::{Packed, Packer};
use crate::build::record::{self, About, Made};
use crate::build::tree::Tree;
use crate::build::{BuildError, databases, generate, sbom};
use crate::cache::stages::Snapshot;
use crate::checkpoint::checkpoint;
use crate::plan;
use crate::sandbox::{Run, SandboxError, Step};

impl Running<'_> {
    pub(super) fn pack(&self, at: &Snapshot) -> Result<BuildRecord, BuildError> {
        let (spec, plan, now) = (self.spec, self.plan, self.options.now);
        let directory = self.workspace.build();
        let x86 = matches!(spec.image.arch, Arch::Amd64 | Arch::I386);
        let xz = XzOptions { level: self.options.xz_level, x86, ..XzOptions::default() };
        let packer = Packer { directory: &directory, now, xz, around: self.around };
        let mut files = Packed::new();
        let target = |name| Stage { name, below: Some(at), key: None, goes_on: false };
        if plan.formats.incus || plan.formats.unified {
            self.stage(&target(plan::INCUS), |place| {
                let templates = generate::incus(&Tree::open(place.root())?, &plan.files)?;
                if plan.formats.unified {
                    let unified = packer.unified(spec, plan, &templates, place.root())?;
                    files.insert(BuildFile::UnifiedTarXz, unified);
                }
                if !plan.formats.incus {
                    return Ok(Left::default());
                }
                files.insert(BuildFile::RootfsSquashfs, packer.squashfs(place.root())?);
                checkpoint(plan::INCUS, "packed");
                files.extend(packer.incus(spec, plan, &templates)?);
                Ok(Left::default())
            })?;
        }
        let mut made = None;
        self.stage(&target(plan::LXC), |place| {
            let tree = Tree::open(place.root())?;
            let substituted = generate::lxc(&tree, &plan.files)?;
            let host = Host::here(self.options.mirror.as_deref());
            self.judge(lint::of_tree(&tree, &plan.lxc.metadata, &substituted, &host)?)?;
            let rootfs = packer.rootfs(place.root())?;
            checkpoint(plan::LXC, "packed");
            if let Some((_, previous)) = self.previous()? {
                self.judge(lint::of_size(previous.rootfs_tar.size_bytes, rootfs.tar.size_bytes).into_iter().collect())?;
            }
            files.insert(BuildFile::RootfsTarXz, rootfs.xz);
            files.insert(BuildFile::MetaTarXz, packer.meta(spec, plan, &tree, &substituted)?);
            made = Some((rootfs.tar, About::of(&tree)?));
            Ok(Left::default())
        })?;
        let (rootfs_tar, about) = made.ok_or(SandboxError::Vanished)?;
        let inventory = &self.inventory(at)?;
        let image = spec.to_yaml().map_err(BuildError::Yaml)?;
        let packages = format!("{:#}\n", json!(inventory.packages));
        let sbom = sbom::spdx(&spec.image, &spec.serial, now, inventory);
        for (file, text) in
            [(BuildFile::ImageYaml, &image), (BuildFile::PackagesJson, &packages), (BuildFile::SbomSpdxJson, &sbom)]
        {
            files.insert(file, packer.text(file, text)?);
        }
        let fingerprints = record::fingerprints(&directory, &files)?;
        let record = record::record(Made {
            spec,
            plan,
            source: at.from.clone(),
            overrides: &self.options.overrides,
            now,
            inventory,
            files,
            rootfs_tar,
            fingerprints,
            about,
        })?;
        fs_err::write(directory.join("SHA256SUMS"), record.sha256sums())?;
        fs_err::write(directory.join("build.json"), record.to_json())?;
        checkpoint("record", "written");
        Ok(record)
    }

    /// What is installed in the finished tree. Only rpm reads its own database, and it may write while it reads: it works
    /// on a layer that is thrown away.
    fn inventory(&self, at: &Snapshot) -> Result<Inventory, BuildError> {
        let is_rpm = ["dnf", "yum", "zypper"].iter().any(|name| self.plan.manager.is(name));
        let mut inventory = at.inventory.clone();
        if !is_rpm || !inventory.packages.is_empty() {
            return Ok(inventory);
        }
        self.stage(&Stage { name: INVENTORY, below: Some(at), key: None, goes_on: false }, |place| {
            // An image can be without rpm itself.
            let words = ["sh", "-c", RPM, "sh", databases::RPM_QUERY].map(str::to_owned);
            let step = Step::new("listing the packages", Run::Command(words.to_vec()));
            self.session(place, &[step], None)?;
            let printed = fs_err::read_to_string(place.volatile().join("tmp/packages"))?;
            inventory.packages = databases::rpm(&printed);
            inventory.packages.sort();
            inventory.kind = databases::Kind::Rpm;
            Ok(Left::default())
        })?;
        Ok(inventory)
    }

    /// Refuses what was found in the image, but for what is allowed, which is said.
    fn judge(&self, findings: Vec<Finding>) -> Result<(), BuildError> {
        let (allowed, findings): (Vec<_>, Vec<_>) =
            findings.into_iter().partition(|finding| self.options.allowed.contains(&finding.lint));
        for finding in allowed {
            self.printer.warn(format_args!("{finding}, allowed by `--allow-lint {}`", finding.lint));
        }
        if findings.is_empty() { Ok(()) } else { Err(BuildError::Lint { findings }) }
    }
}

const INVENTORY: &str = "inventory";
/// By its path: the shell of a busybox would take its own rpm for it, which lists nothing.
const RPM: &str = "for rpm in /usr/bin/rpm /bin/rpm; do\n\
                   \x20   if test -x \"$rpm\"; then exec \"$rpm\" -qa --queryformat \"$1\" >/tmp/packages; fi\n\
                   done\n\
                   : >/tmp/packages\n";
