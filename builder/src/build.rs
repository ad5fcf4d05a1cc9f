//! Building: the plan's stages, one after the other.

pub(crate) mod inventory;
pub(crate) mod tree;
pub(crate) mod unpack;

mod generate;
mod native;
mod pack;
mod record;
mod sbom;
mod tidy;
mod workspace;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use archive::xz::XzOptions;
use formats::record::{BuildFile, BuildRecord};
use formats::time::Timestamp;
use serde_json::json;
use terminal::{Advice, ExitStatus, Printer, human};

use self::inventory::Inventory;
use self::pack::{Packed, Packer};
use self::record::{About, Made};
use self::tree::Tree;
use self::unpack::{Engine, Unpack, Unpacked, proxies};
use self::workspace::Workspace;
use crate::bootstrap::BootstrapError;
use crate::cache::{CacheError, PackageCache};
use crate::limits;
use crate::plan::{Install, Plan};
use crate::sandbox::{self, SandboxError, Session, Step, Surroundings};
use crate::source::SourceError;
use crate::spec::Spec;

/// How to build.
pub(crate) struct Options {
    /// Where builds go.
    pub(crate) output: PathBuf,
    /// Where downloaded packages are kept; nowhere without one.
    pub(crate) cache: Option<PathBuf>,
    /// Who installs the packages of the first tree.
    pub(crate) engine: Engine,
    /// The time of the build: nothing in it is newer.
    pub(crate) now: Timestamp,
    /// How hard to compress the rootfs.
    pub(crate) xz_level: u32,
    /// How long the whole build may take.
    pub(crate) timeout: Option<Duration>,
    /// The overrides as they were given, for the record.
    pub(crate) overrides: Vec<String>,
}

/// A finished build.
pub(crate) struct Built {
    /// Where it is.
    pub(crate) directory: PathBuf,
    /// What it is.
    pub(crate) record: BuildRecord,
    /// How long it took.
    pub(crate) elapsed: Duration,
}

/// Builds the image that `plan` describes. What a failed build has made so far is kept.
pub(crate) fn build(spec: &Spec, plan: &Plan, options: &Options, printer: &Printer) -> Result<Built, BuildError> {
    let begun = Instant::now();
    let workspace = Workspace::create(&options.output, &spec.image, &spec.serial)?;
    let log = File::create_new(workspace.build().join(LOG))?;
    let around = Surroundings { log: &log, deadline: options.timeout.map(|timeout| begun + timeout) };
    let running = Running { spec, plan, options, printer, workspace: &workspace, around };
    match running.run() {
        Ok(record) => {
            drop(log);
            Ok(Built { directory: workspace.publish()?, record, elapsed: begun.elapsed() })
        }
        Err(source) => {
            let tail = last_lines(&workspace.build().join(LOG));
            Err(BuildError::Kept { directory: workspace.keep(), tail, source: Box::new(source) })
        }
    }
}

struct Running<'a> {
    spec: &'a Spec,
    plan: &'a Plan,
    options: &'a Options,
    printer: &'a Printer,
    workspace: &'a Workspace,
    around: Surroundings<'a>,
}

impl Running<'_> {
    fn run(&self) -> Result<BuildRecord, BuildError> {
        let cache = self.options.cache.as_ref().map(|root| PackageCache::open(root, &self.spec.image)).transpose()?;
        let (work, tree) = (self.workspace.work(), self.workspace.tree());
        let unpack = Unpack {
            work: &work,
            tree: &tree,
            cache: cache.as_ref(),
            engine: self.options.engine,
            now: self.options.now,
            printer: self.printer,
            around: self.around,
        };
        let Unpacked { from, known } = self.stage("Unpacking the source", || unpack.run(&self.plan.source))?;
        let tree = Tree::open(&tree)?;
        if self.plan.source.copies_from_the_host() {
            tidy::host_traces(&tree)?;
        }
        let mut inventory = known.updated(&tree)?;
        for install in &self.plan.installs {
            self.stage(install.title(), || self.install(&tree, install))?;
            inventory = inventory.updated(&tree)?;
        }
        if let Some(cache) = &cache
            && tree.has(ARCHIVES)?
        {
            cache.adopt(&tree.path().join(ARCHIVES.trim_start_matches('/')), &inventory)?;
        }
        self.stage("Writing the files", || {
            for file in &self.plan.files {
                generate::common(&tree, file)
                    .map_err(|source| BuildError::File { place: file.place.clone(), source })?;
            }
            self.session(&tree, &self.plan.post_files)?;
            Ok(tidy::all(&tree, &self.plan.manager)?)
        })?;
        inventory = inventory.updated(&tree)?;
        self.pack(&tree, &inventory, from)
    }

    fn install(&self, tree: &Tree, install: &Install) -> Result<(), BuildError> {
        for file in &install.repositories {
            let owner = crate::plan::files::Ownership { mode: Some(0o644), ..Default::default() };
            let earlier = if file.appended { tree.read(&file.path)?.unwrap_or_default() } else { Vec::new() };
            tree.write(&file.path, &[earlier.as_slice(), file.content.as_bytes()].concat(), owner)?;
        }
        self.session(tree, &install.steps)
    }

    fn session(&self, tree: &Tree, steps: &[Step]) -> Result<(), BuildError> {
        if steps.is_empty() {
            return Ok(());
        }
        let mut environment: BTreeMap<_, _> = proxies().collect();
        environment.insert("SOURCE_DATE_EPOCH".to_owned(), self.options.now.unix().to_string());
        let mut files = BTreeMap::new();
        if self.plan.manager.is("apt") {
            environment.insert("APT_CONFIG".to_owned(), APT_CONFIG.to_owned());
            files.insert(APT_CONFIG.to_owned(), APT_OPTIONS.to_owned());
        }
        environment.extend(self.plan.environment.clone());
        let session = Session { root: Some(tree.path().to_owned()), environment, files, steps: steps.to_vec() };
        Ok(sandbox::run(&session, self.around)?)
    }

    fn pack(&self, tree: &Tree, inventory: &Inventory, from: String) -> Result<BuildRecord, BuildError> {
        let (spec, plan, now) = (self.spec, self.plan, self.options.now);
        let directory = self.workspace.build();
        let xz = XzOptions { level: self.options.xz_level, ..XzOptions::default() };
        let packer = Packer { directory: &directory, now, xz, around: self.around };
        let mut files = Packed::new();
        if plan.formats.incus {
            let templates = generate::incus(tree, &plan.files)?;
            let squashfs = self.stage("Packing for Incus and LXD", || packer.squashfs(tree.path()))?;
            files.insert(BuildFile::RootfsSquashfs, squashfs);
            files.extend(packer.incus(spec, plan, &templates)?);
        }
        let substituted = generate::lxc(tree, &plan.files)?;
        let rootfs = self.stage("Packing for LXC", || packer.rootfs(tree.path()))?;
        files.insert(BuildFile::RootfsTarXz, rootfs.xz);
        files.insert(BuildFile::MetaTarXz, packer.meta(spec, plan, tree, &substituted)?);
        let image = spec.to_yaml().map_err(BuildError::Yaml)?;
        let packages = format!("{:#}\n", json!(inventory.packages));
        let sbom = sbom::spdx(&spec.image, &spec.serial, now, &inventory.packages);
        for (file, text) in
            [(BuildFile::ImageYaml, &image), (BuildFile::PackagesJson, &packages), (BuildFile::SbomSpdxJson, &sbom)]
        {
            files.insert(file, packer.text(file, text)?);
        }
        let fingerprints = record::fingerprints(&directory, &files)?;
        let record = record::record(Made {
            spec,
            source: from,
            overrides: &self.options.overrides,
            now,
            inventory,
            files,
            rootfs_tar: rootfs.tar,
            fingerprints,
            about: About::of(tree)?,
        })?;
        fs_err::write(directory.join("SHA256SUMS"), record.sha256sums())?;
        fs_err::write(directory.join("build.json"), record.to_json())?;
        Ok(record)
    }

    /// Runs a stage and says how long it took.
    fn stage<T>(&self, title: &str, work: impl FnOnce() -> Result<T, BuildError>) -> Result<T, BuildError> {
        let begun = Instant::now();
        if self.around.deadline.is_some_and(|deadline| deadline <= begun) {
            return Err(SandboxError::TooLate { label: title.to_owned() }.into());
        }
        let result = work()?;
        self.printer.say(format_args!("{title:<28}{}", human::elapsed(begun.elapsed())));
        Ok(result)
    }
}

impl Install {
    fn title(&self) -> &'static str {
        match self.phase {
            crate::spec::filter::Phase::Container => "Installing for containers",
            _ => "Installing packages",
        }
    }
}

impl Inventory {
    /// What is installed now, with what is known from earlier lists: a script may have removed them.
    fn updated(self, tree: &Tree) -> Result<Self, BuildError> {
        let earlier: HashMap<_, _> = self.listed;
        let mut inventory = Self::of(tree, earlier)?;
        for (name, digest) in self.repositories {
            inventory.repositories.entry(name).or_insert(digest);
        }
        Ok(inventory)
    }
}

/// The last lines of a log, for the error message.
pub(crate) fn last_lines(log: &Path) -> String {
    let content = fs_err::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&content);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(limits::FAILURE_LINES)..].join("\n")
}

/// Why a build failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    #[error("{source}{}", indented(tail))]
    Kept { directory: PathBuf, tail: String, source: Box<BuildError> },
    #[error("the build `{}` already exists", path.display())]
    Exists { path: PathBuf },
    #[error("the path `{}` cannot be used", .0.display())]
    Path(PathBuf),
    #[error("`source.skip_verification` needs `source.url`: the default mirror is always verified")]
    UnverifiedWithoutUrl,
    #[error("{place} cannot be written")]
    File { place: String, source: std::io::Error },
    #[error("cannot write YAML: {0}")]
    Yaml(String),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error(transparent)]
    Bootstrap(BootstrapError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error(transparent)]
    Pack(#[from] archive::pack::PackError),
}

impl From<BootstrapError> for BuildError {
    fn from(error: BootstrapError) -> Self {
        match error {
            BootstrapError::Sandbox(error) => Self::Sandbox(error),
            BootstrapError::Io(error) => Self::Io(error),
            error => Self::Bootstrap(error),
        }
    }
}

impl Advice for BuildError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Kept { directory, source, .. } => match source.as_ref() {
                Self::Sandbox(SandboxError::NotPrepared { .. }) => {
                    Some("building needs root, and a kernel that lets it make namespaces".to_owned())
                }
                Self::Cache(CacheError::Altered { .. }) => {
                    Some("remove the package from the cache, or build without one with `--no-cache`".to_owned())
                }
                source => {
                    let directory = directory.display();
                    let kept = || {
                        format!(
                            "the tree is kept in `{directory}/work/root`, the whole output in `{directory}/build/{LOG}`"
                        )
                    };
                    Some(source.hint().unwrap_or_else(kept))
                }
            },
            Self::Bootstrap(error) => error.hint(),
            Self::Source(error) => error.hint(),
            Self::Exists { .. } => Some("give another `--serial`, or build a minute later".to_owned()),
            _ => None,
        }
    }

    fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Kept { source, .. } => source.exit_status(),
            Self::Bootstrap(error) => error.exit_status(),
            Self::Source(error) => error.exit_status(),
            Self::Exists { .. }
            | Self::UnverifiedWithoutUrl
            | Self::File { .. }
            | Self::Cache(CacheError::Altered { .. })
            | Self::Sandbox(SandboxError::Step { .. } | SandboxError::TooLate { .. }) => ExitStatus::Refused,
            Self::Path(_) | Self::Yaml(_) | Self::Io(_) | Self::Sandbox(_) | Self::Cache(_) | Self::Pack(_) => {
                ExitStatus::Failed
            }
        }
    }
}

fn indented(tail: &str) -> String {
    tail.lines().map(|line| format!("\n{line}")).collect::<Vec<_>>().concat()
}

const LOG: &str = "build.log";
const ARCHIVES: &str = "/var/cache/apt/archives";
const APT_CONFIG: &str = "/run/apt.conf";

/// Not part of the image: no translated lists, no waiting for the disk after every file.
const APT_OPTIONS: &str = "Acquire::Languages \"none\";\nDPkg::Options:: \"--force-unsafe-io\";\n";
