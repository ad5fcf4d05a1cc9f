//! Packages become part of the tree.
//!
//! Packages are decoded side by side and unpacked one after the other in apt's order, so that what several of them
//! bring has one outcome. The essential ones come first, as their scripts need each other's files. The others follow
//! once those are configured; meanwhile they are decoded.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use archive::beneath::RootDir;
use archive::unpack::{ExistingDirectories, Listed, UnpackOptions, unpack, unpack_listed};
use formats::time::Timestamp;

use super::BootstrapError;
use super::database::{Control, Database};
use super::package::Package;
use super::resolution::{Chosen, Resolution};
use super::scripts;
use super::store::{PackageFile, Store, threads};
use crate::sandbox::{self, Step, Surroundings};

/// The tree, and what its scripts are told.
pub(super) struct Target<'a> {
    pub(super) root: &'a Path,
    pub(super) around: Surroundings<'a>,
    pub(super) now: Timestamp,
}

/// Installs all packages.
pub(super) fn install(
    resolution: &Resolution,
    store: &Store,
    files: &[PackageFile],
    target: &Target<'_>,
) -> Result<(), BootstrapError> {
    let work: Vec<_> = resolution.packages().zip(files).collect();
    let (senders, receivers): (Vec<Sender>, Vec<_>) = work.iter().map(|_| sync_channel(1)).unzip();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads() {
            scope.spawn(|| {
                let claim = || next.fetch_add(1, Ordering::Relaxed);
                while let Some(((chosen, file), sender)) = work.iter().zip(&senders).nth(claim()) {
                    let _ = sender.send(store.decode(chosen, file).and_then(|package| Decoded::of(chosen, package)));
                }
            });
        }
        let decoded = resolution.packages().cloned().zip(receivers).collect();
        let outcome = Installation::new(target, decoded).and_then(|mut installation| installation.run(resolution));
        // After a failure nobody waits for the rest.
        next.store(work.len(), Ordering::Relaxed);
        outcome
    })
}

type Sender = SyncSender<Result<Decoded, BootstrapError>>;

/// A package that is ready to be unpacked.
struct Decoded {
    package: Package,
    control: Control,
}

impl Decoded {
    fn of(chosen: &Chosen, mut package: Package) -> Result<Self, BootstrapError> {
        let damaged = |problem: String| BootstrapError::Damaged { name: chosen.name.clone(), problem };
        let files = package.control_files().map_err(|error| damaged(error.to_string()))?;
        let control = Control::parse(files).map_err(damaged)?;
        let field = |name| control.stanza.get(name);
        // A list could name one package and give the digest of another.
        if field("Package") != Some(chosen.name.as_str()) || field("Version") != Some(&chosen.version) {
            return Err(damaged("its control file names another package".to_owned()));
        }
        Ok(Self { package, control })
    }
}

struct Installation<'a> {
    target: &'a Target<'a>,
    options: UnpackOptions,
    root: RootDir,
    waiting: std::vec::IntoIter<(Chosen, Receiver<Result<Decoded, BootstrapError>>)>,
    /// Who brought each path that is no directory.
    owners: BTreeMap<Vec<u8>, String>,
}

impl<'a> Installation<'a> {
    fn new(
        target: &'a Target<'a>,
        decoded: Vec<(Chosen, Receiver<Result<Decoded, BootstrapError>>)>,
    ) -> Result<Self, BootstrapError> {
        let mut options = UnpackOptions::for_a_build()?;
        options.existing_directories = ExistingDirectories::Keep;
        let root = RootDir::open(target.root)?;
        Ok(Self { target, options, root, waiting: decoded.into_iter(), owners: BTreeMap::new() })
    }

    fn run(&mut self, resolution: &Resolution) -> Result<(), BootstrapError> {
        let root = RootDir::open(self.target.root)?;
        let mut database = Database::new(&root, self.target.root);
        let mut essential = self.take(resolution.essential.len())?;
        self.stage(&mut essential, &database)?;
        let essential = self.unpack(essential)?;
        self.execute(essential.iter().filter_map(|(control, _)| scripts::preinst(control)).collect())?;
        database.record(&essential)?;
        let mut steps = vec![scripts::configure(&names(&essential))];
        for (control, _) in &essential {
            database.configured(control);
        }

        let other = self.take(resolution.other.len())?;
        for mut batch in batches(other) {
            self.stage(&mut batch.unpack, &database)?;
            steps.extend(batch.unpack.iter().filter_map(|decoded| scripts::preinst(&decoded.control)));
            self.execute(std::mem::take(&mut steps))?;
            let unpacked = self.unpack(batch.unpack)?;
            database.record(&unpacked)?;
            if !batch.configure.is_empty() {
                steps.push(scripts::configure(&batch.configure));
            }
            for (control, _) in unpacked {
                if batch.configure.contains(&control.database_name()) {
                    database.configured(&control);
                }
            }
        }
        steps.push(scripts::configure(&[]));
        self.execute(steps)?;
        Ok(database.unstage()?)
    }

    /// The next packages, once they are decoded.
    fn take(&mut self, count: usize) -> Result<Vec<Decoded>, BootstrapError> {
        let next = self.waiting.by_ref().take(count);
        next.map(|(chosen, receiver)| {
            let stopped = |_| BootstrapError::Damaged { name: chosen.name, problem: "nobody decoded it".to_owned() };
            receiver.recv().map_err(stopped)?
        })
        .collect()
    }

    fn unpack(&mut self, packages: Vec<Decoded>) -> Result<Vec<(Control, Vec<Listed>)>, BootstrapError> {
        let overrides = self.overrides()?;
        packages.into_iter().map(|decoded| self.unpack_one(decoded, &overrides)).collect()
    }

    fn unpack_one(
        &mut self,
        Decoded { mut package, control }: Decoded,
        overrides: &BTreeSet<Vec<u8>>,
    ) -> Result<(Control, Vec<Listed>), BootstrapError> {
        let name = control.database_name();
        let failed = |source| BootstrapError::Unpack { name: name.clone(), source };
        let (_, list) = unpack_listed(package.data()?, self.target.root, &self.options).map_err(failed)?;
        for file in list.iter().filter(|file| !file.is_directory) {
            let shown = || String::from_utf8_lossy(&file.path).into_owned();
            let refuse = |reason| Err(BootstrapError::NotCarried { package: name.clone(), reason });
            if overrides.contains(&file.path) {
                return refuse(format!("a script diverted `{}` or changed its owner", shown()));
            }
            if let Some(owner) = self.owners.insert(real_path(&file.path), name.clone()) {
                return refuse(format!("`{}` is also in `{owner}`", shown()));
            }
        }
        Ok((control, list))
    }

    /// Paths for which scripts told dpkg to do something else than to unpack them.
    fn overrides(&self) -> Result<BTreeSet<Vec<u8>>, BootstrapError> {
        let mut paths = BTreeSet::new();
        for file in ["diversions", "statoverride"] {
            let path = Path::new("var/lib/dpkg").join(file);
            if !self.root.exists(&path)? {
                continue;
            }
            paths.extend(overridden(&self.root.read(&path, OVERRIDE_BYTES)?));
        }
        Ok(paths)
    }

    /// Unpacks the control archives.
    fn stage(&self, packages: &mut [Decoded], database: &Database<'_>) -> Result<(), BootstrapError> {
        let options = UnpackOptions { existing_directories: ExistingDirectories::Update, ..self.options.clone() };
        for Decoded { package, control } in packages {
            let failed = |source| BootstrapError::Unpack { name: control.database_name(), source };
            unpack(package.control()?, &database.stage(control)?, &options).map_err(failed)?;
        }
        Ok(())
    }

    fn execute(&self, steps: Vec<Step>) -> Result<(), BootstrapError> {
        if steps.is_empty() {
            return Ok(());
        }
        let session = scripts::session(self.target.root, self.target.now, steps);
        Ok(sandbox::run(&session, self.target.around)?)
    }
}

fn names(packages: &[(Control, Vec<Listed>)]) -> Vec<String> {
    packages.iter().map(|(control, _)| control.database_name()).collect()
}

/// The paths in dpkg's list of diversions or of overrides. dpkg compares them letter by letter: scripts of trixie divert
/// `/lib/…` to save what their package brings in `/usr/lib/…`, which is unpacked as ever.
fn overridden(list: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    // A diversion is three lines: from, to, by whom. An override ends in its path.
    let words = list.split(|byte| matches!(byte, b'\n' | b' '));
    words.filter_map(|word| word.strip_prefix(b"/")).map(<[u8]>::to_vec)
}

/// One path for what merged directories give two names: `bin/sh` and `usr/bin/sh`.
fn real_path(path: &[u8]) -> Vec<u8> {
    let top = path.split(|byte| *byte == b'/').next().unwrap_or_default();
    let is_merged = matches!(top, b"bin" | b"sbin") || top.starts_with(b"lib");
    if is_merged { [b"usr/", path].concat() } else { path.to_vec() }
}

/// Packages that are unpacked together, and those that have to be configured before the next ones.
#[derive(Default)]
struct Batch {
    unpack: Vec<Decoded>,
    configure: Vec<String>,
}

/// Cuts apt's order where it has to be cut: before a package that pre-depends on others, which must be configured by
/// then (Debian policy 7.2). Everywhere else, unpacking first and configuring later gives the same.
fn batches(packages: Vec<Decoded>) -> Vec<Batch> {
    let mut batches = vec![Batch::default()];
    let mut waiting: Vec<Waiting> = Vec::new();
    for decoded in packages {
        let control = &decoded.control;
        let needed = needed(&waiting, control.stanza.related("Pre-Depends"));
        waiting.push(Waiting::of(control));
        if !needed.is_empty() {
            let is_needed = |one: &Waiting| needed.contains(&one.name);
            let configure = waiting.extract_if(.., |one| is_needed(one)).map(|one| one.name).collect();
            if let Some(batch) = batches.last_mut() {
                batch.configure = configure;
            }
            batches.push(Batch::default());
        }
        if let Some(batch) = batches.last_mut() {
            batch.unpack.push(decoded);
        }
    }
    batches
}

/// A package that is unpacked and not configured.
struct Waiting {
    name: String,
    /// What it can be asked for by.
    names: Vec<String>,
    needs: Vec<String>,
}

impl Waiting {
    fn of(control: &Control) -> Self {
        let field = |field| control.stanza.related(field).map(str::to_owned);
        let own = control.stanza.get("Package").unwrap_or_default().to_owned();
        Self {
            name: control.database_name(),
            names: std::iter::once(own).chain(field("Provides")).collect(),
            needs: field("Pre-Depends").chain(field("Depends")).collect(),
        }
    }
}

/// Those that wait and are asked for, with what they need themselves.
fn needed<'a>(waiting: &'a [Waiting], asked: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    let mut needed = BTreeSet::new();
    let mut asked: Vec<_> = asked.collect();
    while let Some(name) = asked.pop() {
        for one in waiting.iter().filter(|one| one.names.iter().any(|known| known == name)) {
            if needed.insert(one.name.clone()) {
                asked.extend(one.needs.iter().map(String::as_str));
            }
        }
    }
    needed
}

const OVERRIDE_BYTES: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(name: &str, provides: &str, depends: &str) -> Waiting {
        let fields = format!("Package: {name}\nProvides: {provides}\nDepends: {depends}\n");
        Waiting::of(&Control::parse(vec![("control".to_owned(), fields.into_bytes())]).unwrap())
    }

    #[test]
    fn what_is_needed_brings_what_it_needs_itself() {
        let all = [
            waiting("adduser", "", "passwd (>= 1), debconf"),
            waiting("passwd", "", "libsemanage2"),
            waiting("libsemanage2", "semanage (= 2)", "adduser"),
            waiting("cron", "", "adduser"),
        ];
        let expected: BTreeSet<_> = ["adduser", "libsemanage2", "passwd"].map(str::to_owned).into();
        assert_eq!(needed(&all, ["adduser"].into_iter()), expected);
        assert_eq!(needed(&all, ["semanage"].into_iter()), expected);
        assert!(needed(&all, ["libc6"].into_iter()).is_empty());
    }

    #[test]
    fn a_diversion_is_of_the_very_path_that_it_names() {
        let diversions = b"/lib/libhistory.so.8\n/lib/libhistory.so.8.usr-is-merged\nlibreadline8t64\n";
        let expected: [&[u8]; 2] = [b"lib/libhistory.so.8", b"lib/libhistory.so.8.usr-is-merged"];
        assert_eq!(overridden(diversions).collect::<Vec<_>>(), expected);
        assert_eq!(overridden(b"root crontab 2755 /usr/bin/crontab\n").collect::<Vec<_>>(), [b"usr/bin/crontab"]);
    }

    #[test]
    fn merged_directories_have_one_name() {
        for (path, expected) in [("bin/sh", "usr/bin/sh"), ("lib64/ld", "usr/lib64/ld"), ("usr/bin/sh", "usr/bin/sh")] {
            assert_eq!(real_path(path.as_bytes()), expected.as_bytes());
        }
        assert_eq!(real_path(b"etc/bin"), b"etc/bin");
    }
}
