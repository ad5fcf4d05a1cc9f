//! A bootstrapped tree is mmdebstrap's, apart from a list; nothing unsigned or altered gets into one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command as Program, Stdio};
use std::time::{Duration, Instant};

use crate::common::{builder, is_root, output_of};

/// Where the trees may differ, and why.
const NOISE: &[(&str, &str)] = &[
    ("etc/hostname", "mmdebstrap copies the host's; an image has none of this machine"),
    ("etc/resolv.conf", "the same"),
    ("var/cache/apt/archives/lock", "apt ran inside of mmdebstrap's tree, and beside ours"),
    ("var/cache/apt/archives/partial", "the same: apt gives it to its own user when it first runs"),
    ("var/lib/apt/lists/lock", "the same"),
    ("var/lib/apt/lists/partial", "the same"),
    ("var/lib/apt/extended_states", "the same packages in another order, compared by its own test"),
    ("var/lib/dpkg/status-old", "the state one step before the last, which is another step here"),
];

const EPOCH: i64 = 1_700_000_000;

fn may_run() -> bool {
    let network = std::env::var_os("ROOTCELLAR_TEST_NETWORK").is_some();
    if !network {
        testkit::skip("downloads Debian packages only with ROOTCELLAR_TEST_NETWORK=1");
    }
    let judge = Program::new("mmdebstrap").arg("--version").output().is_ok();
    if !judge {
        testkit::skip("no mmdebstrap");
    }
    network && judge && is_root()
}

struct World {
    directory: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn bootstrap(&self, target: &str) -> assert_cmd::Command {
        self.bootstrap_of(("bookworm", "minbase"), target)
    }

    fn bootstrap_of(&self, (suite, variant): (&str, &str), target: &str) -> assert_cmd::Command {
        let mut command = builder();
        command.args(["bootstrap", suite, "--variant", variant]).arg(self.path(target));
        command.arg("--cache").arg(self.path("cache"));
        command.env("SOURCE_DATE_EPOCH", EPOCH.to_string()).env("TMPDIR", self.path("tmp-of-the-builder"));
        command
    }

    /// Both choose the mirror by themselves: the same one.
    fn mmdebstrap(&self, (suite, variant): (&str, &str), target: &str) {
        let mut command = Program::new("mmdebstrap");
        command.args(["--mode=root", "--format=directory", "--quiet"]).arg(format!("--variant={variant}"));
        command.arg("--hook-dir=/usr/share/mmdebstrap/hooks/maybe-merged-usr");
        let accepts_expired = suite == "sid";
        command.args(accepts_expired.then_some("--aptopt=Acquire::Check-Valid-Until \"false\""));
        command.arg(suite).arg(self.path(target));
        command.env("SOURCE_DATE_EPOCH", EPOCH.to_string()).env_remove("TMPDIR");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        if accepts_expired {
            // It writes its options into the tree.
            fs::remove_file(self.path(target).join("etc/apt/apt.conf.d/99mmdebstrap")).unwrap();
        }
    }
}

/// Everything about one file that an image keeps.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    mode: u32,
    owner: (u32, u32),
    device: u64,
    links: u64,
    /// Not later than [`EPOCH`]: an archive has no later ones either. Not compared for directories: mmdebstrap unpacks
    /// the essential packages twice, and its directories keep some of the times of the first pass.
    mtime: i64,
    /// Capabilities, access control lists and whatever else is attached, by name.
    attributes: BTreeMap<String, Vec<u8>>,
    content: Vec<u8>,
}

fn look(tree: &Path) -> BTreeMap<String, Entry> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![tree.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let stat = path.symlink_metadata().unwrap();
            let kind = stat.file_type();
            let content = match (kind.is_file(), kind.is_symlink()) {
                (true, _) => fs::read(&path).unwrap(),
                (_, true) => fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes(),
                _ => Vec::new(),
            };
            let device = if kind.is_char_device() { stat.rdev() } else { 0 };
            let links = if kind.is_file() { stat.nlink() } else { 0 };
            let mtime = if kind.is_dir() { 0 } else { stat.mtime().min(EPOCH) };
            let owner = (stat.uid(), stat.gid());
            let name = path.strip_prefix(tree).unwrap().display().to_string();
            let attributes = attributes(&path);
            found.insert(name, Entry { mode: stat.mode(), owner, device, links, mtime, attributes, content });
            if kind.is_dir() {
                waiting.push(path);
            }
        }
    }
    found
}

/// The extended attributes of a file, which is not followed where it is a link.
fn attributes(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0_u8; 4096];
    let length = rustix::fs::llistxattr(path, names.as_mut_slice()).unwrap_or_default();
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let value = |name: &[u8]| {
        let mut value = vec![0_u8; 4096];
        let length = rustix::fs::lgetxattr(path, name, value.as_mut_slice()).unwrap();
        value.truncate(length);
        (String::from_utf8_lossy(name).into_owned(), value)
    };
    names.map(value).collect()
}

/// The paths that differ, without the known ones.
fn differences(one: &BTreeMap<String, Entry>, other: &BTreeMap<String, Entry>) -> Vec<String> {
    let names: BTreeSet<_> = one.keys().chain(other.keys()).collect();
    let known = |name: &str| NOISE.iter().any(|(path, _)| *path == name);
    let differ = names.into_iter().filter(|name| !known(name) && one.get(*name) != other.get(*name));
    differ.cloned().collect()
}

fn dpkg(tree: &Path, action: &str) -> String {
    let output = Program::new("dpkg").arg(format!("--root={}", tree.display())).arg(action).output().unwrap();
    assert!(output.status.success(), "dpkg {action}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn flip_a_byte(path: &Path) {
    let mut content = fs::read(path).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    fs::write(path, content).unwrap();
}

fn files_in(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn the_tree_is_mmdebstraps_the_cache_heals_and_a_kill_leaves_nothing() {
    if !may_run() {
        return;
    }
    let world = World::new();
    let packages = output_of(&world.bootstrap("ours").assert().success()).0;
    let ours = look(&world.path("ours"));

    world.mmdebstrap(("bookworm", "minbase"), "judge");
    let judge = look(&world.path("judge"));
    assert_eq!(differences(&ours, &judge), Vec::<String>::new());
    // What is listed as noise makes noise: an entry that became true is not to hide anything later.
    let silent = NOISE.iter().filter(|(path, _)| ours.get(*path) == judge.get(*path));
    assert_eq!(silent.collect::<Vec<_>>(), Vec::<&(&str, &str)>::new());
    let stanzas = |tree: &str| {
        let text = fs::read_to_string(world.path(tree).join("var/lib/apt/extended_states")).unwrap();
        text.split("\n\n").map(str::to_owned).collect::<BTreeSet<_>>()
    };
    assert_eq!(stanzas("ours"), stanzas("judge"));

    let installed = dpkg(&world.path("ours"), "-l");
    let marks: Vec<_> = installed.lines().skip(5).map(|line| line.split(' ').next().unwrap()).collect();
    assert!(marks.iter().all(|mark| *mark == "ii"), "{installed}");
    assert_eq!(marks.len(), packages.lines().count());
    assert_eq!(dpkg(&world.path("ours"), "--audit"), "");
    assert_eq!(dpkg(&world.path("ours"), "--verify"), "");

    // The cache is damaged: one package as fetched and as decoded, another only as decoded.
    let debs = files_in(&world.path("cache/bootstrap/v1/debs"));
    let decoded = files_in(&world.path("cache/bootstrap/v1/decoded"));
    assert_eq!((debs.len(), decoded.len()), (marks.len(), marks.len()));
    let good = fs::read(&debs[0]).unwrap();
    for path in [&debs[0], &decoded[0], &decoded[1]] {
        flip_a_byte(path);
    }
    world.bootstrap("again").assert().success();
    assert!(fs::read(&debs[0]).unwrap() == good, "the altered package is still in the cache");
    assert_eq!(differences(&ours, &look(&world.path("again"))), Vec::<String>::new());

    // The third is killed while scripts run.
    let mut command = Program::new(env!("CARGO_BIN_EXE_rootcellar-builder"));
    command.args(["bootstrap", "bookworm"]).arg(world.path("killed")).arg("--cache").arg(world.path("cache"));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let status = world.path("killed/var/lib/dpkg/status");
    wait_until("the scripts run", || status.exists());
    child.kill().unwrap();
    child.wait().unwrap();
    let tree = world.path("killed");
    wait_until("no process is left in the tree", || processes_in(&tree).is_empty());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&*tree.display().to_string()), "{mounts}");
}

#[test]
fn trees_of_other_releases_and_of_more_packages_are_mmdebstraps_too() {
    if std::env::var_os("ROOTCELLAR_TEST_ALL_RELEASES").is_none() {
        testkit::skip("bootstraps three more trees beside mmdebstrap only with ROOTCELLAR_TEST_ALL_RELEASES=1");
        return;
    }
    if !may_run() {
        return;
    }
    for what in [("bookworm", "debootstrap"), ("trixie", "minbase"), ("sid", "minbase")] {
        let world = World::new();
        // The public mirror of sid can stand still for weeks.
        world.bootstrap_of(what, "ours").arg("--accept-expired-lists").assert().success();
        world.mmdebstrap(what, "judge");
        let mut found = differences(&look(&world.path("ours")), &look(&world.path("judge")));
        // systemd-tmpfiles makes it where systemd is; while our scripts run, /run is in memory, as on a machine.
        found.retain(|path| path != "run/lock/subsys");
        assert_eq!(found, Vec::<String>::new(), "{what:?}");
        eprintln!("{what:?}: the same");
    }
}

/// Processes whose root directory is below `tree`, or was: the kernel says so where it is mounted elsewhere.
fn processes_in(tree: &Path) -> Vec<PathBuf> {
    let stat = fs::metadata(tree).unwrap();
    let is_inside = |process: &PathBuf| {
        let root = fs::metadata(process.join("root"));
        root.is_ok_and(|root| (root.dev(), root.ino()) == (stat.dev(), stat.ino()))
    };
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    processes.filter(is_inside).collect()
}

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let patience = Instant::now() + Duration::from_mins(5);
    while !done() {
        assert!(Instant::now() < patience, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A repository without packages, signed by a key that is made for it.
struct Repository {
    directory: tempfile::TempDir,
}

impl Repository {
    /// `None`, said on stderr, where gpg or apt are missing.
    fn new() -> Option<Self> {
        Self::with("")
    }

    /// The same with more fields in the signed document.
    fn with(fields: &str) -> Option<Self> {
        if !is_root() {
            return None;
        }
        for program in ["gpg", "apt-get"] {
            if Program::new(program).arg("--version").output().is_err() {
                testkit::skip(format_args!("no {program}"));
                return None;
            }
        }
        let repository = Self { directory: tempfile::tempdir().unwrap() };
        let suite = repository.path("mirror/dists/bookworm");
        fs::create_dir_all(suite.join("main/binary-amd64")).unwrap();
        fs::write(suite.join("main/binary-amd64/Packages"), "").unwrap();
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let release = format!(
            "Suite: bookworm\nCodename: bookworm\nArchitectures: amd64\nComponents: main\n\
             Date: Sat, 01 Nov 2025 00:00:00 UTC\n{fields}SHA256:\n {empty} 0 main/binary-amd64/Packages\n"
        );
        fs::write(suite.join("Release"), release).unwrap();
        fs::create_dir(repository.path("gpg")).unwrap();
        repository.gpg(&[
            "--quick-generate-key",
            "--passphrase",
            "",
            "archive@example.org",
            "ed25519",
            "sign",
            "never",
        ]);
        repository.gpg(&["--output", "@keyring.gpg", "--export"]);
        repository.gpg(&["--output", "@InRelease", "--clearsign", "@mirror/dists/bookworm/Release"]);
        fs::remove_file(suite.join("Release")).unwrap();
        fs::rename(repository.path("InRelease"), suite.join("InRelease")).unwrap();
        Some(repository)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs gpg; words that begin with `@` are paths in this world.
    fn gpg(&self, words: &[&str]) {
        let mut command = Program::new("gpg");
        command.args(["--batch", "--quiet", "--homedir"]).arg(self.path("gpg"));
        for word in words {
            match word.strip_prefix('@') {
                Some(path) => command.arg(self.path(path)),
                None => command.arg(word),
            };
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// What a bootstrap from here says.
    fn refusal(&self, keyring: Option<&str>, more: &[&str]) -> String {
        let mut command = builder();
        command.args(["bootstrap", "bookworm", "--arch", "amd64"]).arg(self.path("tree"));
        command.arg("--cache").arg(self.path("cache"));
        command.arg("--mirror").arg(format!("file://{}", self.path("mirror").display()));
        if let Some(keyring) = keyring {
            command.arg("--keyring").arg(self.path(keyring));
        }
        let said = output_of(&command.args(more).assert().failure()).1;
        assert!(fs::read_dir(self.path("tree")).unwrap().next().is_none(), "something was installed");
        said
    }
}

#[test]
fn package_lists_of_a_stranger_are_refused() {
    let Some(repository) = Repository::new() else { return };
    let said = repository.refusal(None, &[]);
    assert!(said.contains("fetching the package lists failed"), "{said}");
    assert!(said.contains("NO_PUBKEY") || said.contains("not signed"), "{said}");
}

#[test]
fn package_lists_whose_validity_is_over_are_refused_unless_that_is_accepted() {
    let Some(repository) = Repository::with("Valid-Until: Sat, 08 Nov 2025 00:00:00 UTC\n") else { return };
    let said = repository.refusal(Some("keyring.gpg"), &[]);
    assert!(said.contains("fetching the package lists failed") && said.contains("expired"), "{said}");
    let said = repository.refusal(Some("keyring.gpg"), &["--accept-expired-lists"]);
    assert!(said.contains("warning: package lists are accepted whatever their age"), "{said}");
    assert!(said.contains("no mirror has essential packages of `bookworm` for amd64"), "{said}");
}

#[test]
fn package_lists_that_were_altered_after_signing_are_refused() {
    let Some(repository) = Repository::new() else { return };
    // Unaltered, the lists are accepted, and only have no package to offer.
    let said = repository.refusal(Some("keyring.gpg"), &[]);
    assert!(said.contains("no mirror has essential packages of `bookworm` for amd64"), "{said}");
    let signed = repository.path("mirror/dists/bookworm/InRelease");
    let text = fs::read_to_string(&signed).unwrap();
    fs::write(signed, text.replace("Components: main", "Components: evil")).unwrap();
    let said = repository.refusal(Some("keyring.gpg"), &[]);
    assert!(said.contains("fetching the package lists failed"), "{said}");
}

#[test]
fn package_lists_without_a_signature_are_refused() {
    let Some(repository) = Repository::new() else { return };
    let suite = repository.path("mirror/dists/bookworm");
    let signed = fs::read_to_string(suite.join("InRelease")).unwrap();
    let body: Vec<_> = signed.lines().skip(3).take_while(|line| !line.starts_with("-----")).collect();
    let body = body.join("\n") + "\n";
    fs::write(suite.join("Release"), body).unwrap();
    fs::remove_file(suite.join("InRelease")).unwrap();
    let said = repository.refusal(Some("keyring.gpg"), &[]);
    assert!(said.contains("fetching the package lists failed"), "{said}");
}
