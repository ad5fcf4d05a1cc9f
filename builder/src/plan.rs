//! What a build will do, in order, decided before anything runs.
//!
//! ```text
//! unpack → { repositories → post-unpack → packages → post-update → post-packages } × base, container
//!        → files → post-files → tidy → pack
//! ```
//!
//! The middle runs once for the entries without a type and once for those that name `container`, because specs are
//! written for distrobuilder's two commands (see [`Phase`]). Whatever a spec asks for and this version cannot do is
//! an error here, with the key's name.

pub(crate) mod files;
pub(crate) mod lxc;
pub(crate) mod managers;
pub(crate) mod packages;
pub(crate) mod repositories;
pub(crate) mod source;

use std::collections::BTreeMap;

use terminal::{Advice, ExitStatus};

use self::files::FileStep;
use self::lxc::LxcPlan;
use self::packages::Manager;
use self::repositories::{Repositories, RepositoryFile};
use self::source::Source;
use crate::format::Formats;
use crate::sandbox::{Run, Step};
use crate::spec::Spec;
use crate::spec::definition::Trigger;
use crate::spec::filter::Phase;
use crate::spec::lines::Section;
use crate::spec::template::{TemplateError, Templates};

/// The whole build.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Where the tree comes from.
    pub(crate) source: Source,
    /// Repositories, packages and the actions around them, phase by phase.
    pub(crate) installs: Vec<Install>,
    /// Files written into the tree, in the order of the spec.
    pub(crate) files: Vec<FileStep>,
    /// The `post-files` actions.
    pub(crate) post_files: Vec<Step>,
    /// What runs in the tree sees this environment.
    pub(crate) environment: BTreeMap<String, String>,
    /// The package manager, which decides what is tidied up.
    pub(crate) manager: Manager,
    /// The LXC metadata that does not depend on the tree.
    pub(crate) lxc: LxcPlan,
    /// The rendered `image.name` and `image.description`.
    pub(crate) name: String,
    pub(crate) description: String,
    /// What is packed.
    pub(crate) formats: Formats,
}

/// One pass over repositories and packages.
#[derive(Debug)]
pub(crate) struct Install {
    /// The entries it takes.
    pub(crate) phase: Phase,
    /// Written before anything runs.
    pub(crate) repositories: Vec<RepositoryFile>,
    /// Actions and package manager calls, in order.
    pub(crate) steps: Vec<Step>,
}

impl Plan {
    /// Decides the build of `spec`.
    pub(crate) fn of(spec: &Spec, formats: Formats) -> Result<Self, PlanError> {
        let templates = spec.templates()?;
        if spec.definition.targets.incus.vm.is_some() {
            return Err(PlanError::unsupported("targets.incus.vm", "virtual machine images"));
        }
        let manager = Manager::of(&spec.definition.packages)?;
        let source = Source::of(spec, &templates)?;
        let mut installs = Vec::new();
        let mut lists_are_fresh = source.leaves_package_lists();
        for phase in [Phase::Base, Phase::Container] {
            let mut install = install(spec, &templates, &manager, phase, &mut lists_are_fresh)?;
            if phase == Phase::Base {
                install.steps.splice(..0, source.first_steps());
            }
            if !install.repositories.is_empty() || !install.steps.is_empty() {
                installs.push(install);
            }
        }
        Ok(Self {
            source,
            installs,
            files: files::of(spec, &templates)?,
            post_files: actions(spec, &templates, Trigger::PostFiles, Phase::Both)?,
            environment: environment(spec),
            manager,
            lxc: LxcPlan::of(spec, &templates, formats)?,
            name: templates.render("image.name", &spec.definition.image.name)?,
            description: templates.render("image.description", &spec.definition.image.description)?,
            formats,
        })
    }

    /// The stages for people, one line each: a name and what it does.
    pub(crate) fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![("unpack", self.source.to_string())];
        for install in &self.installs {
            let stage = if install.phase == Phase::Base { "packages" } else { "container packages" };
            lines.extend(install.repositories.iter().map(|file| (stage, format!("write {}", file.path))));
            lines.extend(install.steps.iter().map(|step| (stage, step.label.clone())));
        }
        lines.extend(self.files.iter().map(|file| ("files", file.to_string())));
        lines.extend(self.post_files.iter().map(|step| ("files", step.label.clone())));
        lines.push(("tidy", "remove caches, logs, host names, keys and machine ids".to_owned()));
        lines.extend(self.formats.files().into_iter().map(|file| ("pack", file.to_string())));
        lines
    }
}

fn install(
    spec: &Spec,
    templates: &Templates,
    manager: &Manager,
    phase: Phase,
    lists_are_fresh: &mut bool,
) -> Result<Install, PlanError> {
    let Repositories { files: repositories, mut steps } = Repositories::of(spec, templates, manager, phase)?;
    let new_repositories = !repositories.is_empty() || !steps.is_empty();
    steps.extend(actions(spec, templates, Trigger::PostUnpack, phase)?);
    // A script may have added a repository.
    *lists_are_fresh &= repositories.is_empty() && steps.is_empty();
    if phase == Phase::Base {
        steps.splice(..0, manager.prepare(spec.image.arch.as_str()));
    }
    let calls = packages::calls(spec, manager, phase);
    let post_update = actions(spec, templates, Trigger::PostUpdate, phase)?;
    let update = spec.definition.packages.update;
    let upgrades = update && (phase == Phase::Base || new_repositories);
    let works = !calls.is_empty() || upgrades;
    if works && !*lists_are_fresh {
        steps.extend(manager.refresh());
        *lists_are_fresh = true;
    }
    if upgrades {
        steps.extend(manager.update());
    }
    if update {
        steps.extend(post_update);
    }
    steps.extend(calls);
    if works && spec.definition.packages.cleanup {
        steps.extend(manager.clean());
    }
    steps.extend(actions(spec, templates, Trigger::PostPackages, phase)?);
    Ok(Install { phase, repositories, steps })
}

/// The actions of a trigger, each checked for the line that says what runs it.
fn actions(spec: &Spec, templates: &Templates, trigger: Trigger, phase: Phase) -> Result<Vec<Step>, PlanError> {
    let image = &spec.definition.image;
    let mut steps = Vec::new();
    for (index, action) in spec.definition.actions.iter().enumerate() {
        if action.trigger != trigger || !action.filter().matches(image, phase) {
            continue;
        }
        let place = spec.lines.place(Section::Actions, index);
        let text = if action.pongo { templates.render(&place, &action.action)? } else { action.action.to_string() };
        if !text.starts_with("#!") {
            return Err(PlanError::NoInterpreter { place });
        }
        steps.push(Step { label: format!("{} action {place}", trigger.as_str()), run: Run::Script(text) });
    }
    Ok(steps)
}

/// The environment of everything that runs in the tree: the contract's defaults, then the spec's own variables, which
/// win.
fn environment(spec: &Spec) -> BTreeMap<String, String> {
    let own = &spec.definition.environment;
    let mut environment = BTreeMap::new();
    if !own.clear_defaults {
        environment.extend(DEFAULT_ENVIRONMENT.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }
    let applies =
        own.variables.iter().filter(|variable| variable.filter().matches(&spec.definition.image, Phase::Both));
    environment.extend(applies.map(|variable| (variable.key.to_string(), variable.value.to_string())));
    environment
}

/// Why a spec cannot be built.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    #[error("`{key}` asks for {what}, which this version does not build")]
    Unsupported { key: String, what: String },
    #[error("{place}: a script must begin with `#!` and the program that runs it")]
    NoInterpreter { place: String },
    #[error("{place}: {problem}")]
    Entry { place: String, problem: String },
    #[error("nothing vouches for what comes from `{url}`")]
    NothingVouches { url: String },
    #[error("`targets.lxc.config` has no entry for mode `{mode}` at compat level 5, which today's LXC uses")]
    NoConfig { mode: formats::compat::Mode },
    #[error(transparent)]
    Template(#[from] TemplateError),
}

impl PlanError {
    pub(crate) fn unsupported(key: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Unsupported { key: key.into(), what: what.into() }
    }
}

impl Advice for PlanError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoInterpreter { .. } => Some("`#!/bin/sh` as its first line is usual".to_owned()),
            Self::NoConfig { .. } => {
                Some("add an entry of type `all`, or choose other `--formats` than `lxc`".to_owned())
            }
            Self::NothingVouches { .. } => Some(crate::source::NOTHING_VOUCHES.to_owned()),
            Self::Unsupported { .. } | Self::Entry { .. } | Self::Template(_) => None,
        }
    }

    fn exit_status(&self) -> ExitStatus {
        ExitStatus::Refused
    }
}

/// distrobuilder's defaults (`shared/chroot.go`), and a home.
const DEFAULT_ENVIRONMENT: [(&str, &str); 5] = [
    ("PATH", "/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"),
    ("SHELL", "/bin/sh"),
    ("TERM", "xterm"),
    ("DEBIAN_FRONTEND", "noninteractive"),
    ("HOME", "/root"),
];

#[cfg(test)]
mod tests;
