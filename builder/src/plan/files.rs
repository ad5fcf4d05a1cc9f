//! What a spec's `files` section means.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::plan::PlanError;
use crate::spec::Spec;
use crate::spec::definition::{File, Generator};
use crate::spec::filter::Phase;
use crate::spec::lines::Section;
use crate::spec::template::Templates;

/// One entry, rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileStep {
    /// `files[3] (line 57)`.
    pub(crate) place: String,
    /// In the tree.
    pub(crate) path: String,
    /// What happens to it.
    pub(crate) kind: FileKind,
    /// Owner and mode, where the entry sets them.
    pub(crate) owner: Ownership,
    /// When Incus writes the file, if it does: after these events.
    pub(crate) when: Vec<String>,
    /// Values for Incus's template.
    pub(crate) properties: BTreeMap<String, String>,
}

/// What happens to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// It is written; LXC replaces names such as `LXC_NAME` in it when `templated`.
    Dump { content: String, templated: bool },
    /// It is copied from this machine.
    Copy { source: PathBuf },
    /// It is removed, with everything below.
    Remove,
    /// It holds the container's name.
    Hostname,
    /// It knows the container's name.
    Hosts,
    /// Incus writes it.
    Template(IncusFile),
    /// Incus writes it for cloud-init; LXC containers do without cloud-init.
    CloudInit { seed: Seed, content: String },
}

/// A file that Incus writes into each instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IncusFile {
    /// The template's name without `.tpl`.
    pub(crate) name: String,
    /// The text with Incus's own tags.
    pub(crate) content: String,
}

/// A document of cloud-init's `NoCloud` data source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seed {
    UserData,
    MetaData,
    VendorData,
    NetworkConfig,
}

impl Seed {
    const ALL: [Self; 4] = [Self::UserData, Self::MetaData, Self::VendorData, Self::NetworkConfig];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::UserData => "user-data",
            Self::MetaData => "meta-data",
            Self::VendorData => "vendor-data",
            Self::NetworkConfig => "network-config",
        }
    }
}

/// Owner and mode; what is absent is left as it comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ownership {
    pub(crate) mode: Option<u32>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
}

/// The entries that apply, in the order of the spec.
pub(crate) fn of(spec: &Spec, templates: &Templates) -> Result<Vec<FileStep>, PlanError> {
    let mut steps = Vec::new();
    for (index, file) in spec.definition.files.iter().enumerate() {
        if file.filter().matches(&spec.definition.image, Phase::Both) {
            steps.push(step(spec, templates, file, spec.lines.place(Section::Files, index))?);
        }
    }
    Ok(steps)
}

fn step(spec: &Spec, templates: &Templates, file: &File, place: String) -> Result<FileStep, PlanError> {
    let wrong = |problem: String| PlanError::Entry { place: place.clone(), problem };
    let shown = |text: &str| if file.pongo { templates.render(&place, text) } else { Ok(text.to_owned()) };
    let mut path = shown(&file.path)?;
    let content = shown(&file.content)?;
    let mut when: Vec<String> = file.template.when.iter().map(ToString::to_string).collect();
    if when.is_empty() {
        when = ["create", "copy"].map(str::to_owned).to_vec();
    }
    let kind = match file.generator {
        Generator::Dump => FileKind::Dump { content: ended(content), templated: file.templated },
        Generator::Copy if file.source.is_empty() => return Err(wrong("`source` is required and empty".to_owned())),
        Generator::Copy => FileKind::Copy { source: spec.directory.join(shown(&file.source)?) },
        Generator::Remove => FileKind::Remove,
        Generator::Hostname => FileKind::Hostname,
        Generator::Hosts => FileKind::Hosts,
        Generator::Template => {
            FileKind::Template(IncusFile { name: template_name(&file.name, &place)?, content: ended(content) })
        }
        Generator::CloudInit => {
            let seed = Seed::ALL.into_iter().find(|seed| file.name == seed.name());
            let seed = seed.ok_or_else(|| wrong(format!("cloud-init has no document `{}`", file.name)))?;
            if path.is_empty() {
                path = format!("/var/lib/cloud/seed/nocloud-net/{}", seed.name());
            }
            FileKind::CloudInit { seed, content }
        }
        Generator::IncusAgent | Generator::Fstab => {
            return Err(wrong("this generator is for virtual machines: add `types: [vm]`".to_owned()));
        }
    };
    let special = !matches!(kind, FileKind::Dump { .. } | FileKind::Copy { .. });
    if special && [&file.mode, &file.uid, &file.gid].iter().any(|value| !value.is_empty()) {
        return Err(wrong("`mode`, `uid` and `gid` are for the generators `dump` and `copy`".to_owned()));
    }
    if path.trim_matches('/').is_empty() {
        return Err(wrong("`path` is required and empty".to_owned()));
    }
    let id = |key: &str, value: &str| match value {
        "" => Ok(None),
        number => {
            number.parse().map(Some).map_err(|_| wrong(format!("expected `{key}` as a number, found `{number}`")))
        }
    };
    let owner = Ownership {
        mode: u32::from_str_radix(&file.mode, 8).ok(),
        uid: id("uid", &file.uid)?,
        gid: id("gid", &file.gid)?,
    };
    let properties = file.template.properties.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    Ok(FileStep { place, path, kind, owner, when, properties })
}

fn template_name(name: &str, place: &str) -> Result<String, PlanError> {
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        let problem = format!("`{name}` cannot be the name of a template");
        return Err(PlanError::Entry { place: place.to_owned(), problem });
    }
    Ok(name.to_owned())
}

/// The text as a file's content: it ends in a newline, and an empty one is a newline.
fn ended(text: String) -> String {
    if text.ends_with('\n') { text } else { text + "\n" }
}

impl fmt::Display for FileStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match &self.kind {
            FileKind::Dump { .. } => write!(f, "write {path}"),
            FileKind::Copy { source } => write!(f, "copy {} to {path}", source.display()),
            FileKind::Remove => write!(f, "remove {path}"),
            FileKind::Hostname => write!(f, "put the container's name in {path}"),
            FileKind::Hosts => write!(f, "put the container's name among {path}"),
            FileKind::Template(file) => write!(f, "let Incus write {path} from {}.tpl", file.name),
            FileKind::CloudInit { seed, .. } => write!(f, "let Incus write cloud-init's {} to {path}", seed.name()),
        }
    }
}
