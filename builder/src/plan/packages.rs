//! Package managers: which commands a spec's package section means.

use crate::plan::PlanError;
use crate::sandbox::{Run, Step};
use crate::spec::Spec;
use crate::spec::definition::{CustomCommand, CustomManager, Packages, SetAction};
use crate::spec::filter::Phase;
use crate::spec::lines::Section;
use crate::spec::template::Templates;

/// A package manager.
#[derive(Clone, Debug)]
pub(crate) enum Manager {
    /// Debian's.
    Apt,
    /// One that the spec describes.
    Custom(Box<CustomManager>),
}

/// A file that tells the package manager about repositories or keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RepositoryFile {
    /// In the tree.
    pub(crate) path: String,
    /// The whole file.
    pub(crate) content: String,
}

impl Manager {
    /// The manager a spec names.
    pub(crate) fn of(packages: &Packages) -> Result<Self, PlanError> {
        match &packages.custom_manager {
            Some(custom) => Ok(Self::Custom(Box::new(custom.clone()))),
            None if packages.manager == "apt" => Ok(Self::Apt),
            None => Err(PlanError::unsupported("packages.manager", format!("packages from `{}`", packages.manager))),
        }
    }

    /// Fetches the lists of what there is.
    pub(crate) fn refresh(&self) -> Step {
        self.step("refresh the package lists", &["update"], |custom| &custom.refresh, &[], &[])
    }

    /// Upgrades what is installed.
    pub(crate) fn update(&self) -> Step {
        self.step("upgrade packages", &["dist-upgrade"], |custom| &custom.update, &[], &[])
    }

    /// Removes what installing leaves behind. apt's is removed from outside when the tree is tidied up, after the
    /// package cache has taken what it can use.
    pub(crate) fn clean(&self) -> Option<Step> {
        match self {
            Self::Apt => None,
            Self::Custom(_) => Some(self.step("clean up after packages", &[], |custom| &custom.clean, &[], &[])),
        }
    }

    fn change(&self, action: SetAction, flags: &[String], packages: &[String]) -> Step {
        let what = match packages {
            [one] => one.clone(),
            several => format!("{} packages", several.len()),
        };
        match action {
            SetAction::Install => {
                self.step(&format!("install {what}"), &["install"], |custom| &custom.install, flags, packages)
            }
            SetAction::Remove => self.step(
                &format!("remove {what}"),
                &["remove", "--auto-remove"],
                |custom| &custom.remove,
                flags,
                packages,
            ),
        }
    }

    fn step(
        &self,
        label: &str,
        apt: &[&str],
        custom: impl FnOnce(&CustomManager) -> &CustomCommand,
        flags: &[String],
        packages: &[String],
    ) -> Step {
        let mut command: Vec<String> = match self {
            Self::Apt => ["apt-get", "-y"].iter().chain(apt).map(|word| (*word).to_owned()).collect(),
            Self::Custom(manager) => {
                let call = custom(manager);
                let words = std::iter::once(&call.cmd).chain(&manager.flags).chain(&call.flags);
                words.map(ToString::to_string).collect()
            }
        };
        command.extend(flags.iter().chain(packages).cloned());
        Step { label: label.to_owned(), run: Run::Command(command) }
    }
}

/// The calls for the sets that apply: in the order of the spec, neighbours with the same action and flags in one.
pub(crate) fn calls(spec: &Spec, manager: &Manager, phase: Phase) -> Vec<Step> {
    let mut merged: Vec<(SetAction, Vec<String>, Vec<String>)> = Vec::new();
    for set in &spec.definition.packages.sets {
        if set.early || !set.filter().matches(&spec.definition.image, phase) {
            continue;
        }
        let [flags, packages] =
            [&set.flags, &set.packages].map(|list| list.iter().map(ToString::to_string).collect::<Vec<_>>());
        match merged.last_mut() {
            Some((action, previous, list)) if *action == set.action && *previous == flags => list.extend(packages),
            _ => merged.push((set.action, flags, packages)),
        }
    }
    let full = merged.iter().filter(|(_, _, packages)| !packages.is_empty());
    full.map(|(action, flags, packages)| manager.change(*action, flags, packages)).collect()
}

/// The packages of `early` sets, which the downloader itself installs.
pub(crate) fn early(spec: &Spec) -> Result<Vec<String>, PlanError> {
    let mut packages = Vec::new();
    for (index, set) in spec.definition.packages.sets.iter().enumerate() {
        if set.early && set.filter().matches(&spec.definition.image, Phase::Both) {
            if set.action == SetAction::Remove {
                let place = spec.lines.place(Section::Sets, index);
                return Err(PlanError::unsupported(place, "packages removed before they are installed"));
            }
            packages.extend(set.packages.iter().map(ToString::to_string));
        }
    }
    Ok(packages)
}

/// The files for the repositories that apply. Entries of one name share a file.
pub(crate) fn repositories(
    spec: &Spec,
    templates: &Templates,
    manager: &Manager,
    phase: Phase,
) -> Result<Vec<RepositoryFile>, PlanError> {
    let mut files: Vec<RepositoryFile> = Vec::new();
    for (index, repository) in spec.definition.packages.repositories.iter().enumerate() {
        if !repository.filter().matches(&spec.definition.image, phase) {
            continue;
        }
        let place = spec.lines.place(Section::Repositories, index);
        if !matches!(manager, Manager::Apt) {
            return Err(PlanError::unsupported(place, "a repository of a custom package manager"));
        }
        let name = repository.name.as_str();
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            let problem = format!("`{name}` cannot be the name of a file");
            return Err(PlanError::Entry { place, problem });
        }
        let path = match name {
            "sources.list" => "/etc/apt/sources.list".to_owned(),
            _ => format!("/etc/apt/sources.list.d/{name}.list"),
        };
        let url = templates.render(&place, &repository.url)?;
        let line = if url.ends_with('\n') { url } else { url + "\n" };
        match files.iter_mut().find(|file| file.path == path) {
            Some(file) => file.content.push_str(&line),
            None => files.push(RepositoryFile { path, content: line }),
        }
        let key = templates.render(&place, &repository.key)?;
        if key.trim().is_empty() {
            continue;
        }
        if !key.contains("BEGIN PGP PUBLIC KEY BLOCK") {
            return Err(PlanError::unsupported(place, "a key by its fingerprint; give the armored certificate"));
        }
        files.push(RepositoryFile { path: format!("/etc/apt/trusted.gpg.d/{name}.asc"), content: key });
    }
    Ok(files)
}
