//! Whether a build would only repeat the newest one.
//!
//! The inputs of a build are the builder, the spec without its serial, what is packed, what is copied from this machine,
//! and the packages. All but the last are known before anything runs. The packages are the same when the signed
//! documents are, or else when for every package of the newest build apt would install the same file again. What
//! scripts fetch by themselves is no input: `--force` builds anyway.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use formats::record::{BuildFile, BuildRecord};
use formats::serial::Serial;

use super::inventory::Package;
use super::unpack::Resolved;
use super::{BuildError, digest, record};
use crate::plan::source::Source;
use crate::plan::{InstallKind, Plan};
use crate::spec::Spec;

/// The newest build of an image in `directory`.
pub(crate) fn newest(directory: &Path) -> std::io::Result<Option<(PathBuf, BuildRecord)>> {
    let Ok(entries) = fs_err::read_dir(directory) else { return Ok(None) };
    let mut serials = Vec::new();
    for entry in entries {
        serials.extend(entry?.file_name().to_str().and_then(|name| name.parse::<Serial>().ok()));
    }
    serials.sort();
    for serial in serials.iter().rev() {
        let directory = directory.join(serial.as_str());
        // A directory without a record is no build.
        let Ok(text) = fs_err::read(directory.join("build.json")) else { continue };
        if let Ok(record) = BuildRecord::from_json(&text) {
            return Ok(Some((directory, record)));
        }
    }
    Ok(None)
}

/// Whether building what `spec` and `plan` say would give the build `directory` again.
pub(crate) fn is_unchanged(
    (spec, plan): (&Spec, &Plan),
    resolved: &Resolved<'_>,
    directory: &Path,
    record: &BuildRecord,
) -> Result<bool, BuildError> {
    let path = directory.join(BuildFile::PackagesJson.name());
    let Some(expected) = record.files.get(&BuildFile::PackagesJson) else { return Ok(false) };
    if !path.exists() || digest(&path)? != expected.sha256 {
        return Ok(false);
    }
    let Ok(packages) = serde_json::from_slice::<Vec<Package>>(&fs_err::read(path)?) else { return Ok(false) };
    let archives = match resolved {
        Resolved::Archives(archives) => Some(archives.to_string()),
        Resolved::Packages(_) | Resolved::Tree | Resolved::Unknown => None,
    };
    if record::inputs((spec, plan), archives.as_deref(), &packages)? != record.inputs {
        return Ok(false);
    }
    match (resolved, &plan.source) {
        (Resolved::Packages(prepared), Source::Debootstrap(source)) => {
            // Lists that nobody signed may change while nothing says so.
            if source.unverified {
                return Ok(false);
            }
            let scratch = tempfile::tempdir()?;
            let Some(told) = Told::of(plan, scratch.path())? else { return Ok(false) };
            // The image may trust whom this machine does not know. Then it cannot be told; apt's words are in the log.
            let Ok(seen) = prepared.seen_with((&told.lines, told.instead), &told.keyrings) else { return Ok(false) };
            let documents: BTreeMap<_, _> =
                seen.repositories()?.into_iter().map(|one| (one.title, one.sha256)).collect();
            let before = &record.provenance.repositories;
            if documents == *before {
                return Ok(true);
            }
            // A script has told the image of a repository that is not seen from here.
            if before.keys().any(|title| !documents.contains_key(title)) {
                return Ok(false);
            }
            let is_installed = |name: &str| packages.iter().any(|package| package.name == name);
            if !prepared.packages().all(|one| is_installed(&one.name)) {
                return Ok(false);
            }
            let names: Vec<_> = packages.iter().map(|package| package.name.clone()).collect();
            let candidates = seen.candidates(&names)?;
            let is_candidate = |package: &Package| {
                let mut found = candidates.iter();
                found.any(|one| {
                    one.name == package.name
                        && one.arch == package.arch
                        && one.version == package.version
                        && Some(one.sha256) == package.sha256
                })
            };
            Ok(packages.iter().all(is_candidate))
        }
        // The digests of the archives are among the inputs.
        (Resolved::Archives(_), _) => Ok(plan.installs.iter().all(|install| install.kind == InstallKind::Written)),
        (Resolved::Packages(_) | Resolved::Tree | Resolved::Unknown, _) => Ok(false),
    }
}

fn has_ending(path: &str, ending: &str) -> bool {
    Path::new(path).extension().is_some_and(|found| found == ending)
}

/// What the spec tells apt in the image of repositories.
struct Told {
    lines: String,
    /// The lines of the image itself are replaced.
    instead: bool,
    keyrings: Vec<PathBuf>,
}

impl Told {
    /// Reads it from the plan; nothing where it is told in a way that is not understood here.
    fn of(plan: &Plan, scratch: &Path) -> std::io::Result<Option<Self>> {
        let mut told = Self { lines: String::new(), instead: false, keyrings: Vec::new() };
        for file in plan.installs.iter().flat_map(|install| &install.repositories) {
            if file.path == "/etc/apt/sources.list" {
                told.instead |= !file.appended;
                told.lines.push_str(&file.content);
            } else if file.path.starts_with("/etc/apt/sources.list.d/") && has_ending(&file.path, "list") {
                told.lines.push_str(&file.content);
            } else if file.path.starts_with("/etc/apt/trusted.gpg.d/") {
                let path = scratch.join(format!("{}.asc", told.keyrings.len()));
                fs_err::write(&path, &file.content)?;
                told.keyrings.push(path);
            } else {
                return Ok(None);
            }
        }
        Ok(Some(told))
    }
}
