//! The stages of one build, from the first to the last.

mod artifacts;
mod stage;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use formats::record::BuildRecord;
use serde_json::{Value, json};
use terminal::{Activity, Printer};

use self::stage::{Left, Stage, nothing};
use super::failure::{FailedTree, Failure, FailureFormat, Resumption};
use super::inventory::Inventory;
use super::snapshot::{Storage, Workplace};
use super::tree::Tree;
use super::unpack::{Resolved, Unpack, Unpacked, proxies};
use super::workspace::Workspace;
use super::{BuildError, Options, generate, keys, tidy, unchanged};
use crate::bootstrap::directory_in;
use crate::cache::Cache;
use crate::cache::packages::PackageCache;
use crate::cache::stages::{Partial, Snapshot, Stages};
use crate::plan::files::Ownership;
use crate::plan::{self, Install, InstallKind, Plan};
use crate::sandbox::{self, Session, Step, Surroundings};
use crate::spec::Spec;
use crate::spec::filter::Phase;

/// A build at work.
pub(super) struct Running<'a> {
    pub(super) spec: &'a Spec,
    pub(super) plan: &'a Plan,
    pub(super) options: &'a Options,
    pub(super) printer: &'a Printer,
    pub(super) workspace: &'a Workspace,
    pub(super) around: Surroundings<'a>,
    pub(super) cache: Option<&'a Cache>,
    pub(super) packages: Option<&'a PackageCache>,
    pub(super) stages: &'a Stages,
    pub(super) storage: Storage,
    pub(super) resumption: Option<&'a Resumption>,
    /// Stages without a key, which are gone when the build is.
    pub(super) passing: RefCell<Vec<Partial>>,
    /// What was finished, in order.
    pub(super) finished: RefCell<Vec<Snapshot>>,
    /// The stage that failed, with its tree if it had one.
    pub(super) failed: RefCell<Option<(String, Option<FailedTree>)>>,
    /// Whether what ran last had a network.
    pub(super) had_network: Cell<bool>,
}

impl Running<'_> {
    /// Runs all stages; no record when nothing has changed since the newest build.
    pub(super) fn run(&self) -> Result<Option<BuildRecord>, BuildError> {
        let work = self.workspace.work();
        let unpack = Unpack {
            work: &work,
            cache: self.cache,
            packages: self.packages,
            engine: self.options.engine,
            expired: self.options.expired,
            now: self.options.now,
            printer: self.printer,
            around: self.around,
        };
        let begun = Instant::now();
        let activity = Activity::begin(self.printer, RESOLVE, None);
        let resolved = unpack.resolve(&self.plan.source)?;
        if !self.options.force && self.resumption.is_none() && self.is_unchanged(&resolved)? {
            drop(activity);
            self.say(RESOLVE, begun, "unchanged");
            return Ok(None);
        }
        drop(activity);
        let mut lists_are_known = matches!(resolved, Resolved::Packages(_));
        let mut at = self.unpack(&unpack, &resolved)?;
        // Others may wait for apt's lists.
        drop(resolved);
        let mut phase = Phase::Base;
        for install in &self.plan.installs {
            let goes_on = std::mem::replace(&mut phase, install.phase) == install.phase;
            let is_known = install.kind != InstallKind::Packages || lists_are_known;
            at = self.install(&at, install, goes_on, is_known)?;
            lists_are_known |= install.kind == InstallKind::Refresh && at.key.is_some();
        }
        at = self.files(&at)?;
        let stage = Stage {
            name: plan::TIDY,
            below: Some(&at),
            key: self.key_upon(&at, &json!([plan::TIDY, format!("{:?}", self.plan.manager)]))?,
            goes_on: false,
        };
        at = self.stage(&stage, |place| Ok(nothing(tidy::all(&Tree::open(place.root())?, &self.plan.manager)?)))?;
        self.pack(&at).map(Some)
    }

    /// The newest build of the image, if there is one.
    pub(super) fn previous(&self) -> Result<Option<(PathBuf, BuildRecord)>, BuildError> {
        Ok(unchanged::newest(&self.options.output.join(self.spec.image.to_string()))?)
    }

    fn is_unchanged(&self, resolved: &Resolved<'_>) -> Result<bool, BuildError> {
        let Some((directory, record)) = self.previous()? else { return Ok(false) };
        unchanged::is_unchanged((self.spec, self.plan), resolved, &directory, &record)
    }

    fn unpack(&self, unpack: &Unpack<'_>, resolved: &Resolved<'_>) -> Result<Snapshot, BuildError> {
        if let crate::plan::source::Source::Tree { path } = &self.plan.source {
            let inventory = Inventory::default().updated(&Tree::open(path)?)?;
            return Ok(Snapshot {
                key: None,
                stage: plan::UNPACK.to_owned(),
                image: self.spec.image.to_string(),
                layers: vec![path.clone()],
                volatile: None,
                from: self.plan.source.to_string(),
                inventory,
            });
        }
        let stage = Stage { name: plan::UNPACK, below: None, key: self.key_of_source(resolved)?, goes_on: false };
        self.stage(&stage, |place| {
            let unpacked = unpack.run(&self.plan.source, resolved, place.root())?;
            let tree = Tree::open(place.root())?;
            if self.plan.source.copies_from_the_host() {
                tidy::host_traces(&tree)?;
            }
            let inventory = unpacked.known.updated(&tree)?;
            if let Some(packages) = self.packages
                && tree.has(ARCHIVES)?
            {
                packages.adopt(&directory_in(tree.path(), ARCHIVES.trim_start_matches('/'))?, &inventory)?;
                tree.empty(ARCHIVES)?;
            }
            // mmdebstrap fetches lists itself: they may be newer than those that were looked at.
            let is_other = match resolved {
                Resolved::Packages(prepared) => {
                    let titles = prepared.repositories()?.into_iter().map(|one| (one.title, one.sha256));
                    titles.collect::<BTreeMap<_, _>>() != inventory.repositories
                }
                Resolved::Archives(_) | Resolved::Tree | Resolved::Unknown => false,
            };
            let unpacked = Some(Unpacked { from: unpacked.from, known: inventory });
            Ok(Left { unpacked, key: None, is_other })
        })
    }

    fn install(
        &self,
        below: &Snapshot,
        install: &Install,
        goes_on: bool,
        is_known: bool,
    ) -> Result<Snapshot, BuildError> {
        let what = self.reads(install);
        let is_refresh = install.kind == InstallKind::Refresh;
        let asked = if is_refresh { self.key_upon(below, &json!(["asked", what]))? } else { None };
        if let Some(asked) = asked
            && self.options.offline
            && self.resumption.is_none()
            && let Some(found) = self.stages.recall(asked)?
        {
            self.say(&install.stage, Instant::now(), "cached");
            return Ok(self.done(found));
        }
        // What a refresh finds is not known before.
        let key = if is_refresh || !is_known { None } else { self.key_upon(below, &what)? };
        let done = self.stage(&Stage { name: &install.stage, below: Some(below), key, goes_on }, |place| {
            let tree = Tree::open(place.root())?;
            for file in &install.repositories {
                let owner = Ownership { mode: Some(0o644), ..Ownership::default() };
                let earlier = if file.appended { tree.read(&file.path)?.unwrap_or_default() } else { Vec::new() };
                tree.write(&file.path, &[earlier.as_slice(), file.content.as_bytes()].concat(), owner)?;
            }
            let shared = self.packages.filter(|_| install.kind == InstallKind::Packages && self.plan.manager.is("apt"));
            let Some(packages) = shared else {
                self.session(place, &install.steps, None)?;
                let lists = if is_refresh { keys::lists(&tree, &self.plan.manager)? } else { None };
                let key = lists.map(|lists| self.key_upon(below, &json!([what, lists]))).transpose()?.flatten();
                return Ok(Left { key, ..Left::default() });
            };
            let archives = place.beside("archives")?;
            packages.offer(&archives)?;
            self.session(place, &install.steps, Some(&archives))?;
            packages.adopt(&archives, &below.inventory.clone().updated(&tree)?)?;
            fs_err::remove_dir_all(archives)?;
            Ok(Left::default())
        })?;
        if let Some((asked, found)) = asked.zip(done.key) {
            self.stages.remember(asked, found)?;
        }
        Ok(done)
    }

    /// The entries of `files` and the actions after them.
    fn files(&self, below: &Snapshot) -> Result<Snapshot, BuildError> {
        let mut at = below.clone();
        if !self.plan.files.is_empty() {
            let key = self.key_upon(&at, &json!([plan::FILES, keys::files(&self.plan.files)?]))?;
            at = self.stage(&Stage { name: plan::FILES, below: Some(&at), key, goes_on: false }, |place| {
                let tree = Tree::open(place.root())?;
                for file in &self.plan.files {
                    generate::common(&tree, file)
                        .map_err(|source| BuildError::File { place: file.place.clone(), source })?;
                }
                Ok(Left::default())
            })?;
        }
        for (index, (name, step)) in self.plan.post_files().enumerate() {
            let steps = [step.clone()];
            let key = self.key_upon(&at, &json!([name, self.runs(&steps)]))?;
            let stage = Stage { name: &name, below: Some(&at), key, goes_on: index > 0 };
            at = self.stage(&stage, |place| self.session(place, &steps, None).map(nothing))?;
        }
        Ok(at)
    }

    fn session(&self, place: &Workplace, steps: &[Step], archives: Option<&Path>) -> Result<(), BuildError> {
        if steps.is_empty() {
            return Ok(());
        }
        let mut session = session_in(place.root(), &place.volatile(), &self.environment());
        if self.plan.manager.is("apt") {
            let validity = if self.options.expired { APT_EXPIRED } else { "" };
            session.files.insert(APT_CONFIG.to_owned(), format!("{APT_OPTIONS}{validity}"));
        }
        session.binds.extend(archives.map(|archives| (ARCHIVES.to_owned(), archives.to_owned())));
        for steps in steps.chunk_by(|one, next| one.network == next.network) {
            self.had_network.set(steps.iter().any(|step| step.network) && self.around.network);
            session.steps = steps.to_vec();
            sandbox::run(&session, self.around)?;
        }
        Ok(())
    }

    fn environment(&self) -> BTreeMap<String, String> {
        let mut environment: BTreeMap<_, _> = proxies().collect();
        environment.insert("SOURCE_DATE_EPOCH".to_owned(), self.options.now.unix().to_string());
        if self.plan.manager.is("apt") {
            environment.insert("APT_CONFIG".to_owned(), APT_CONFIG.to_owned());
        }
        environment.extend(self.plan.environment.clone());
        environment
    }

    /// What is kept after a failure.
    pub(super) fn into_failure(self, request: &Value) -> Result<Failure, BuildError> {
        let environment = self.environment();
        let (stage, tree) = self.failed.into_inner().unwrap_or_else(|| (plan::UNPACK.to_owned(), None));
        let mut partials = Vec::new();
        for partial in self.passing.into_inner() {
            partials.push(partial.path().to_owned());
            partial.fail()?;
        }
        Ok(Failure {
            format: FailureFormat::V1,
            request: request.clone(),
            stage,
            finished: self.finished.into_inner(),
            tree,
            environment,
            partials,
        })
    }
}

/// What runs in a tree sees this.
pub(crate) fn session_in(root: &Path, volatile: &Path, environment: &BTreeMap<String, String>) -> Session {
    let binds = ["run", "tmp"].map(|name| (format!("/{name}"), volatile.join(name)));
    Session { root: Some(root.to_owned()), binds: binds.into(), environment: environment.clone(), ..Session::default() }
}

const RESOLVE: &str = "resolve";
const ARCHIVES: &str = "/var/cache/apt/archives";
const APT_CONFIG: &str = "/run/apt.conf";

const APT_EXPIRED: &str = "Acquire::Check-Valid-Until \"false\";\n";

/// Not part of the image: no translated lists, no waiting for the disk after every file.
const APT_OPTIONS: &str = "Acquire::Languages \"none\";\nDPkg::Options:: \"--force-unsafe-io\";\n";
