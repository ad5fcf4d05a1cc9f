//! The stages of one build, from the first to the last.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use archive::xz::XzOptions;
use formats::arch::Arch;
use formats::record::{BuildFile, BuildRecord};
use serde_json::{Value, json};
use terminal::{Activity, Printer, human};

use super::failure::{FailedTree, Failure, FailureError, FailureFormat, Resumption};
use super::inventory::Inventory;
use super::lint::{self, Finding, Host};
use super::pack::{Packed, Packer};
use super::record::{self, About, Made};
use super::snapshot::{Storage, Workplace};
use super::tree::Tree;
use super::unpack::{Resolved, Unpack, Unpacked, proxies};
use super::workspace::Workspace;
use super::{BuildError, Options, databases, generate, keys, sbom, tidy, unchanged};
use crate::bootstrap::directory_in;
use crate::cache::Cache;
use crate::cache::packages::PackageCache;
use crate::cache::stages::{Key, Partial, Snapshot, Stages};
use crate::checkpoint::checkpoint;
use crate::plan::files::Ownership;
use crate::plan::{self, Install, InstallKind, Plan};
use crate::sandbox::{self, Run, SandboxError, Session, Step, Surroundings};
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

/// What a stage leaves beside its tree.
#[derive(Default)]
struct Left {
    /// What is known about the first tree.
    unpacked: Option<Unpacked>,
    /// A key that only the stage itself could tell.
    key: Option<Key>,
    /// The stage saw something else than its key says.
    is_other: bool,
}

/// One stage.
struct Stage<'a> {
    name: &'a str,
    /// What it goes on from; the first goes on from nothing.
    below: Option<&'a Snapshot>,
    key: Option<Key>,
    /// What earlier stages left in `/run` and `/tmp` is still there.
    goes_on: bool,
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

    /// Makes the tree of a stage, unless it is there.
    fn stage(
        &self,
        stage: &Stage<'_>,
        work: impl FnOnce(&Workplace) -> Result<Left, BuildError>,
    ) -> Result<Snapshot, BuildError> {
        let begun = Instant::now();
        let activity = Activity::begin(self.printer, stage.name, self.plan.place_of(stage.name));
        if let Some(snapshot) = self.resumed(stage.name)? {
            drop(activity);
            self.say(stage.name, begun, "kept");
            return Ok(self.done(snapshot));
        }
        let too_late = || BuildError::from(SandboxError::TooLate { label: format!("the stage `{}`", stage.name) });
        if self.around.deadline.is_some_and(|deadline| deadline <= begun) {
            return Err(too_late());
        }
        // Who asks for a stage by its name wants it to run.
        let key = stage.key.filter(|_| self.resumption.is_none());
        let mut claim = None;
        if let Some(key) = key {
            claim = Some(self.stages.claim(key, self.around.deadline)?.ok_or_else(too_late)?);
            if let Some(snapshot) = self.stages.find(key)? {
                drop(activity);
                self.say(stage.name, begun, "cached");
                return Ok(self.done(snapshot));
            }
        }
        let below = stage
            .below
            .map(|below| Snapshot { volatile: below.volatile.clone().filter(|_| stage.goes_on), ..below.clone() });
        let place = match &below {
            Some(below) => Workplace::upon(below, (self.stages, self.storage), &self.workspace.tree(), self.around)?,
            None => Workplace::empty(self.stages)?,
        };
        checkpoint(stage.name, "begun");
        let (left, inventory) = match done_in(&place, below.as_ref(), work) {
            Ok(done) => done,
            Err(error) => {
                let network = self.had_network.get();
                let tree = FailedTree { layers: place.layers().to_vec(), partial: place.partial().to_owned(), network };
                self.failed.replace(Some((stage.name.to_owned(), Some(tree))));
                self.passing.borrow_mut().push(place.abandon()?);
                return Err(error);
            }
        };
        checkpoint(stage.name, "worked");
        let layers = place.layers().to_vec();
        let partial = place.seal()?;
        checkpoint(stage.name, "sealed");
        let from = left.unpacked.as_ref().map(|unpacked| unpacked.from.clone());
        let snapshot = Snapshot {
            key: None,
            stage: stage.name.to_owned(),
            image: self.spec.image.to_string(),
            layers,
            volatile: Some(partial.volatile()),
            from: from.or_else(|| below.map(|below| below.from)).unwrap_or_default(),
            inventory: inventory.without_others(),
        };
        let snapshot = match key.filter(|_| !left.is_other).or(left.key) {
            None => {
                self.passing.borrow_mut().push(partial);
                snapshot
            }
            Some(key) => {
                if claim.is_none() {
                    claim = Some(self.stages.claim(key, self.around.deadline)?.ok_or_else(too_late)?);
                }
                // Another build may have found the same lists: then its tree is as good.
                match self.stages.find(key)? {
                    Some(found) => found,
                    None => self.stages.keep(partial, key, snapshot)?,
                }
            }
        };
        drop(claim);
        checkpoint(stage.name, "kept");
        drop(activity);
        self.say(stage.name, begun, "");
        Ok(self.done(snapshot))
    }

    /// The tree that an earlier attempt finished, for stages before the one to go on from.
    fn resumed(&self, name: &str) -> Result<Option<Snapshot>, BuildError> {
        let Some(resumption) = self.resumption else { return Ok(None) };
        let Some(found) = resumption.finished.iter().find(|snapshot| snapshot.stage == name) else { return Ok(None) };
        if found.layers.iter().all(|layer| layer.is_dir()) {
            return Ok(Some(found.clone()));
        }
        Err(FailureError::Gone { stage: name.to_owned() }.into())
    }

    fn done(&self, snapshot: Snapshot) -> Snapshot {
        self.finished.borrow_mut().push(snapshot.clone());
        snapshot
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

    fn pack(&self, at: &Snapshot) -> Result<BuildRecord, BuildError> {
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

    /// Says how a stage ended, and when.
    fn say(&self, stage: &str, begun: Instant, how: &str) {
        let elapsed = human::elapsed(begun.elapsed());
        self.printer.say(format_args!("{}", format!("{stage:<28}{elapsed:>7}  {how}").trim_end()));
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

/// Does the work of a stage, and looks at what is installed then.
fn done_in(
    place: &Workplace,
    below: Option<&Snapshot>,
    work: impl FnOnce(&Workplace) -> Result<Left, BuildError>,
) -> Result<(Left, Inventory), BuildError> {
    let mut left = work(place)?;
    let known = match &mut left.unpacked {
        Some(unpacked) => std::mem::take(&mut unpacked.known),
        None => below.map(|below| below.inventory.clone()).unwrap_or_default(),
    };
    let inventory = known.updated(&Tree::open(place.root())?)?;
    Ok((left, inventory))
}

/// What runs in a tree sees this.
pub(crate) fn session_in(root: &Path, volatile: &Path, environment: &BTreeMap<String, String>) -> Session {
    let binds = ["run", "tmp"].map(|name| (format!("/{name}"), volatile.join(name)));
    Session { root: Some(root.to_owned()), binds: binds.into(), environment: environment.clone(), ..Session::default() }
}

fn nothing((): ()) -> Left {
    Left::default()
}

const RESOLVE: &str = "resolve";
const INVENTORY: &str = "inventory";
/// By its path: the shell of a busybox would take its own rpm for it, which lists nothing.
const RPM: &str = "for rpm in /usr/bin/rpm /bin/rpm; do\n\
                   \x20   if test -x \"$rpm\"; then exec \"$rpm\" -qa --queryformat \"$1\" >/tmp/packages; fi\n\
                   done\n\
                   : >/tmp/packages\n";
const ARCHIVES: &str = "/var/cache/apt/archives";
const APT_CONFIG: &str = "/run/apt.conf";

const APT_EXPIRED: &str = "Acquire::Check-Valid-Until \"false\";\n";

/// Not part of the image: no translated lists, no waiting for the disk after every file.
const APT_OPTIONS: &str = "Acquire::Languages \"none\";\nDPkg::Options:: \"--force-unsafe-io\";\n";
