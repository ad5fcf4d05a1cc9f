//! User and group ids as a user namespace maps them (`user_namespaces(7)`).

use std::fmt;
use std::io;
use std::str::FromStr;

/// The maps of user and of group ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdMaps {
    /// User ids.
    pub users: IdMap,
    /// Group ids.
    pub groups: IdMap,
}

impl IdMaps {
    /// Every id stands for itself, as outside of any user namespace.
    pub fn identity() -> Self {
        Self { users: IdMap::identity(), groups: IdMap::identity() }
    }

    /// The maps of the user namespace this process runs in, from `/proc/self/{uid,gid}_map`.
    pub fn of_this_process() -> io::Result<Self> {
        let read = |path| {
            let text = std::fs::read_to_string(path)?;
            text.parse().map_err(|error: ParseIdMapError| io::Error::new(io::ErrorKind::InvalidData, error))
        };
        Ok(Self { users: read("/proc/self/uid_map")?, groups: read("/proc/self/gid_map")? })
    }

    /// Whether every id stands for itself.
    pub fn is_identity(&self) -> bool {
        *self == Self::identity()
    }
}

/// A map between the ids inside of a user namespace and those outside of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdMap {
    ranges: Vec<IdRange>,
}

/// So many ids, from `inside` and from `outside` upwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange {
    /// The first id inside.
    pub inside: u32,
    /// The first id outside.
    pub outside: u32,
    /// How many ids.
    pub count: u32,
}

impl IdMap {
    /// Every id stands for itself.
    pub fn identity() -> Self {
        Self { ranges: vec![IdRange { inside: 0, outside: 0, count: u32::MAX }] }
    }

    /// The map of these ranges.
    pub fn new(ranges: Vec<IdRange>) -> Self {
        Self { ranges }
    }

    /// Whether an id exists inside.
    pub fn holds(&self, inside: u64) -> bool {
        self.ranges.iter().any(|range| within(range.inside, range.count, inside).is_some())
    }

    /// The id that stands inside for the id `outside`.
    pub fn to_inside(&self, outside: u32) -> Option<u32> {
        self.ranges.iter().find_map(|range| {
            within(range.outside, range.count, u64::from(outside)).and_then(|offset| range.inside.checked_add(offset))
        })
    }
}

impl FromStr for IdMap {
    type Err = ParseIdMapError;

    /// Reads the lines `INSIDE OUTSIDE COUNT` of `/proc/PID/uid_map`.
    fn from_str(text: &str) -> Result<Self, ParseIdMapError> {
        let range = |line: &str| {
            let mut numbers = line.split_ascii_whitespace().map(str::parse);
            match (numbers.next(), numbers.next(), numbers.next(), numbers.next()) {
                (Some(Ok(inside)), Some(Ok(outside)), Some(Ok(count)), None) => Ok(IdRange { inside, outside, count }),
                _ => Err(ParseIdMapError { found: line.chars().take(60).flat_map(char::escape_debug).collect() }),
            }
        };
        Ok(Self { ranges: text.lines().map(range).collect::<Result<_, _>>()? })
    }
}

/// The ids inside, as in `0-65535, 100000`.
impl fmt::Display for IdMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ranges.is_empty() {
            return f.write_str("no ids at all");
        }
        for (index, range) in self.ranges.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            match range.count {
                1 => write!(f, "{separator}{}", range.inside)?,
                count => {
                    let last = u64::from(range.inside) + u64::from(count).saturating_sub(1);
                    write!(f, "{separator}{}-{last}", range.inside)?;
                }
            }
        }
        Ok(())
    }
}

/// Text that is not an id map.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a line of three numbers in an id map, found `{found}`")]
pub struct ParseIdMapError {
    found: String,
}

/// How far `id` is into `count` ids from `first`.
fn within(first: u32, count: u32, id: u64) -> Option<u32> {
    let offset = id.checked_sub(u64::from(first))?;
    u32::try_from(offset).ok().filter(|offset| *offset < count)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBORDINATE: &str = "         0     100000      9999\n     20000       1000          1\n";

    #[test]
    fn a_map_of_proc_tells_which_ids_exist_inside() {
        let map: IdMap = SUBORDINATE.parse().unwrap();
        for (id, held) in [(0, true), (9998, true), (9999, false), (20000, true), (20001, false), (u64::MAX, false)] {
            assert_eq!(map.holds(id), held, "{id}");
        }
        assert_eq!(map.to_string(), "0-9998, 20000");
    }

    #[test]
    fn ids_outside_are_translated_to_ids_inside() {
        let map: IdMap = SUBORDINATE.parse().unwrap();
        assert_eq!(map.to_inside(100_042), Some(42));
        assert_eq!(map.to_inside(1000), Some(20000));
        assert_eq!(map.to_inside(0), None);
    }

    #[test]
    fn the_id_that_means_no_id_is_in_no_map() {
        assert!(!IdMap::identity().holds(u64::from(u32::MAX)));
        assert!(IdMap::identity().holds(u64::from(u32::MAX - 1)));
    }

    #[test]
    fn text_that_is_no_map_is_refused() {
        assert!("0 0".parse::<IdMap>().is_err());
        assert!("0 0 x".parse::<IdMap>().is_err());
        assert!("0 0 1 1".parse::<IdMap>().is_err());
    }
}
