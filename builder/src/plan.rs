//! What a build will do, in order, decided before anything runs.
//!
//! ```text
//! unpack → { repositories → post-unpack.N → refresh → packages → post-packages.N } × base, container
//!        → files → post-files.N → tidy → { lxc, incus } → record
//! ```
//!
//! The middle runs once for the entries without a type and once for those that name `container`, because specs are
//! written for distrobuilder's two commands (see [`Phase`]). A stage goes on from the tree of the one before it; what
//! LXC and Incus want differently is made from one tidied tree. Stages without work are left out, and every action is
//! a stage of its own, so that a changed one does not repeat those before it. Whatever a spec asks for and this version
//! cannot do is an error here, with the key's name.

pub(crate) mod files;
pub(crate) mod lxc;
pub(crate) mod managers;
pub(crate) mod packages;
pub(crate) mod repositories;
pub(crate) mod source;

use std::collections::BTreeMap;
use std::path::Path;

use formats::record::BuildFile;
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
    /// Repositories, packages and the actions around them, stage by stage.
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

/// One stage of installing.
#[derive(Debug)]
pub(crate) struct Install {
    /// `packages`, `post-packages.2`, `container-packages`.
    pub(crate) stage: String,
    /// The entries it takes.
    pub(crate) phase: Phase,
    /// What it does, as far as later builds have to know.
    pub(crate) kind: InstallKind,
    /// Written before anything runs.
    pub(crate) repositories: Vec<RepositoryFile>,
    /// Actions and package manager calls, in order.
    pub(crate) steps: Vec<Step>,
}

/// What a stage of installing does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InstallKind {
    /// It does what the spec says and no more: what it leaves depends on nothing else.
    Written,
    /// It fetches lists of packages, which decide what every later stage finds.
    Refresh,
    /// It installs what the lists name.
    Packages,
}

/// A line of a plan, for people.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct PlanLine {
    /// The stage.
    pub(crate) stage: String,
    /// The stage whose tree it goes on from; none for the first.
    pub(crate) after: Option<String>,
    /// What happens.
    pub(crate) what: String,
}

impl Plan {
    /// Decides the build of `spec`.
    pub(crate) fn of(spec: &Spec, formats: Formats) -> Result<Self, PlanError> {
        let source = Source::of(spec, &spec.templates()?)?;
        Self::from(spec, formats, source, &[Phase::Base, Phase::Container])
    }

    /// Decides what is left to do for a tree in which everything without a type has been done, as distrobuilder's
    /// `pack-lxc` and `pack-incus` find it.
    pub(crate) fn upon(spec: &Spec, formats: Formats, tree: &Path) -> Result<Self, PlanError> {
        Self::from(spec, formats, Source::Tree { path: tree.to_owned() }, &[Phase::Container])
    }

    fn from(spec: &Spec, formats: Formats, source: Source, phases: &[Phase]) -> Result<Self, PlanError> {
        let templates = spec.templates()?;
        if spec.definition.targets.incus.vm.is_some() {
            return Err(PlanError::unsupported("targets.incus.vm", "virtual machine images"));
        }
        let manager = Manager::of(&spec.definition.packages)?;
        let mut installs = Vec::new();
        let mut lists_are_fresh = source.leaves_package_lists();
        for phase in phases.iter().copied() {
            if phase == Phase::Base && !source.first_steps().is_empty() {
                installs.push(Install {
                    stage: "first-steps".to_owned(),
                    phase,
                    kind: InstallKind::Packages,
                    repositories: Vec::new(),
                    steps: source.first_steps(),
                });
            }
            installs.extend(install(spec, &templates, &manager, phase, &mut lists_are_fresh)?);
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

    /// The stages for people, in order, one line for each thing that happens.
    pub(crate) fn lines(&self) -> Vec<PlanLine> {
        let mut lines = vec![PlanLine { stage: UNPACK.to_owned(), after: None, what: self.source.to_string() }];
        let mut last = UNPACK.to_owned();
        let mut add = |stage: &str, what: Vec<String>| {
            let line = |what| PlanLine { stage: stage.to_owned(), after: Some(last.clone()), what };
            lines.extend(what.into_iter().map(line));
            stage.clone_into(&mut last);
        };
        for install in &self.installs {
            let files = install.repositories.iter().map(|file| format!("write {}", file.path));
            add(&install.stage, files.chain(install.steps.iter().map(|step| step.label.clone())).collect());
        }
        if !self.files.is_empty() {
            add(FILES, self.files.iter().map(ToString::to_string).collect());
        }
        for (stage, step) in self.post_files() {
            add(&stage, vec![step.label.clone()]);
        }
        add(TIDY, vec!["remove caches, logs, host names, keys and machine ids".to_owned()]);
        for file in self.formats.files() {
            let (stage, after) = match file {
                BuildFile::RootfsSquashfs | BuildFile::IncusTarXz | BuildFile::LxdTarXz | BuildFile::UnifiedTarXz => {
                    (INCUS, TIDY)
                }
                BuildFile::RootfsTarXz | BuildFile::MetaTarXz => (LXC, TIDY),
                BuildFile::ImageYaml | BuildFile::PackagesJson | BuildFile::SbomSpdxJson => (RECORD, LXC),
            };
            lines.push(PlanLine { stage: stage.to_owned(), after: Some(after.to_owned()), what: file.to_string() });
        }
        lines
    }

    /// The number of a stage, and how many there are.
    pub(crate) fn place_of(&self, stage: &str) -> Option<(usize, usize)> {
        let mut stages: Vec<_> =
            self.lines().into_iter().map(|line| line.stage).filter(|name| name != RECORD).collect();
        stages.dedup();
        Some((stages.iter().position(|name| name == stage)? + 1, stages.len()))
    }

    /// Gives every step the network, also where the spec does not ask for it.
    pub(crate) fn give_network(&mut self) {
        let installs = self.installs.iter_mut().flat_map(|install| &mut install.steps);
        for step in installs.chain(&mut self.post_files) {
            step.network = true;
        }
    }

    /// The `post-files` actions with the names of their stages.
    pub(crate) fn post_files(&self) -> impl Iterator<Item = (String, &Step)> {
        let several = self.post_files.len() > 1;
        let name = move |index| numbered(Trigger::PostFiles.as_str().to_owned(), index, several);
        self.post_files.iter().enumerate().map(move |(index, step)| (name(index), step))
    }
}

fn install(
    spec: &Spec,
    templates: &Templates,
    manager: &Manager,
    phase: Phase,
    lists_are_fresh: &mut bool,
) -> Result<Vec<Install>, PlanError> {
    let Repositories { files: repositories, mut steps } = Repositories::of(spec, templates, manager, phase)?;
    let new_repositories = !repositories.is_empty() || !steps.is_empty();
    let post_unpack = actions(spec, templates, Trigger::PostUnpack, phase)?;
    // A script may have added a repository.
    *lists_are_fresh &= !new_repositories && post_unpack.is_empty();
    if phase == Phase::Base {
        steps.splice(..0, manager.prepare(spec.image.arch.as_str()));
    }
    let calls = packages::calls(spec, manager, phase);
    let post_update = actions(spec, templates, Trigger::PostUpdate, phase)?;
    let update = spec.definition.packages.update;
    let upgrades = update && (phase == Phase::Base || new_repositories);
    let works = !calls.is_empty() || upgrades;
    let mut refresh = Vec::new();
    if works && !*lists_are_fresh {
        refresh.extend(manager.refresh());
        *lists_are_fresh = true;
    }
    let mut packages = Vec::new();
    if upgrades {
        packages.extend(manager.update());
    }
    if update {
        packages.extend(post_update);
    }
    packages.extend(calls);
    if works && spec.definition.packages.cleanup {
        packages.extend(manager.clean());
    }
    let stage = |name: &str, kind, repositories, steps| {
        let prefix = if phase == Phase::Container { "container-" } else { "" };
        Install { stage: format!("{prefix}{name}"), phase, kind, repositories, steps }
    };
    let each = |trigger: Trigger, steps: Vec<Step>| {
        let several = steps.len() > 1;
        let name = move |index| numbered(trigger.as_str().to_owned(), index, several);
        let one = |(index, step)| stage(&name(index), InstallKind::Written, Vec::new(), vec![step]);
        steps.into_iter().enumerate().map(one).collect::<Vec<_>>()
    };
    let mut stages = vec![stage("repositories", InstallKind::Written, repositories, steps)];
    stages.extend(each(Trigger::PostUnpack, post_unpack));
    stages.push(stage("refresh", InstallKind::Refresh, Vec::new(), refresh));
    stages.push(stage("packages", InstallKind::Packages, Vec::new(), packages));
    stages.extend(each(Trigger::PostPackages, actions(spec, templates, Trigger::PostPackages, phase)?));
    stages.retain(|stage| !stage.repositories.is_empty() || !stage.steps.is_empty());
    Ok(stages)
}

/// The name of one of several stages: `post-files.2`.
fn numbered(name: String, index: usize, several: bool) -> String {
    if several { format!("{name}.{}", index + 1) } else { name }
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
        let label = format!("{} action {place}", trigger.as_str());
        steps.push(Step { network: action.network, ..Step::new(label, Run::Script(text)) });
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

/// The first stage.
pub(crate) const UNPACK: &str = "unpack";
/// The stage that writes the entries of `files`.
pub(crate) const FILES: &str = "files";
/// The stage that removes what no image should have.
pub(crate) const TIDY: &str = "tidy";
/// The stage that packs for LXC.
pub(crate) const LXC: &str = "lxc";
/// The stage that packs for Incus and LXD.
pub(crate) const INCUS: &str = "incus";
const RECORD: &str = "record";

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
