//! How the metadata and the resolved specs of two builds differ, line by line.

use std::collections::{BTreeMap, BTreeSet};

use archive::members::{MemberLimits, read_members};
use archive::xz::{DecodeLimits, Decoder};
use formats::record::BuildFile;
use serde::Serialize;
use similar::{ChangeTag, TextDiff};

use super::{Build, ComparisonError};

/// A text that is not the same in both builds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct MemberChange {
    /// The file of the build directory.
    pub(crate) file: String,
    /// The member of that archive, where it is one.
    pub(crate) member: Option<String>,
    /// Its lines that are only in the first build, with `-` in front, and only in the second, with `+`.
    pub(crate) lines: Vec<String>,
}

/// All texts that differ in more than what every build has for itself: its serial, when it was made, and how long a
/// copy of it is fresh. LXD's metadata are Incus's but for one line, and are left out.
pub(super) fn of(from: &Build, to: &Build) -> Result<Vec<MemberChange>, ComparisonError> {
    let mut changes = Vec::new();
    for file in [BuildFile::MetaTarXz, BuildFile::IncusTarXz, BuildFile::ImageYaml] {
        let (before, after) = (texts(from, file)?, texts(to, file)?);
        for member in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
            let [before, after] = [&before, &after].map(|texts| texts.get(member).map_or("", String::as_str));
            let lines = lines(before, after);
            if !lines.is_empty() {
                let member = (!member.is_empty()).then(|| member.clone());
                changes.push(MemberChange { file: file.to_string(), member, lines });
            }
        }
    }
    Ok(changes)
}

/// The texts of a file by their names; the whole file has none.
fn texts(build: &Build, file: BuildFile) -> Result<BTreeMap<String, String>, ComparisonError> {
    let Some(content) = build.content(file)? else { return Ok(BTreeMap::new()) };
    let members = if file == BuildFile::ImageYaml {
        vec![(String::new(), content)]
    } else {
        let limits = MemberLimits { templates: true, ..MemberLimits::default() };
        let decoder = Decoder::new(content.as_slice(), &DecodeLimits::one_thread())?;
        let members = read_members(decoder, &limits);
        members.map_err(|source| ComparisonError::Members { path: build.path(file), source })?
    };
    let serial = build.record.serial.as_str();
    let is_own = |name: &str| name == "expiry";
    let texts = members.into_iter().filter(|(name, _)| !is_own(name));
    Ok(texts.map(|(name, content)| (name, without_own(&String::from_utf8_lossy(&content), serial))).collect())
}

/// A text without what only this build can have in it.
fn without_own(text: &str, serial: &str) -> String {
    let is_time = |line: &&str| line.starts_with("creation_date:") || line.starts_with("expiry_date:");
    let lines = text.lines().filter(|line| !is_time(line)).map(|line| line.replace(serial, "SERIAL") + "\n");
    lines.collect()
}

fn lines(before: &str, after: &str) -> Vec<String> {
    let diff = TextDiff::from_lines(before, after);
    let changed = diff.iter_all_changes().filter_map(|change| {
        let sign = match change.tag() {
            ChangeTag::Delete => '-',
            ChangeTag::Insert => '+',
            ChangeTag::Equal => return None,
        };
        Some(format!("{sign}{}", change.value().trim_end_matches('\n')))
    });
    changed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_moved_changed_or_went_are_shown_with_their_signs() {
        assert_eq!(lines("a\nb\nc\n", "a\nx\nc\nd\n"), ["-b", "+x", "+d"]);
        assert_eq!(lines("", "a\n"), ["+a"]);
        assert!(lines("a\n", "a\n").is_empty());
    }

    #[test]
    fn what_every_build_has_for_itself_is_no_difference() {
        let text = |serial: &str, time: &str| {
            let yaml = format!("architecture: amd64\ncreation_date: {time}\nproperties:\n  serial: {serial}\n");
            without_own(&yaml, serial)
        };
        assert_eq!(text("20261123_0522", "1"), text("20261124_0522", "2"));
        assert!(text("20261123_0522", "1").contains("  serial: SERIAL\n"));
    }
}
