//! `lxc.idmap`: which ids of the host stand behind the ids of a container.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// The maps of a user namespace. Without any range there is no user namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap {
    users: Vec<Range>,
    groups: Vec<Range>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Range {
    inside: u32,
    outside: u32,
    count: u32,
}

/// Why there is no map.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdMapError {
    /// A value has the wrong form.
    #[error("`lxc.idmap` must be `u|g|b INSIDE OUTSIDE COUNT`, found `{0}`")]
    Form(String),
    /// Ranges overlap.
    #[error("`lxc.idmap` maps an id twice: {0}")]
    Overlap(String),
    /// The container would have no root.
    #[error("`lxc.idmap` maps no {0} 0, so the container would have no root")]
    NoRoot(&'static str),
    /// The user has no subordinate ids.
    #[error("`{0}` gives no ids to user `{1}`")]
    NoSubordinates(&'static str, String),
}

impl IdMap {
    /// The map that values of `lxc.idmap` describe, in order. An empty one clears what came before.
    pub fn parse<'a>(values: impl IntoIterator<Item = &'a str>) -> Result<Self, IdMapError> {
        let mut map = Self::default();
        for value in values {
            map.add(value)?;
        }
        Ok(map)
    }

    /// All subordinate ids of a user, from 0 upwards (subuid(5)).
    pub fn of_subordinates(user: &str, uid: u32) -> Result<Self, IdMapError> {
        let read = |file: &'static str| {
            let text = std::fs::read_to_string(Path::new(file)).unwrap_or_default();
            let ranges = subordinates(&text, user, uid);
            if ranges.is_empty() { Err(IdMapError::NoSubordinates(file, user.to_owned())) } else { Ok(ranges) }
        };
        Ok(Self { users: read("/etc/subuid")?, groups: read("/etc/subgid")? })
    }

    /// Adds what one value of `lxc.idmap` says.
    pub(crate) fn add(&mut self, value: &str) -> Result<(), IdMapError> {
        if value.is_empty() {
            *self = Self::default();
            return Ok(());
        }
        let bad = || IdMapError::Form(value.to_owned());
        let words: Vec<&str> = value.split_whitespace().collect();
        let [kind, inside, outside, count] = words[..] else { return Err(bad()) };
        let number = |text: &str| text.parse::<u32>().map_err(|_| bad());
        let range = Range { inside: number(inside)?, outside: number(outside)?, count: number(count)? };
        let fits = |start: u32| range.count > 0 && start.checked_add(range.count).is_some();
        if !fits(range.inside) || !fits(range.outside) {
            return Err(bad());
        }
        let lists = match kind {
            "u" => vec![&mut self.users],
            "g" => vec![&mut self.groups],
            "b" => vec![&mut self.users, &mut self.groups],
            _ => return Err(bad()),
        };
        for list in lists {
            if list.iter().any(|other| other.overlaps(range)) {
                return Err(IdMapError::Overlap(value.to_owned()));
            }
            list.push(range);
        }
        Ok(())
    }

    /// Whether there is no user namespace.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.groups.is_empty()
    }

    /// The lines of a `config` that say the same.
    pub fn to_config(&self) -> String {
        let lists = [("u", &self.users), ("g", &self.groups)].into_iter();
        let lines = lists.flat_map(|(kind, ranges)| ranges.iter().map(move |range| (kind, range.line())));
        lines.fold(String::new(), |text, (kind, line)| text + "lxc.idmap = " + kind + " " + &line + "\n")
    }

    /// The user and the group of the host that root of the container is.
    pub(crate) fn root(&self) -> Result<(u32, u32), IdMapError> {
        let root = |ranges: &[Range], kind| {
            let range = ranges.iter().find(|range| range.inside == 0);
            range.map(|range| range.outside).ok_or(IdMapError::NoRoot(kind))
        };
        Ok((root(&self.users, "user")?, root(&self.groups, "group")?))
    }

    /// Whether this user of the host is one in the container.
    pub(crate) fn reaches_user(&self, uid: u32) -> bool {
        self.users.iter().any(|range| uid.checked_sub(range.outside).is_some_and(|offset| offset < range.count))
    }

    /// Whether the container has a group of this number.
    pub(crate) fn has_group(&self, gid: u32) -> bool {
        self.groups.iter().any(|range| gid.checked_sub(range.inside).is_some_and(|offset| offset < range.count))
    }

    /// The same with the caller's own ids after all others: for work on what belongs to both, never for a container.
    pub(crate) fn with_caller(&self, uid: u32, gid: u32) -> Self {
        Self { users: with(&self.users, uid), groups: with(&self.groups, gid) }
    }

    /// The content of `/proc/PID/uid_map` and `gid_map`.
    pub(crate) fn lines(&self) -> [Vec<String>; 2] {
        [&self.users, &self.groups].map(|ranges| ranges.iter().map(|range| range.line()).collect())
    }
}

impl Range {
    fn overlaps(self, other: Self) -> bool {
        let meet = |one: u32, count: u32, two: u32, other_count: u32| one < two + other_count && two < one + count;
        meet(self.inside, self.count, other.inside, other.count)
            || meet(self.outside, self.count, other.outside, other.count)
    }

    fn line(self) -> String {
        format!("{} {} {}", self.inside, self.outside, self.count)
    }
}

fn with(ranges: &[Range], id: u32) -> Vec<Range> {
    let mut ranges = ranges.to_vec();
    let own = Range { inside: 0, outside: id, count: 1 };
    if !ranges.iter().any(|range| id.checked_sub(range.outside).is_some_and(|offset| offset < range.count)) {
        let inside = ranges.iter().map(|range| range.inside + range.count).max().unwrap_or(0);
        ranges.push(Range { inside, ..own });
    }
    ranges
}

/// Lines `USER:START:COUNT`, where the user is a name or a number.
fn subordinates(text: &str, user: &str, uid: u32) -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.trim().split(':').collect();
        let [owner, start, count] = fields[..] else { continue };
        let (Ok(outside), Ok(count)) = (start.parse::<u32>(), count.parse::<u32>()) else { continue };
        if (owner == user || owner.parse() == Ok(uid)) && count > 0 {
            let inside = ranges.last().map_or(0, |last| last.inside + last.count);
            ranges.push(Range { inside, outside, count });
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPLIT: [&str; 6] = [
        "u 0 100000 1000",
        "g 0 100000 1000",
        "u 1000 1000 1",
        "g 1000 1000 1",
        "u 1001 101001 64535",
        "g 1001 101001 64535",
    ];

    #[test]
    fn a_split_map_keeps_its_ranges_and_its_root() {
        let map = IdMap::parse(SPLIT).unwrap();
        assert_eq!(map.root(), Ok((100_000, 100_000)));
        assert_eq!(map.lines()[0], ["0 100000 1000", "1000 1000 1", "1001 101001 64535"]);
        assert_eq!(IdMap::parse(["b 0 5 1", ""]).unwrap(), IdMap::default());
    }

    #[test]
    fn a_map_without_root_with_overlaps_or_of_another_form_is_refused() {
        assert_eq!(IdMap::parse(["u 1 100000 9", "g 0 1 1"]).unwrap().root(), Err(IdMapError::NoRoot("user")));
        assert!(matches!(IdMap::parse(["u 0 100000 10", "u 9 200000 1"]), Err(IdMapError::Overlap(_))));
        assert!(matches!(IdMap::parse(["u 0 100000 10", "u 10 100009 1"]), Err(IdMapError::Overlap(_))));
        for value in ["u 0 1", "x 0 1 1", "u 0 1 0", "u 0 -1 1", "u 4294967295 1 2"] {
            assert!(matches!(IdMap::parse([value]), Err(IdMapError::Form(_))), "{value}");
        }
    }

    #[test]
    fn the_caller_is_added_once_and_behind_all_others() {
        let map = IdMap::parse(["b 0 100000 65536"]).unwrap().with_caller(1000, 1001);
        assert_eq!(map.lines(), [["0 100000 65536", "65536 1000 1"], ["0 100000 65536", "65536 1001 1"]]);
        let split = IdMap::parse(SPLIT).unwrap();
        assert_eq!(split.with_caller(1000, 1000), split);
    }

    #[test]
    fn subordinate_ids_are_found_by_name_and_by_number() {
        let text = "ada:100000:65536\nbob:165536:65536\n1000:300000:10\n";
        let ranges = subordinates(text, "ada", 1000);
        assert_eq!(ranges.iter().map(|range| range.line()).collect::<Vec<_>>(), ["0 100000 65536", "65536 300000 10"]);
        assert!(subordinates(text, "eve", 1001).is_empty());
    }
}
