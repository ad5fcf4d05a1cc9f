//! How package managers are told of the repositories of a spec.

use crate::plan::PlanError;
use crate::plan::managers::RepositoryStyle;
use crate::plan::packages::Manager;
use crate::sandbox::{Run, Step};
use crate::spec::Spec;
use crate::spec::definition::Repository;
use crate::spec::filter::Phase;
use crate::spec::lines::Section;
use crate::spec::template::Templates;

/// What is done for the repositories, in this order.
#[derive(Debug, Default)]
pub(crate) struct Repositories {
    /// Files in the tree.
    pub(crate) files: Vec<RepositoryFile>,
    /// Calls of the package manager.
    pub(crate) steps: Vec<Step>,
}

/// A file that tells the package manager about repositories or keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RepositoryFile {
    /// In the tree.
    pub(crate) path: String,
    /// The whole file, or what is added to it.
    pub(crate) content: String,
    /// Whether what the file holds already stays.
    pub(crate) appended: bool,
}

impl Repositories {
    /// The repositories of a spec that apply in `phase`.
    pub(crate) fn of(spec: &Spec, templates: &Templates, manager: &Manager, phase: Phase) -> Result<Self, PlanError> {
        let mut repositories = Self::default();
        for (index, repository) in spec.definition.packages.repositories.iter().enumerate() {
            if !repository.filter().matches(&spec.definition.image, phase) {
                continue;
            }
            let place = spec.lines.place(Section::Repositories, index);
            let url = templates.render(&place, &repository.url)?;
            let key = templates.render(&place, &repository.key)?;
            repositories.add(&Rendered { place, repository, url, key }, manager)?;
        }
        Ok(repositories)
    }

    fn add(&mut self, one: &Rendered, manager: &Manager) -> Result<(), PlanError> {
        let Manager::Known(tool) = manager else {
            return Err(PlanError::unsupported(&one.place, "a repository of a custom package manager"));
        };
        match tool.repository {
            RepositoryStyle::None => {
                let what = format!("a repository of `{}`, which has no command for it", tool.name);
                return Err(PlanError::unsupported(&one.place, what));
            }
            RepositoryStyle::Apt => self.apt(one)?,
            RepositoryStyle::Apk => {
                if !one.url.is_empty() {
                    self.append("/etc/apk/repositories".to_owned(), &one.url);
                }
                if !one.key.is_empty() && !one.repository.name.is_empty() {
                    self.write(format!("/etc/apk/keys/{}", one.file_name()?), &one.key);
                }
            }
            RepositoryStyle::File { directory, ending } => {
                if tool.name == "yum" {
                    self.call("rebuild the package database", &["rpmdb", "--rebuilddb"]);
                }
                self.write(format!("{directory}/{}", one.file_name_ending_in(ending)?), &one.url);
            }
            RepositoryStyle::Zypper => {
                one.is_of_type(&["", "zypper"])?;
                self.call(&one.label(), &["zypper", "ar", "--refresh", "--check", one.given_url()?, one.given_name()?]);
            }
            RepositoryStyle::Equo => {
                one.is_of_type(&["", "equo", "enman"])?;
                if one.repository.kind == "enman" {
                    let what = if one.url.is_empty() { one.given_name()? } else { &one.url };
                    self.call(&one.label(), &["enman", "add", what]);
                } else {
                    let url = one.given_url()?;
                    self.call(&one.label(), &["equo", "repo", "add", "--repo", url, "--pkg", url, one.given_name()?]);
                }
            }
        }
        Ok(())
    }

    /// Entries of one name share a file.
    fn apt(&mut self, one: &Rendered) -> Result<(), PlanError> {
        let path = match one.file_name()? {
            "sources.list" => "/etc/apt/sources.list".to_owned(),
            _ => format!("/etc/apt/sources.list.d/{}", one.file_name_ending_in(".list")?),
        };
        match self.files.iter_mut().find(|file| file.path == path) {
            Some(file) => file.content.push_str(&ended(&one.url)),
            None => self.write(path, &one.url),
        }
        if one.key.trim().is_empty() {
            return Ok(());
        }
        if !one.key.contains("BEGIN PGP PUBLIC KEY BLOCK") {
            let what = "a key by its fingerprint; give the armored certificate";
            return Err(PlanError::unsupported(&one.place, what));
        }
        self.write(format!("/etc/apt/trusted.gpg.d/{}.asc", one.repository.name), &one.key);
        Ok(())
    }

    fn write(&mut self, path: String, content: &str) {
        self.files.push(RepositoryFile { path, content: ended(content), appended: false });
    }

    fn append(&mut self, path: String, content: &str) {
        self.files.push(RepositoryFile { path, content: ended(content), appended: true });
    }

    fn call(&mut self, label: &str, words: &[&str]) {
        let command = words.iter().map(|word| (*word).to_owned()).collect();
        self.steps.push(Step::new(label, Run::Command(command)).with_network());
    }
}

/// An entry with its templates rendered.
struct Rendered<'a> {
    place: String,
    repository: &'a Repository,
    url: String,
    key: String,
}

impl Rendered<'_> {
    fn wrong(&self, problem: impl Into<String>) -> PlanError {
        PlanError::Entry { place: self.place.clone(), problem: problem.into() }
    }

    fn label(&self) -> String {
        format!("add the repository {}", self.repository.name)
    }

    fn file_name(&self) -> Result<&str, PlanError> {
        let name = self.repository.name.as_str();
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            return Err(self.wrong(format!("`{name}` cannot be the name of a file")));
        }
        Ok(name)
    }

    fn file_name_ending_in(&self, ending: &str) -> Result<String, PlanError> {
        let name = self.file_name()?;
        Ok(if name.ends_with(ending) { name.to_owned() } else { format!("{name}{ending}") })
    }

    fn given_name(&self) -> Result<&str, PlanError> {
        if self.repository.name.is_empty() {
            Err(self.wrong("`name` is required and empty"))
        } else {
            Ok(&self.repository.name)
        }
    }

    fn given_url(&self) -> Result<&str, PlanError> {
        if self.url.is_empty() { Err(self.wrong("`url` is required and empty")) } else { Ok(&self.url) }
    }

    fn is_of_type(&self, types: &[&str]) -> Result<(), PlanError> {
        let kind = self.repository.kind.as_str();
        if types.contains(&kind) {
            Ok(())
        } else {
            Err(self.wrong(format!("this manager has no repositories of type `{kind}`")))
        }
    }
}

fn ended(text: &str) -> String {
    if text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") }
}
