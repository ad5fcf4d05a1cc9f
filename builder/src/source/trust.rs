//! What has to vouch for an archive, and what does.
//!
//! | the spec has | and the archive comes | then |
//! |---|---|---|
//! | `keys` | anyhow | one of these certificates signed it, or the list that has its checksum |
//! | `checksum` | anyhow | it has this checksum |
//! | neither | over https | it has the checksum that its publisher lists there |
//! | neither | over http | it is refused: the list could be altered as easily |
//! | neither | from this machine | it is as good as the spec beside it |
//! | `skip_verification: true` | anyhow | nothing is checked, and that is said |

use std::io::{Read, Seek};

use formats::certificate::Certificate;
use formats::checksum::{Algorithm, Checksum, ChecksumHasher, listed};
use formats::digest::Sha256;
use formats::publisher::{Publisher, is_inline};
use formats::time::Timestamp;
use terminal::Printer;

use super::artifact::{Artifact, Checksums};
use super::error::SourceError;
use super::web::Web;
use crate::plan::PlanError;
use crate::spec::definition;
use crate::spec::template::Templates;

/// What a spec demands of archives.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Trust {
    /// Who must have signed, unless nobody is named.
    publisher: Publisher,
    /// What the archive must be.
    checksum: Option<Checksum>,
    /// Accepts anything.
    unverified: bool,
}

impl Trust {
    /// What the section `source` demands.
    pub(crate) fn of(source: &definition::Source, templates: &Templates) -> Result<Self, PlanError> {
        if !source.keyserver.is_empty() {
            return Err(PlanError::unsupported("source.keyserver", "keys from a key server"));
        }
        let mut certificates = Vec::new();
        for (index, key) in source.keys.iter().enumerate() {
            let place = format!("`source.keys.{index}`");
            let key = templates.render(&place, key)?;
            if !key.contains("BEGIN PGP PUBLIC KEY BLOCK") {
                return Err(PlanError::unsupported(
                    place.trim_matches('`'),
                    "a key by its fingerprint; give the armored certificate",
                ));
            }
            let read = Certificate::all_from_bytes(key.trim().as_bytes());
            certificates.extend(read.map_err(|error| PlanError::Entry { place, problem: error.to_string() })?);
        }
        let checksum = if source.checksum.is_empty() {
            None
        } else {
            let text = templates.render("source.checksum", &source.checksum)?;
            let wrong = |problem: String| PlanError::Entry { place: "`source.checksum`".to_owned(), problem };
            Some(text.parse().map_err(|error: formats::checksum::ParseChecksumError| wrong(error.to_string()))?)
        };
        Ok(Self { publisher: Publisher::new(certificates), checksum, unverified: source.skip_verification })
    }
}

impl Trust {
    /// Whether nothing is demanded, which is not the same as accepting anything.
    pub(crate) fn is_absent(&self) -> bool {
        self.publisher.is_empty() && self.checksum.is_none() && !self.unverified
    }
}

/// What vouches for one archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Evidence {
    /// What it must be.
    pub(super) checksum: Option<Checksum>,
    /// A signature over it, which the publisher must have made.
    pub(super) signature: Option<Vec<u8>>,
    basis: Basis,
}

/// How much that is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Basis {
    /// A signature of the publisher, or the spec's own checksum.
    Spec,
    /// The connection to the server that lists its checksum.
    Tls,
    /// It is a file of this machine.
    Local,
    /// Nothing.
    Nothing,
}

impl Evidence {
    /// Asks the publisher for what the spec demands.
    pub(super) fn gather(artifact: &Artifact, trust: &Trust, web: &Web, now: Timestamp) -> Result<Self, SourceError> {
        if trust.unverified {
            return Ok(Self { checksum: None, signature: None, basis: Basis::Nothing });
        }
        let given = trust.checksum.clone().filter(|_| !artifact.is_second);
        let wants_signature = !(trust.publisher.is_empty() || artifact.tls_suffices && is_encrypted(&artifact.url));
        let mut evidence = Self { checksum: given, signature: None, basis: Basis::Nothing };
        if evidence.checksum.is_some() {
            evidence.basis = Basis::Spec;
        }
        let mut signed = false;
        if let Some(list) = &artifact.checksums
            && (wants_signature || evidence.checksum.is_none())
        {
            signed = evidence.take_listed(artifact, list, trust, wants_signature, web, now)?;
        }
        if wants_signature {
            evidence.signature = web.first_of(&artifact.signatures)?;
            if !signed && evidence.signature.is_none() {
                return Err(SourceError::NoSignature { url: artifact.url.clone() });
            }
            evidence.basis = Basis::Spec;
        }
        if evidence.basis == Basis::Nothing {
            if artifact.url.starts_with("file://") {
                evidence.basis = Basis::Local;
            } else {
                let plain = evidence.checksum.is_some();
                return Err(SourceError::NothingVouches { url: artifact.url.clone(), plain });
            }
        }
        Ok(evidence)
    }

    /// Takes the checksum from the publisher's list, and says whether the list is signed.
    fn take_listed(
        &mut self,
        artifact: &Artifact,
        list: &Checksums,
        trust: &Trust,
        wants_signature: bool,
        web: &Web,
        now: Timestamp,
    ) -> Result<bool, SourceError> {
        let distrusted = |source| SourceError::Distrusted { url: list.url.clone(), source };
        // An archive with a signature of its own needs no list.
        let text = if wants_signature && !artifact.signatures.is_empty() {
            match web.first_of(std::slice::from_ref(&list.url))? {
                Some(text) => text,
                None => return Ok(false),
            }
        } else {
            web.document(&list.url)?
        };
        let (text, signed) = if !wants_signature {
            (text, false)
        } else if is_inline(&text) {
            (trust.publisher.inline(&text, now).map_err(distrusted)?, true)
        } else {
            match web.first_of(&list.signatures)? {
                Some(signature) => {
                    trust.publisher.detached(text.as_slice(), &signature, now).map_err(distrusted)?;
                    (text, true)
                }
                None => (text, false),
            }
        };
        let name = if list.of_one { None } else { Some(artifact.name()) };
        let found = checksum_in(&String::from_utf8_lossy(&text), name, list.algorithm);
        let found = found.map_err(|source| SourceError::Listed { url: list.url.clone(), source })?;
        if let Some(given) = &self.checksum {
            if given.algorithm() == found.algorithm() && *given != found {
                return Err(SourceError::Contradiction {
                    url: artifact.url.clone(),
                    listed: found,
                    given: given.clone(),
                });
            }
            return Ok(signed);
        }
        self.checksum = Some(found);
        if is_encrypted(&list.url) {
            self.basis = Basis::Tls;
        }
        Ok(signed)
    }

    /// Says it when less vouches for an archive than a signature or the spec.
    pub(super) fn announce(&self, artifact: &Artifact, printer: &Printer) {
        let name = artifact.name();
        match self.basis {
            Basis::Spec | Basis::Local => {}
            Basis::Tls => {
                printer.say(format_args!("`{name}`: only the connection to its server vouches for its checksum"));
            }
            Basis::Nothing => printer.warn(format_args!(
                "`{name}` is taken as it comes, because of `source.skip_verification`: nothing vouches for it"
            )),
        }
    }

    /// The name under which the archive is kept: that of what vouches for it. Without that it is not kept.
    pub(super) fn key(&self) -> Option<String> {
        if self.basis == Basis::Nothing {
            return None;
        }
        let checksum = self.checksum.as_ref().map(ToString::to_string).unwrap_or_default();
        let signature = self.signature.as_deref().unwrap_or_default();
        Some(Sha256::of_all([checksum.as_bytes(), b"\n", signature]).to_string())
    }

    /// Whether `file`, which came from `url`, is what was vouched for; its sha256.
    pub(super) fn check(
        &self,
        url: &str,
        mut file: &std::fs::File,
        trust: &Trust,
        now: Timestamp,
    ) -> Result<Checksum, SourceError> {
        let sha256 = checksum_of(file, Algorithm::Sha256)?;
        if let Some(expected) = &self.checksum {
            let found = match expected.algorithm() {
                Algorithm::Sha256 => sha256.clone(),
                other @ Algorithm::Sha512 => checksum_of(file, other)?,
            };
            if found != *expected {
                return Err(SourceError::Altered { url: url.to_owned(), expected: expected.clone(), found });
            }
        }
        if let Some(signature) = &self.signature {
            file.rewind()?;
            let judged = trust.publisher.detached(file, signature, now);
            judged.map_err(|source| SourceError::Distrusted { url: url.to_owned(), source })?;
        }
        file.rewind()?;
        Ok(sha256)
    }
}

fn checksum_of(mut file: &std::fs::File, algorithm: Algorithm) -> std::io::Result<Checksum> {
    file.rewind()?;
    let mut hasher = ChecksumHasher::new(algorithm);
    std::io::copy(&mut file.by_ref(), &mut hasher)?;
    Ok(hasher.finish())
}

/// The checksum of `name`, or the only one of a list that is about one file.
fn checksum_in(
    list: &str,
    name: Option<&str>,
    algorithm: Algorithm,
) -> Result<Checksum, formats::checksum::ListedError> {
    if let Some(name) = name {
        return listed(list, name, algorithm);
    }
    let lines = list.lines().map(str::trim).filter(|line| !line.is_empty());
    let digits: Vec<&str> = lines.filter_map(|line| line.split_whitespace().next()).collect();
    listed(&digits.join("\n"), "the file", algorithm)
}

fn is_encrypted(url: &str) -> bool {
    url.starts_with("https://")
}
