//! Package managers: which commands a spec's package section means.

use crate::plan::PlanError;
use crate::plan::managers::Tool;
use crate::sandbox::{Run, Step};
use crate::spec::Spec;
use crate::spec::definition::{CustomCommand, CustomManager, Packages, SetAction};
use crate::spec::filter::Phase;
use crate::spec::lines::Section;

/// A package manager.
#[derive(Clone, Debug)]
pub(crate) enum Manager {
    /// One that the builder knows.
    Known(&'static Tool),
    /// One that the spec describes.
    Custom(Box<CustomManager>),
}

impl Manager {
    /// The manager a spec names.
    pub(crate) fn of(packages: &Packages) -> Result<Self, PlanError> {
        if let Some(custom) = &packages.custom_manager {
            return Ok(Self::Custom(Box::new(custom.clone())));
        }
        let unknown = || PlanError::unsupported("packages.manager", format!("packages from `{}`", packages.manager));
        Tool::named(&packages.manager).map(Self::Known).ok_or_else(unknown)
    }

    /// Whether it is the manager of that name.
    pub(crate) fn is(&self, name: &str) -> bool {
        matches!(self, Self::Known(tool) if tool.name == name)
    }

    /// What it needs before it can do anything at all.
    pub(crate) fn prepare(&self, arch: &str) -> Option<Step> {
        if !self.is("pacman") {
            return None;
        }
        // distrobuilder asks the machine it runs on, which is wrong for an image of another architecture.
        let keyring = if arch.starts_with("arm") { "archlinuxarm" } else { "archlinux" };
        let words = ["sh", "-c", PACMAN_KEYS, "sh", keyring].map(str::to_owned).to_vec();
        Some(Step::new("make pacman's keyring", Run::Command(words)).with_network())
    }

    /// Fetches the lists of what there is.
    pub(crate) fn refresh(&self) -> Option<Step> {
        self.step("refresh the package lists", |tool| tool.refresh, |custom| &custom.refresh)
    }

    /// Upgrades what is installed.
    pub(crate) fn update(&self) -> Option<Step> {
        self.step("upgrade packages", |tool| tool.update, |custom| &custom.update)
    }

    /// Removes what installing leaves behind.
    pub(crate) fn clean(&self) -> Option<Step> {
        self.step("clean up after packages", |tool| tool.clean, |custom| &custom.clean)
    }

    fn change(&self, action: SetAction, flags: &[String], packages: &[String]) -> Option<Step> {
        let what = match packages {
            [one] => one.clone(),
            several => format!("{} packages", several.len()),
        };
        let mut step = match action {
            SetAction::Install => self.step(&format!("install {what}"), |tool| tool.install, |custom| &custom.install),
            SetAction::Remove => self.step(&format!("remove {what}"), |tool| tool.remove, |custom| &custom.remove),
        }?;
        if let Run::Command(words) = &mut step.run {
            words.extend(flags.iter().chain(packages).cloned());
        }
        Some(step)
    }

    fn step(
        &self,
        label: &str,
        known: impl FnOnce(&Tool) -> &'static [&'static str],
        custom: impl FnOnce(&CustomManager) -> &CustomCommand,
    ) -> Option<Step> {
        let command: Vec<String> = match self {
            Self::Known(tool) => known(tool).iter().map(|word| (*word).to_owned()).collect(),
            Self::Custom(manager) => {
                let call = custom(manager);
                let words = std::iter::once(&call.cmd).chain(&manager.flags).chain(&call.flags);
                words.map(ToString::to_string).collect()
            }
        };
        (!command.is_empty()).then(|| Step::new(label, Run::Command(command)).with_network())
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
    full.filter_map(|(action, flags, packages)| manager.change(*action, flags, packages)).collect()
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

const PACMAN_KEYS: &str = "test -e /etc/pacman.d/gnupg && exit\n\
                           pacman-key --init && exec pacman-key --populate \"$1\"\n";
