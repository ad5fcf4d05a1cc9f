//! Patterns of members to leave out.

/// Patterns as `tar --anchored --exclude=PATTERN` takes them: shell wildcards that match slashes too, from the start of
/// the name; what matches a directory leaves out everything beneath.
///
/// GNU tar compares spellings, so that `./dev/null` does not match a member called `dev/null`. Here a leading `./` of
/// the pattern does not count. Empty patterns match nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excludes {
    patterns: Vec<Vec<u8>>,
}

impl Excludes {
    /// One pattern a line, as in the `excludes-user` file of LXC metadata.
    pub fn from_lines(text: &[u8]) -> Self {
        let lines = text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let patterns = lines.map(|line| {
            let mut pattern = line;
            while let Some(rest) = pattern.strip_prefix(b"./") {
                pattern = rest;
            }
            pattern.to_vec()
        });
        Self { patterns: patterns.filter(|pattern| !pattern.is_empty()).collect() }
    }

    /// Whether a member is left out. `path` is without a leading `./` or trailing slash.
    pub(super) fn cover(&self, path: &[u8]) -> bool {
        self.patterns.iter().any(|pattern| {
            let directories = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
            let mut prefixes = directories.chain([path.len()]).filter_map(|end| path.get(..end));
            prefixes.any(|prefix| matches(pattern, prefix))
        })
    }
}

/// fnmatch(3) without flags. Only the last `*` is ever retried, so the time is at most the product of both lengths.
fn matches(mut pattern: &[u8], mut name: &[u8]) -> bool {
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        match (pattern, name) {
            ([], []) => return true,
            ([b'*', rest @ ..], _) => {
                retry = name.split_first().map(|(_, later)| (rest, later));
                pattern = rest;
                continue;
            }
            ([_, ..], [byte, later @ ..]) => {
                if let Some(rest) = matches_one(pattern, *byte) {
                    (pattern, name) = (rest, later);
                    continue;
                }
            }
            _ => {}
        }
        let Some((after_star, later)) = retry else { return false };
        (pattern, name) = (after_star, later);
        retry = later.split_first().map(|(_, later)| (after_star, later));
    }
}

/// What is left of the pattern when its first element matches `byte`.
fn matches_one(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    match pattern {
        [b'?', rest @ ..] => Some(rest),
        [b'[', class @ ..] => match matches_class(class, byte) {
            Some((found, rest)) => found.then_some(rest),
            None => (byte == b'[').then_some(class),
        },
        [b'\\', literal, rest @ ..] | [literal, rest @ ..] => (*literal == byte).then_some(rest),
        [] => None,
    }
}

/// Whether a class such as `a-z]` or `!x]` has `byte`, and what follows it; nothing when it has no end.
fn matches_class(class: &[u8], byte: u8) -> Option<(bool, &[u8])> {
    let (negated, mut rest) = match class {
        [b'!' | b'^', rest @ ..] => (true, rest),
        _ => (false, class),
    };
    let mut found = false;
    let mut first = true;
    loop {
        let (low, high);
        (low, high, rest) = match rest {
            [b']', after @ ..] if !first => return Some((found != negated, after)),
            [low, b'-', high, after @ ..] if *high != b']' => (*low, *high, after),
            [b'\\', literal, after @ ..] | [literal, after @ ..] => (*literal, *literal, after),
            [] => return None,
        };
        found |= (low..=high).contains(&byte);
        first = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered(pattern: &str, path: &str) -> bool {
        Excludes::from_lines(pattern.as_bytes()).cover(path.as_bytes())
    }

    #[test]
    fn patterns_match_from_the_start_and_everything_beneath() {
        assert!(covered("./dev/null", "dev/null"));
        assert!(covered("./dev", "dev/null"));
        assert!(!covered("./dev", "device"));
        assert!(!covered("null", "dev/null"));
        assert!(!covered("./dev/null", "dev"));
    }

    #[test]
    fn wildcards_match_as_fnmatch_does() {
        for (pattern, path, expected) in [
            ("dev/tty*", "dev/tty0", true),
            ("*null", "dev/null", true),
            ("dev/?", "dev/a", true),
            ("dev/?", "dev/", false),
            ("dev/[a-c]", "dev/b", true),
            ("dev/[!a-c]", "dev/b", false),
            ("dev/[]x]", "dev/]", true),
            ("dev/[x", "dev/[x", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-d", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), path.as_bytes()), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn an_empty_list_leaves_nothing_out() {
        assert!(!covered("\n", "dev/null"));
        assert!(!covered("", "dev"));
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        assert!(!matches("*a".repeat(50).as_bytes(), &[b'b'; 10_000]));
    }
}
