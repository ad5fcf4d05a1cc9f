//! Making the first tree.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use formats::arch::Arch;
use formats::time::Timestamp;
use serde::{Deserialize, Serialize};
use terminal::Printer;

use super::inventory::Inventory;
use super::{BuildError, debootstrap, native};
use crate::bootstrap::{BootstrapError, Prepared};
use crate::cache::Cache;
use crate::cache::packages::PackageCache;
use crate::plan::source::{Debootstrap, EXTRACT, Source};
use crate::sandbox::{self, Run, Session, Step, Surroundings};
use crate::source::Downloaded;

/// Who installs the packages of a new tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Engine {
    /// The builder itself; mmdebstrap where it cannot, or debootstrap where there is no mmdebstrap.
    #[default]
    Native,
    /// mmdebstrap.
    Mmdebstrap,
    /// debootstrap, with one mirror.
    Debootstrap,
}

/// What is known about the first tree.
pub(crate) struct Unpacked {
    /// What it was made from, for the record: `bootstrap bookworm`.
    pub(crate) from: String,
    /// What signed lists said that may no longer be in the tree.
    pub(crate) known: Inventory,
}

/// What the stage works with.
pub(crate) struct Unpack<'a> {
    /// The directory of this build, for what only this stage needs.
    pub(crate) work: &'a Path,
    /// Everything that earlier builds kept.
    pub(crate) cache: Option<&'a Cache>,
    /// Packages of earlier builds.
    pub(crate) packages: Option<&'a PackageCache>,
    /// Who installs packages.
    pub(crate) engine: Engine,
    /// Accepts package lists whose validity is over.
    pub(crate) expired: bool,
    /// The time of the build.
    pub(crate) now: Timestamp,
    /// Told when somebody else has to do it.
    pub(crate) printer: &'a Printer,
    /// Log and deadline.
    pub(crate) around: Surroundings<'a>,
}

/// What a source is, as far as it is known before it is unpacked.
pub(crate) enum Resolved<'a> {
    /// apt has decided.
    Packages(Box<Prepared<'a>>),
    /// Archives were found, and vouched for.
    Archives(Downloaded),
    /// A tree of this machine, which is no copy of anything.
    Tree,
    /// Only who unpacks it will know.
    Unknown,
}

impl<'a> Unpack<'a> {
    /// Looks at `source` as it is at this moment: fetches signed lists that changed and chooses packages.
    pub(crate) fn resolve(&self, source: &Source) -> Result<Resolved<'a>, BuildError> {
        match source {
            // Unpacking alone is beyond the builder's own bootstrap, which is made to install.
            Source::Debootstrap(one) if one.extracted => Ok(Resolved::Unknown),
            Source::Debootstrap(one) => match (native::prepare(self, one), self.engine) {
                (Ok(prepared), _) => Ok(Resolved::Packages(Box::new(prepared))),
                (Err(error @ BootstrapError::NotCarried { .. }), Engine::Native) => {
                    self.leave(&error);
                    Ok(Resolved::Unknown)
                }
                // They have their own way to find mirrors and keys, and say themselves what is wrong.
                (Err(_), Engine::Mmdebstrap | Engine::Debootstrap) => Ok(Resolved::Unknown),
                (Err(error), Engine::Native) => Err(error.into()),
            },
            Source::Download(download) => {
                let cache = self.cache.map(Cache::root);
                Ok(Resolved::Archives(download.obtain(self.work, cache, self.printer, self.around)?))
            }
            Source::Tree { .. } => Ok(Resolved::Tree),
        }
    }

    /// Makes `tree`, which does not exist yet, from `source`.
    pub(crate) fn run(&self, source: &Source, resolved: &Resolved<'a>, tree: &Path) -> Result<Unpacked, BuildError> {
        match (source, resolved) {
            (Source::Debootstrap(one), _) => self.debootstrap(one, resolved, tree),
            (Source::Download(_), Resolved::Archives(archives)) => {
                archives.unpack(self.work, tree, self.around)?;
                Ok(Unpacked { from: archives.to_string(), known: Inventory::default() })
            }
            // Stages go on from where it is.
            (Source::Tree { .. } | Source::Download(_), _) => {
                Ok(Unpacked { from: source.to_string(), known: Inventory::default() })
            }
        }
    }

    fn debootstrap(&self, source: &Debootstrap, resolved: &Resolved<'a>, tree: &Path) -> Result<Unpacked, BuildError> {
        if let (Engine::Native, Resolved::Packages(prepared)) = (self.engine, resolved) {
            match native::install(prepared, source, tree) {
                Err(error @ BootstrapError::NotCarried { .. }) => {
                    self.leave(&error);
                    fs_err::remove_dir_all(tree)?;
                }
                other => return Ok(other?),
            }
        }
        let program = self.other();
        if program == DEBOOTSTRAP {
            let lines = match resolved {
                Resolved::Packages(prepared) => Some(prepared.lines()),
                Resolved::Archives(_) | Resolved::Tree | Resolved::Unknown => None,
            };
            let settings = debootstrap::Settings { lines, expired: self.expired, now: self.now };
            debootstrap::debootstrap(source, (self.work, tree), &settings, self.around)?;
        } else {
            self.mmdebstrap(source, tree)?;
        }
        Ok(Unpacked { from: format!("{program} {}", source.suite), known: Inventory::default() })
    }

    /// The program that makes a tree which the builder does not make.
    fn other(&self) -> &'static str {
        match self.engine {
            Engine::Debootstrap => DEBOOTSTRAP,
            Engine::Native if !is_installed(MMDEBSTRAP) && is_installed(DEBOOTSTRAP) => DEBOOTSTRAP,
            Engine::Native | Engine::Mmdebstrap => MMDEBSTRAP,
        }
    }

    fn leave(&self, error: &BootstrapError) {
        self.printer.warn(format_args!("{error}; {} installs everything again", self.other()));
    }

    fn mmdebstrap(&self, source: &Debootstrap, tree: &Path) -> Result<(), BuildError> {
        let archives = self.work.join("debs");
        fs_err::create_dir(&archives)?;
        if let Some(packages) = self.packages {
            packages.offer(&archives)?;
        }
        let keyring = self.keyring(source)?;
        let mut command = command(source, tree, &archives, keyring.as_deref())?;
        if self.expired {
            command.insert(1, "--aptopt=Acquire::Check-Valid-Until \"false\"".to_owned());
        }
        let step = Step::new("mmdebstrap", Run::Command(command)).with_network();
        let session = Session { environment: host_environment(self.now), steps: vec![step], ..Session::default() };
        sandbox::run(&session, self.around)?;
        fs_err::remove_dir_all(archives)?;
        Ok(())
    }

    /// The spec's certificates as a file, when it has any.
    fn keyring(&self, source: &Debootstrap) -> io::Result<Option<PathBuf>> {
        if source.keys.is_empty() {
            return Ok(None);
        }
        let path = self.work.join("keys.asc");
        fs_err::write(&path, source.keys.join("\n"))?;
        Ok(Some(path))
    }
}

/// Whether this machine has a program where programs are looked for.
pub(crate) fn is_installed(program: &str) -> bool {
    PROGRAM_DIRECTORIES.iter().any(|directory| Path::new(directory).join(program).exists())
}

fn command(
    source: &Debootstrap,
    tree: &Path,
    archives: &Path,
    keyring: Option<&Path>,
) -> Result<Vec<String>, BuildError> {
    let archives = quoted(archives)?;
    // apt takes the packages for what it would download; essential ones stay for the cache to take them in.
    let mut skip = if source.extracted { Vec::new() } else { vec!["cleanup/apt", "essential/unlink"] };
    if Arch::host() != Some(source.arch) {
        // The builder has seen to it that programs run; mmdebstrap would look for a registration with the whole host.
        skip.push("check/qemu");
    }
    let mut command = vec![
        "mmdebstrap".to_owned(),
        "--mode=root".to_owned(),
        "--format=directory".to_owned(),
        format!("--variant={}", if source.extracted { EXTRACT } else { source.variant.name() }),
        format!("--architectures={}", source.arch),
        "--dpkgopt=force-unsafe-io".to_owned(),
        format!(
            "--setup-hook=mkdir -p \"$1/var/cache/apt/archives/partial\" && \
             find {archives} -name '*.deb' -exec cp -lft \"$1/var/cache/apt/archives\" {{}} +"
        ),
    ];
    // Without it the package `usrmerge` and a whole perl come along (measured: 42 MB).
    if Path::new(MERGED_USR).is_dir() {
        command.push(format!("--hook-dir={MERGED_USR}"));
    }
    for (option, list) in [("components", &source.components), ("include", &source.include)] {
        if !list.is_empty() {
            command.push(format!("--{option}={}", list.join(",")));
        }
    }
    if let Some(keyring) = keyring {
        command.push(format!("--keyring={}", keyring.display()));
        // It would write this path of ours into the image.
        skip.push("check/signed-by");
    }
    if !skip.is_empty() {
        command.push(format!("--skip={}", skip.join(",")));
    }
    command.extend([source.suite.clone(), tree.display().to_string()]);
    match (&source.mirror, source.unverified) {
        (Some(mirror), false) => command.push(mirror.clone()),
        (Some(mirror), true) => {
            let components = if source.components.is_empty() { "main".to_owned() } else { source.components.join(" ") };
            command.push(format!("deb [trusted=yes] {mirror} {} {components}", source.suite));
        }
        (None, true) => return Err(BuildError::UnverifiedWithoutUrl),
        (None, false) => {}
    }
    Ok(command)
}

/// A path as one word for the shell.
fn quoted(path: &Path) -> Result<String, BuildError> {
    let text = path.to_str().filter(|text| !text.contains('\'')).ok_or_else(|| BuildError::Path(path.to_owned()))?;
    Ok(format!("'{text}'"))
}

/// The environment of programs that run on the host's own tree. `TMPDIR` and the like stay out: maintainer scripts
/// would inherit them, and the directories they name do not exist in the image.
pub(crate) fn host_environment(now: Timestamp) -> BTreeMap<String, String> {
    let mut environment: BTreeMap<String, String> = [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("DEBIAN_FRONTEND", "noninteractive"),
        ("HOME", "/root"),
        ("LC_ALL", "C.UTF-8"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    environment.insert("SOURCE_DATE_EPOCH".to_owned(), now.unix().to_string());
    environment.extend(proxies());
    environment
}

/// The proxies of the builder's own environment: package managers need them where there is no other way out.
pub(crate) fn proxies() -> impl Iterator<Item = (String, String)> {
    ["http_proxy", "https_proxy", "no_proxy"]
        .into_iter()
        .filter_map(|key| std::env::var(key).ok().map(|value| (key.to_owned(), value)))
}

const PROGRAM_DIRECTORIES: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
const MMDEBSTRAP: &str = "mmdebstrap";
const DEBOOTSTRAP: &str = "debootstrap";
const MERGED_USR: &str = "/usr/share/mmdebstrap/hooks/maybe-merged-usr";

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::bootstrap::Variant;

    /// A source that no test unpacks.
    pub(crate) fn source() -> Debootstrap {
        Debootstrap {
            distribution: "debian".into(),
            suite: "bookworm".into(),
            arch: Arch::Arm64,
            variant: Variant::Minbase,
            extracted: false,
            components: vec!["main".into(), "contrib".into()],
            include: vec!["gpg".into()],
            mirror: None,
            keys: vec![],
            unverified: false,
        }
    }

    fn words(source: &Debootstrap) -> Vec<String> {
        command(source, Path::new("/w/root"), Path::new("/w/debs"), None).unwrap()
    }

    #[test]
    fn mmdebstrap_chooses_the_mirror_unless_one_is_given() {
        assert_eq!(words(&source()).last().unwrap(), "/w/root");
        let given = Debootstrap { mirror: Some("http://mirror.example.org/d".into()), ..source() };
        assert_eq!(words(&given).last().unwrap(), "http://mirror.example.org/d");
    }

    #[test]
    fn the_spec_reaches_the_command_line() {
        let words = words(&source());
        for expected in ["--variant=minbase", "--architectures=arm64", "--components=main,contrib", "--include=gpg"] {
            assert!(words.iter().any(|word| word == expected), "{expected}");
        }
    }

    #[test]
    fn accepting_an_unsigned_repository_needs_its_address() {
        let unverified = Debootstrap { unverified: true, ..source() };
        assert!(command(&unverified, Path::new("/r"), Path::new("/d"), None).is_err());
        let given = Debootstrap { mirror: Some("http://mirror.example.org/d".into()), ..unverified };
        assert_eq!(
            words(&given).last().unwrap(),
            "deb [trusted=yes] http://mirror.example.org/d bookworm main contrib"
        );
    }

    #[test]
    fn a_path_cannot_break_out_of_the_hook() {
        assert!(command(&source(), Path::new("/r"), Path::new("/it's"), None).is_err());
    }
}
