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
use super::{Bootstrap, BootstrapError, Variant};

/// What to install, and in which order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Resolution {
    /// The essential packages, in the order they are unpacked.
    pub(super) essential: Vec<Chosen>,
    /// Every other package, in the order they are unpacked.
    pub(super) other: Vec<Chosen>,
    /// What apt would do with the others.
    pub(super) order: Vec<Action>,
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
    pub(super) size_bytes: u64,
    /// Nobody asked for it but other packages.
    pub(super) automatic: bool,
}

/// One step of apt's plan, with the number of a package in [`Resolution::other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Action {
    /// It is unpacked.
    Unpack(usize),
    /// It is configured.
    Configure(usize),
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
    let essential = Plan::parse(&apt.simulate(&[pattern(request, "?essential")])?)?;
    if essential.packages.is_empty() {
        let (suite, arch) = (&request.suite, request.arch);
        return Err(BootstrapError::NoPackages { suite: suite.clone(), arch });
    }
    let essential_stanzas = stanzas(apt, &essential)?;
    let installed = essential_stanzas.iter().map(|stanza| stanza.with_status("install ok installed") + "\n");
    let status = installed.chain(merged_usr.then_some(stands_in)).collect::<String>();
    apt.assume(&status)?;
    let mut wanted = Vec::new();
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
    let other = Plan::parse(&apt.simulate(&wanted)?)?;
    let other_stanzas = stanzas(apt, &other)?;
    Ok(Resolution {
        essential: chosen(&essential, &essential_stanzas)?,
        other: chosen(&other, &other_stanzas)?,
        order: other.order,
        merged_usr,
        arch: request.arch.as_str().to_owned(),
    })
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
    /// Names and versions, in the order they are unpacked.
    packages: Vec<(String, String)>,
    order: Vec<Action>,
    automatic: BTreeSet<String>,
}

impl Plan {
    /// Reads `Inst libc6 (2.36-9 Debian:12/stable [amd64])`, `Conf libc6 (…)`, and the list of additional packages.
    fn parse(printed: &str) -> Result<Self, BootstrapError> {
        let mut plan = Self::default();
        let mut numbers = BTreeMap::new();
        let mut in_additional = false;
        for line in printed.lines() {
            if in_additional && line.starts_with(' ') {
                plan.automatic.extend(line.split_whitespace().map(str::to_owned));
                continue;
            }
            in_additional = line.starts_with("The following additional packages will be installed");
            let unexpected = || BootstrapError::Apt { problem: format!("`{}`", line.escape_debug()) };
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some("Inst"), Some(name)) => {
                    let version = words.find_map(|word| word.strip_prefix('(')).ok_or_else(unexpected)?;
                    if name.contains(':') {
                        let reason = "it is of another architecture".to_owned();
                        return Err(BootstrapError::NotCarried { package: name.to_owned(), reason });
                    }
                    numbers.insert(name.to_owned(), plan.packages.len());
                    plan.order.push(Action::Unpack(plan.packages.len()));
                    plan.packages.push((name.to_owned(), version.to_owned()));
                }
                (Some("Conf"), Some(name)) => {
                    plan.order.push(Action::Configure(*numbers.get(name).ok_or_else(unexpected)?));
                }
                (Some("Remv" | "Purg"), Some(_)) => return Err(unexpected()),
                _ => {}
            }
        }
        Ok(plan)
    }
}

/// The entries of the signed lists for the packages of a plan, in their order.
fn stanzas(apt: &Apt<'_>, plan: &Plan) -> Result<Vec<Stanza>, BootstrapError> {
    let words: Vec<_> = plan.packages.iter().map(|(name, version)| format!("{name}={version}")).collect();
    let problem = |error: control::ControlError| BootstrapError::Apt { problem: error.to_string() };
    let shown = if words.is_empty() { Vec::new() } else { control::parse(&apt.show(&words)?).map_err(problem)? };
    plan.packages.iter().map(|package| entry(&shown, package)).collect()
}

fn entry(shown: &[Stanza], (name, version): &(String, String)) -> Result<Stanza, BootstrapError> {
    let is_it =
        |stanza: &&Stanza| stanza.get("Package") == Some(name.as_str()) && stanza.get("Version") == Some(version);
    let missing = || BootstrapError::Apt { problem: format!("no list has version `{version}` of `{name}`") };
    shown.iter().find(is_it).cloned().ok_or_else(missing)
}

fn chosen(plan: &Plan, stanzas: &[Stanza]) -> Result<Vec<Chosen>, BootstrapError> {
    let one = |((name, version), stanza): (&(String, String), &Stanza)| {
        let field = |field: &str| {
            let missing = || BootstrapError::Apt { problem: format!("the list has no `{field}` of `{name}`") };
            stanza.get(field).ok_or_else(missing)
        };
        let bad = |problem: String| BootstrapError::Apt { problem };
        Ok(Chosen {
            name: name.clone(),
            version: version.clone(),
            arch: field("Architecture")?.to_owned(),
            sha256: field("SHA256")?.parse().map_err(|error| bad(format!("{error}")))?,
            size_bytes: field("Size")?.parse().map_err(|_| bad(format!("the size of `{name}` is no number")))?,
            automatic: plan.automatic.contains(name),
        })
    };
    plan.packages.iter().zip(stanzas).map(one).collect()
}

/// Changes whenever the same answer of apt would become another resolution.
const VERSION: u32 = 1;
const MERGED_USR: &str = "usr-is-merged";
/// A version before any that was released.
const OLDER: &str = "1";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bootstrap::tests::request;

    const PRINTED: &str = "Reading package lists...\nThe following additional packages will be installed:\n  libcom-err2\n  \
                           adduser\nSuggested packages:\n  cron\nInst libcom-err2 (1.47-2 Debian:12/stable [amd64])\nInst \
                           usr-is-merged [1] (37~deb12u1 Debian:12/stable [all]) []\nConf libcom-err2 (1.47-2 \
                           Debian:12/stable [amd64])\n";

    #[test]
    fn the_plan_is_what_apt_prints() {
        let plan = Plan::parse(PRINTED).unwrap();
        assert_eq!(plan.packages[1], ("usr-is-merged".to_owned(), "37~deb12u1".to_owned()));
        assert_eq!(plan.order, [Action::Unpack(0), Action::Unpack(1), Action::Configure(0)]);
        assert_eq!(plan.automatic.iter().collect::<Vec<_>>(), ["adduser", "libcom-err2"]);
    }

    #[test]
    fn a_plan_that_removes_or_mixes_architectures_is_refused() {
        for line in ["Remv dpkg [1.21]", "Inst libc6:i386 (2 D [i386])", "Conf never-unpacked (1 D [all])", "Inst x"] {
            assert!(Plan::parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_suite_is_no_regular_expression() {
        let request = Bootstrap { suite: "v1.0".into(), ..request() };
        assert!(pattern(&request, "?essential").contains(r"?archive(^v1\.0$)"));
    }

    #[test]
    fn a_list_without_a_digest_is_refused() {
        let plan = Plan::parse("Inst a (1 D [all])").unwrap();
        let without = control::parse("Package: a\nVersion: 1\nArchitecture: all\nSize: 1\n").unwrap();
        let error = chosen(&plan, &without).unwrap_err().to_string();
        assert!(error.contains("`SHA256`"), "{error}");
    }

    proptest! {
        #[test]
        fn anything_printed_is_survived(printed: String) {
            let _ = Plan::parse(&printed);
        }
    }
}
