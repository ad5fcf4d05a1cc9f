//! What apt chose: the packages, where their files are, and the order they go in.
//!
//! mmdebstrap's two steps are kept, since the second choice depends on the first: the essential packages on an empty
//! system, then everything else on a system that has them. What was decided is kept beside the lists, under a digest of
//! the signed documents and of the question, so that the same question is not asked twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use formats::digest::Sha256;
use serde::{Deserialize, Serialize};

use super::apt::Apt;
use super::control::{self, Stanza};
use super::{Bootstrap, BootstrapError, InstalledPackage, Variant};

/// What to install, and in which order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Resolution {
    /// The essential packages, in the order they are unpacked.
    pub(super) essential: Vec<Chosen>,
    /// Every other package, in the order they are unpacked.
    pub(super) other: Vec<Chosen>,
    /// Whether `bin`, `lib` and the like are links from the start.
    pub(super) merged_usr: bool,
    /// The architecture.
    pub(super) arch: String,
}

/// A package that apt chose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Chosen {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) arch: String,
    pub(super) sha256: Sha256,
    /// Nobody asked for it but other packages.
    pub(super) automatic: bool,
}

impl Resolution {
    /// Asks apt, unless it was asked before.
    pub(super) fn of(request: &Bootstrap, apt: &Apt<'_>) -> Result<Self, BootstrapError> {
        let mut question = format!("{VERSION} {} {:?} {:?}\n", request.suite, request.variant, request.include);
        for repository in apt.repositories()? {
            let _ = writeln!(question, "{} {}", repository.name, repository.sha256);
        }
        // Lists that nobody signed may change while nothing else does.
        let place = (!request.unverified).then(|| apt.decisions().join(Sha256::of(question.as_bytes()).to_string()));
        let known = place.as_ref().and_then(|place| fs_err::read(place).ok());
        if let Some(resolution) = known.and_then(|known| serde_json::from_slice(&known).ok()) {
            return Ok(resolution);
        }
        let resolution = ask(request, apt)?;
        if let Some(place) = place {
            let mut file = tempfile::NamedTempFile::new_in(apt.decisions())?;
            serde_json::to_writer(&mut file, &resolution).map_err(std::io::Error::from)?;
            file.persist(place).map_err(|error| error.error)?;
        }
        Ok(resolution)
    }

    /// All packages, in the order they are unpacked.
    pub(super) fn packages(&self) -> impl Iterator<Item = &Chosen> {
        self.essential.iter().chain(&self.other)
    }
}

/// The versions that apt would install of these packages, on an empty system.
pub(super) fn candidates(apt: &Apt<'_>, names: &[String]) -> Result<Vec<InstalledPackage>, BootstrapError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    apt.assume("")?;
    let chosen = policies(&apt.policy(names)?);
    let shown = control::parse(&apt.show(names)?);
    let shown = shown.map_err(|error| BootstrapError::Apt { problem: error.to_string() })?;
    let candidate = |stanza: &Stanza| {
        let name = stanza.get("Package")?;
        let version =
            stanza.get("Version").filter(|version| chosen.get(name).is_some_and(|chosen| chosen == version))?;
        let (name, version) = (name.to_owned(), version.to_owned());
        let arch = stanza.get("Architecture")?.to_owned();
        Some(InstalledPackage { name, version, arch, sha256: stanza.get("SHA256")?.parse().ok()? })
    };
    Ok(shown.iter().filter_map(candidate).collect())
}

/// The candidates in what `apt-cache policy` prints, by package.
fn policies(printed: &str) -> BTreeMap<String, String> {
    let mut chosen = BTreeMap::new();
    let mut package = None;
    for line in printed.lines() {
        if let Some(name) = line.strip_suffix(':').filter(|name| !name.starts_with(' ')) {
            package = Some(name.to_owned());
        } else if let Some(version) = line.trim_start().strip_prefix("Candidate: ") {
            chosen.extend(package.take().map(|name| (name, version.to_owned())));
        }
    }
    chosen
}

fn ask(request: &Bootstrap, apt: &Apt<'_>) -> Result<Resolution, BootstrapError> {
    // A system whose directories are merged already gets the empty package that says so, not the one that merges them:
    // an older version of it is there while apt chooses.
    let stands_in = format!(
        "Package: {MERGED_USR}\nStatus: install ok installed\nArchitecture: all\nMulti-Arch: foreign\n\
         Version: {OLDER}\nMaintainer: nobody\nDescription: stands for the merged directories\n\n"
    );
    apt.assume(&stands_in)?;
    let merged_usr = apt.candidate(MERGED_USR)?.is_some_and(|version| version != OLDER);
    if !merged_usr {
        apt.assume("")?;
    }
    let essential = Plan::parse(&apt.choose(&[pattern(request, "?essential")])?)?;
    if essential.packages.is_empty() {
        let (suite, arch) = (&request.suite, request.arch);
        return Err(BootstrapError::NoPackages { suite: suite.clone(), arch });
    }
    let essential = chosen(request, apt, &essential)?;
    // Asked for by their versions they are settled, as if they were installed.
    let mut wanted: Vec<_> = essential.iter().map(|one| format!("{}={}", one.name, one.version)).collect();
    if merged_usr {
        wanted.push(MERGED_USR.to_owned());
    }
    wanted.extend(request.include.iter().cloned());
    wanted.extend((request.variant == Variant::Buildd).then(|| "build-essential".to_owned()));
    let priority = match request.variant {
        Variant::Minbase | Variant::Buildd => "?priority(required)",
        Variant::Debootstrap => "?or(?priority(required),?priority(important))",
    };
    wanted.push(pattern(request, &format!("?and({priority},?not(?essential))")));
    let mut other = Plan::parse(&apt.choose(&wanted)?)?;
    other.packages.retain(|found| essential.iter().all(|known| known.name != found.name));
    let other = chosen(request, apt, &other)?;
    Ok(Resolution { essential, other, merged_usr, arch: request.arch.as_str().to_owned() })
}

/// Packages of the requested suite that match; its updates only come in through newer versions of them. The suite is
/// looked at last, as it takes apt a regular expression for every package of the lists.
fn pattern(request: &Bootstrap, what: &str) -> String {
    let suite = request.suite.replace('.', "\\.").replace('+', "\\+");
    format!("?narrow({what},?architecture({}),?or(?archive(^{suite}$),?codename(^{suite}$)))", request.arch)
}

/// What apt says it would do.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    /// In the order they are unpacked.
    packages: Vec<Found>,
    automatic: BTreeSet<String>,
}

/// A package as the name of its file tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    name: String,
    /// Without the epoch where the mirror is a directory: apt does not rename its files.
    version: String,
    arch: String,
}

impl Plan {
    /// Reads lines such as `'http://…/libc6_2.36-9_amd64.deb' libc6_2.36-9_amd64.deb 2754812 MD5Sum:9f2c…` and the list
    /// of additional packages.
    fn parse(printed: &str) -> Result<Self, BootstrapError> {
        let mut plan = Self::default();
        let mut in_additional = false;
        for line in printed.lines() {
            let unexpected = || BootstrapError::Apt { problem: format!("`{}`", line.escape_debug()) };
            if in_additional && line.starts_with(' ') {
                plan.automatic.extend(line.split_whitespace().map(str::to_owned));
                continue;
            }
            in_additional = line.starts_with("The following additional packages will be installed");
            if line.starts_with("The following packages will be REMOVED") {
                return Err(unexpected());
            }
            if let Some(rest) = line.strip_prefix('\'') {
                let (_, rest) = rest.split_once("' ").ok_or_else(unexpected)?;
                let file = rest.split(' ').next().unwrap_or_default();
                plan.packages.push(Found::parse(file).ok_or_else(unexpected)?);
            }
        }
        Ok(plan)
    }
}

impl Found {
    fn parse(file: &str) -> Option<Self> {
        let mut parts = file.strip_suffix(".deb")?.split('_');
        let (name, version, arch) = (parts.next()?, parts.next()?, parts.next()?);
        let version = version.replace("%3a", ":").replace("%5f", "_");
        let found = Self { name: name.to_owned(), version, arch: arch.to_owned() };
        (parts.next().is_none() && !name.is_empty()).then_some(found)
    }

    fn is(&self, stanza: &Stanza) -> bool {
        let version = stanza.get("Version").unwrap_or_default();
        let without_epoch = version.split_once(':').map_or(version, |(_, rest)| rest);
        stanza.get("Package") == Some(&self.name)
            && stanza.get("Architecture") == Some(&self.arch)
            && (version == self.version || without_epoch == self.version)
            && stanza.get("SHA256").is_some()
    }
}

/// The packages of a plan with what the signed lists say of them.
fn chosen(request: &Bootstrap, apt: &Apt<'_>, plan: &Plan) -> Result<Vec<Chosen>, BootstrapError> {
    if plan.packages.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<_> = plan.packages.iter().map(|found| found.name.clone()).collect();
    let shown = control::parse(&apt.show(&names)?);
    let shown = shown.map_err(|error| BootstrapError::Apt { problem: error.to_string() })?;
    let native = request.arch.as_str();
    if let Some(foreign) = plan.packages.iter().find(|found| found.arch != "all" && found.arch != native) {
        let reason = format!("it is for {}", foreign.arch);
        return Err(BootstrapError::NotCarried { package: foreign.name.clone(), reason });
    }
    plan.packages.iter().map(|found| listed(found, &shown, plan.automatic.contains(&found.name))).collect()
}

fn listed(found: &Found, shown: &[Stanza], automatic: bool) -> Result<Chosen, BootstrapError> {
    let Found { name, version, arch } = found;
    let problem = |problem: &str| BootstrapError::Apt { problem: format!("`{name}` {version} {problem}") };
    let stanza = shown.iter().find(|stanza| found.is(stanza)).ok_or_else(|| problem("is in no list with a digest"))?;
    let digest = stanza.get("SHA256").unwrap_or_default();
    Ok(Chosen {
        name: name.clone(),
        version: stanza.get("Version").unwrap_or_default().to_owned(),
        arch: arch.clone(),
        sha256: digest.parse().map_err(|_| problem("has a digest that is none"))?,
        automatic,
    })
}

/// Changes whenever the same answer of apt would become another resolution.
const VERSION: u32 = 2;
const MERGED_USR: &str = "usr-is-merged";
/// A version before any that was released.
const OLDER: &str = "1";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bootstrap::tests::request;

    const PRINTED: &str = "Reading package lists...\nThe following additional packages will be installed:\n  libcom-err2\n  \
                           adduser\nSuggested packages:\n  cron\nNeed to get 3 MB of archives.\n\
                           'http://mirror.example/pool/p/passwd_4.13-1_amd64.deb' passwd_1%3a4.13-1_amd64.deb 7 MD5Sum:0\n\
                           'http://mirror.example/pool/a/adduser_3.1_all.deb' adduser_3.1_all.deb 7 MD5Sum:0\n";

    fn entry(text: &str) -> Vec<Stanza> {
        control::parse(&format!("Package: passwd\nArchitecture: amd64\n{text}")).unwrap()
    }

    #[test]
    fn the_plan_is_what_apt_prints() {
        let plan = Plan::parse(PRINTED).unwrap();
        let found = |name: &str, version: &str, arch: &str| Found {
            name: name.to_owned(),
            version: version.to_owned(),
            arch: arch.to_owned(),
        };
        assert_eq!(plan.packages, [found("passwd", "1:4.13-1", "amd64"), found("adduser", "3.1", "all")]);
        assert_eq!(plan.automatic.iter().collect::<Vec<_>>(), ["adduser", "libcom-err2"]);
    }

    #[test]
    fn a_plan_that_removes_or_names_no_package_is_refused() {
        for line in ["The following packages will be REMOVED:", "'http://x' x", "'http://x", "'u' a_b_c_d.deb 1 x"] {
            assert!(Plan::parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn the_entry_of_the_very_version_counts_and_must_have_a_digest() {
        let digest = format!("SHA256: {}\n", Sha256::of(b"deb"));
        let found = Plan::parse(PRINTED).unwrap().packages.remove(0);
        let unhashed = entry("Version: 1:4.13-1\n");
        let older = entry(&format!("Version: 1:4.12-1\n{digest}"));
        for shown in [&unhashed, &older] {
            assert!(matches!(listed(&found, shown, false), Err(BootstrapError::Apt { .. })));
        }
        let right = entry(&format!("Version: 1:4.13-1\n{digest}"));
        let all = [unhashed, older, right].concat();
        assert_eq!(listed(&found, &all, false).unwrap().sha256, Sha256::of(b"deb"));
        let in_a_directory = Found { version: "4.13-1".to_owned(), ..found };
        assert_eq!(listed(&in_a_directory, &all, false).unwrap().version, "1:4.13-1");
    }

    #[test]
    fn the_candidate_of_each_package_is_what_policy_prints() {
        let printed = "dash:\n  Installed: (none)\n  Candidate: 0.5-1\n  Version table:\n     0.5-1 500\n        \
                       500 http://m x/main\nlibc6:\n  Installed: (none)\n  Candidate: (none)\n";
        let expected = [("dash", "0.5-1"), ("libc6", "(none)")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(policies(printed), expected.into());
    }

    #[test]
    fn a_suite_is_no_regular_expression() {
        let request = Bootstrap { suite: "v1.0".into(), ..request() };
        assert!(pattern(&request, "?essential").contains(r"?archive(^v1\.0$)"));
    }

    proptest! {
        #[test]
        fn anything_printed_is_survived(printed: String) {
            let _ = Plan::parse(&printed);
        }
    }
}
