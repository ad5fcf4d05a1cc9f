//! Runs apt under a configuration of its own.
//!
//! ```text
//! <cache>/bootstrap/v1/apt/<suite>-<arch>-<digest of the configuration>/
//! ├── lock
//! ├── apt.conf
//! ├── etc/apt/sources.list, trusted.gpg.d/
//! ├── var/lib/apt/lists/        signed lists: what did not change is not fetched again
//! ├── var/cache/apt/            apt's index of them
//! ├── var/lib/dpkg/status       what apt is told to be installed
//! └── work/                     downloads, what apt printed
//! ```
//!
//! Nothing of the host's own configuration is read: `APT_CONFIG` comes first and moves every directory.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::tree::directory_in;
use super::{Bootstrap, BootstrapError, Repository};
use crate::build::inventory::repository_name;
use crate::build::unpack::proxies;
use crate::cache::lock::{self, Lock};
use crate::sandbox::{self, Run, Session, Step, Surroundings};
use formats::digest::Sha256;

/// apt, with lists and caches that only one bootstrap at a time uses.
pub(super) struct Apt<'a> {
    directory: PathBuf,
    around: Surroundings<'a>,
    _lock: Lock,
}

impl<'a> Apt<'a> {
    /// apt for the sources `lines`; waits for other bootstraps of the same, not longer than the
    /// deadline.
    pub(super) fn open(request: &Bootstrap, lines: &str, around: Surroundings<'a>) -> Result<Self, BootstrapError> {
        let keyrings = keyrings(request)?;
        let configuration = configuration(request);
        let mut identity = format!("{configuration}\n{lines}\n");
        for (name, content) in &keyrings {
            let _ = writeln!(identity, "{name} {}", Sha256::of(content));
        }
        let digest = Sha256::of(identity.as_bytes());
        let name = format!("{}-{}-{}", request.suite.replace('/', "_"), request.arch, digest.short());
        let directory = request.cache.join("bootstrap/v1/apt").join(name);
        for below in DIRECTORIES {
            fs_err::create_dir_all(directory.join(below))?;
        }
        let lock = fs_err::File::create(directory.join("lock"))?.into_parts().0;
        if !lock::take(&lock, lock::Mode::Exclusive, around.deadline)? {
            return Err(BootstrapError::Waited);
        }
        let sandbox = if is_open_to_all(&directory)? { "" } else { "APT::Sandbox::User \"root\";\n" };
        let top = format!("Dir \"{}\";\n", quotable(&directory)?);
        fs_err::write(directory.join("apt.conf"), format!("{top}{configuration}{sandbox}"))?;
        fs_err::write(directory.join("etc/apt/sources.list"), lines)?;
        for (name, content) in &keyrings {
            fs_err::write(directory.join("etc/apt/trusted.gpg.d").join(name), content)?;
        }
        fs_err::write(directory.join(STATUS), "")?;
        Ok(Self { directory, around, _lock: lock })
    }

    /// Fetches lists that changed and verifies them.
    pub(super) fn update(&self) -> Result<(), BootstrapError> {
        if !self.around.network {
            if self.repositories()?.is_empty() {
                return Err(BootstrapError::Offline { what: "the package lists".to_owned() });
            }
            return Ok(());
        }
        // The index of the lists is made by whoever needs it.
        let words = ["apt-get", "update", "--error-on=any", "-q", "-o", "pkgCacheFile::Generate=false"];
        self.run("fetching the package lists", &words.map(str::to_owned)).and_then(|printed| self.log(&printed))
    }

    /// Makes apt believe that the packages of this status are what the system has. It costs a new index, so questions
    /// about one status are asked together.
    pub(super) fn assume(&self, status: &str) -> Result<(), BootstrapError> {
        Ok(fs_err::write(self.directory.join(STATUS), status)?)
    }

    /// What `apt-get install` of these patterns would download, in the order it would unpack it, as apt prints it.
    pub(super) fn choose(&self, patterns: &[String]) -> Result<String, BootstrapError> {
        let mut words = ["apt-get", "install", "--print-uris", "--yes", "--"].map(str::to_owned).to_vec();
        words.extend_from_slice(patterns);
        self.run("choosing packages", &words)
    }

    /// The entries of the lists for these packages, as control files: all versions.
    pub(super) fn show(&self, packages: &[String]) -> Result<String, BootstrapError> {
        let mut words = ["apt-cache", "show", "--"].map(str::to_owned).to_vec();
        words.extend_from_slice(packages);
        self.run("reading the package lists", &words)
    }

    /// The version of a package that apt would install.
    pub(super) fn candidate(&self, package: &str) -> Result<Option<String>, BootstrapError> {
        let printed = self.run("reading the package lists", &["apt-cache", "policy", package].map(str::to_owned))?;
        let candidate = printed.lines().find_map(|line| line.trim_start().strip_prefix("Candidate: "));
        Ok(candidate.filter(|version| *version != "(none)").map(str::to_owned))
    }

    /// What apt knows of these packages: the version it would install, and those there are.
    pub(super) fn policy(&self, packages: &[String]) -> Result<String, BootstrapError> {
        let mut words = ["apt-cache", "policy", "--"].map(str::to_owned).to_vec();
        words.extend_from_slice(packages);
        self.run("reading the package lists", &words)
    }

    /// Downloads `name=version` each, and returns the directory they are in. apt compares them with the signed lists.
    pub(super) fn download(&self, packages: &[String]) -> Result<PathBuf, BootstrapError> {
        if !self.around.network {
            return Err(BootstrapError::Offline { what: packages.join(", ") });
        }
        let directory = self.directory.join("work/downloads");
        if directory.exists() {
            fs_err::remove_dir_all(&directory)?;
        }
        fs_err::create_dir(&directory)?;
        let mut words = ["env", "-C"].map(str::to_owned).to_vec();
        words.push(directory.display().to_string());
        words.extend(["apt-get", "download", "-q", "--"].map(str::to_owned));
        words.extend_from_slice(packages);
        let printed = self.run("downloading packages", &words)?;
        self.log(&printed)?;
        Ok(directory)
    }

    /// The signed documents behind the lists, sorted by name.
    pub(super) fn repositories(&self) -> Result<Vec<Repository>, BootstrapError> {
        let mut found = Vec::new();
        for entry in fs_err::read_dir(self.directory.join(LISTS))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with("_InRelease") || name.ends_with("_Release") {
                let content = fs_err::read(entry.path())?;
                let title = repository_name(&String::from_utf8_lossy(&content));
                found.push(Repository { sha256: Sha256::of(&content), name, title });
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Copies the lists into a tree, with their times: apt asks the mirror for what is newer.
    pub(super) fn copy_lists(&self, root: &Path) -> io::Result<()> {
        let lists = directory_in(root, LISTS)?;
        for entry in fs_err::read_dir(self.directory.join(LISTS))? {
            let entry = entry?;
            let name = entry.file_name();
            if !entry.file_type()?.is_file() || name == "lock" {
                continue;
            }
            let copy = lists.join(name);
            fs_err::copy(entry.path(), &copy)?;
            fs_err::File::options().write(true).open(copy)?.file().set_modified(entry.metadata()?.modified()?)?;
        }
        Ok(())
    }

    /// Where what was decided with these lists may be kept.
    pub(super) fn decisions(&self) -> PathBuf {
        self.directory.join("decided")
    }

    fn log(&self, printed: &str) -> Result<(), BootstrapError> {
        let mut log = self.around.log;
        Ok(log.write_all(printed.as_bytes())?)
    }

    fn run(&self, label: &str, words: &[String]) -> Result<String, BootstrapError> {
        printed(&self.directory.join("work/printed"), label, words, Some(&self.directory), self.around)
    }
}

/// Runs a program of the host and returns what it printed.
pub(super) fn printed(
    into: &Path,
    label: &str,
    words: &[String],
    apt: Option<&Path>,
    around: Surroundings<'_>,
) -> Result<String, BootstrapError> {
    let redirect = ["/bin/sh", "-c", "exec \"$@\" >\"$0\""].map(str::to_owned);
    let mut command = redirect.to_vec();
    command.push(into.display().to_string());
    command.extend_from_slice(words);
    let fixed = [("PATH", PATH), ("HOME", "/root"), ("LC_ALL", "C.UTF-8"), ("DEBIAN_FRONTEND", "noninteractive")];
    let mut environment: Vec<_> = fixed.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    environment.extend(proxies());
    if let Some(directory) = apt {
        environment.push(("APT_CONFIG".to_owned(), directory.join("apt.conf").display().to_string()));
        environment.push(("TMPDIR".to_owned(), directory.join("tmp").display().to_string()));
    }
    let session = Session {
        environment: environment.into_iter().collect(),
        steps: vec![Step::new(label, Run::Command(command)).with_network()],
        ..Session::default()
    };
    sandbox::run(&session, around)?;
    Ok(fs_err::read_to_string(into)?)
}

/// The configuration, without what depends on where it is. Of a list's compressions gzip comes first: `apt-get update`
/// takes 60 % of the CPU time that it takes with xz, for a third more bytes.
fn configuration(request: &Bootstrap) -> String {
    let arch = request.arch;
    let validity = if request.expired { "Acquire::Check-Valid-Until \"false\";\n" } else { "" };
    format!(
        "APT::Architecture \"{arch}\";\nAPT::Architectures \"{arch}\";\nAPT::Install-Recommends \"false\";\n\
         Acquire::Languages \"none\";\nAcquire::CompressionTypes::Order:: \"gz\";\nDir::Etc::Trusted \"/dev/null\";\npkgCacheGen::ForceEssential \",\";\n{validity}"
    )
}

/// The certificates to trust, under the names that tell apt their form.
fn keyrings(request: &Bootstrap) -> Result<Vec<(String, Vec<u8>)>, BootstrapError> {
    let default = [PathBuf::from(DEBIAN_KEYRING)];
    let paths = if request.keyrings.is_empty() { default.as_slice() } else { &request.keyrings };
    let mut keyrings = Vec::new();
    for (index, path) in paths.iter().enumerate() {
        if request.keyrings.is_empty() && !path.exists() {
            continue;
        }
        let content = fs_err::read(path)?;
        let form = if content.starts_with(b"-----BEGIN") { "asc" } else { "gpg" };
        keyrings.push((format!("{index}.{form}"), content));
    }
    Ok(keyrings)
}

/// Whether apt's own user can reach a directory. Where it cannot, apt has to work as root.
fn is_open_to_all(directory: &Path) -> io::Result<bool> {
    for above in directory.ancestors() {
        if above.as_os_str().is_empty() {
            break;
        }
        let mode = fs_err::metadata(above)?.mode();
        if mode & 0o001 == 0 {
            return Ok(false);
        }
    }
    let tmp = directory.join("tmp");
    fs_err::set_permissions(tmp, PermissionsExt::from_mode(0o1777))?;
    Ok(true)
}

/// A path that apt's configuration language takes as it is.
fn quotable(path: &Path) -> Result<&str, BootstrapError> {
    let text = path.to_str().filter(|text| !text.contains(['"', '\n', ';']));
    let bad = || io::Error::new(io::ErrorKind::InvalidInput, "the path of the cache cannot be written in apt's files");
    Ok(text.ok_or_else(bad)?)
}

const DIRECTORIES: [&str; 10] = [
    "decided",
    "etc/apt/apt.conf.d",
    "etc/apt/preferences.d",
    "etc/apt/sources.list.d",
    "etc/apt/trusted.gpg.d",
    "tmp",
    "var/cache/apt/archives/partial",
    "var/lib/apt/lists/partial",
    "var/lib/dpkg",
    "work",
];
const LISTS: &str = "var/lib/apt/lists";
const STATUS: &str = "var/lib/dpkg/status";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
pub(super) const DEBIAN_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
