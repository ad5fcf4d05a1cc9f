//! The configuration language of LXC: `key = value` lines.

use std::fmt;

/// A container's configuration, line by line: comments and blank lines are kept where they are.
///
/// liblxc reads a line as a key, `=`, and a value with blanks removed at both ends and one pair of quotes around the
/// value removed; `#` starts a comment only at the start of a line (lxc `src/lxc/confile.c`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LxcConfig {
    /// The lines, in order.
    pub lines: Vec<ConfigLine>,
}

impl LxcConfig {
    /// Reads a configuration. Nothing is refused: a line that is no item is kept as it is.
    pub fn parse(text: &str) -> Self {
        Self { lines: text.lines().map(ConfigLine::parse).collect() }
    }

    /// Every key and value, in order.
    pub fn items(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines.iter().filter_map(ConfigLine::item)
    }

    /// Every value of `key`, in order. An empty value clears what was set before it, as in liblxc.
    pub fn all<'a>(&'a self, key: &str) -> Vec<&'a str> {
        let mut values = Vec::new();
        for (_, value) in self.items().filter(|(found, _)| *found == key) {
            if value.is_empty() {
                values.clear();
            } else {
                values.push(value);
            }
        }
        values
    }

    /// The value of `key` that counts: the last one.
    pub fn get<'a>(&'a self, key: &str) -> Option<&'a str> {
        self.all(key).pop()
    }

    /// Adds an item at the end.
    pub fn push(&mut self, key: &str, value: &str) {
        self.lines.push(ConfigLine::Item { key: key.to_owned(), value: value.to_owned() });
    }

    /// Which names the keys have. `None` when the configuration names no root file system.
    pub fn dialect(&self) -> Option<Dialect> {
        self.items().find_map(|(key, _)| match key {
            "lxc.rootfs.path" => Some(Dialect::Current),
            "lxc.rootfs" => Some(Dialect::Legacy),
            _ => None,
        })
    }
}

impl fmt::Display for LxcConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// One line of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigLine {
    /// `key = value`.
    Item {
        /// The key, `lxc.uts.name`.
        key: String,
        /// The value, without blanks at its ends.
        value: String,
    },
    /// A comment, a blank line, or anything else.
    Other(String),
}

impl ConfigLine {
    fn parse(line: &str) -> Self {
        let other = || Self::Other(line.to_owned());
        if line.trim_start().starts_with('#') {
            return other();
        }
        let Some((key, value)) = line.split_once('=') else { return other() };
        if key.trim().is_empty() || key.trim().contains(char::is_whitespace) {
            return other();
        }
        Self::Item { key: key.trim().to_owned(), value: unquoted(value.trim()).to_owned() }
    }

    /// The key and the value, unless this line is none.
    pub fn item(&self) -> Option<(&str, &str)> {
        match self {
            Self::Item { key, value } => Some((key, value)),
            Self::Other(_) => None,
        }
    }
}

impl fmt::Display for ConfigLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Item { key, value } => write!(f, "{key} = {value}"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

/// The names of the keys changed with LXC 2.1, compat level 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `lxc.rootfs`, `lxc.utsname`, `lxc.network.type`.
    Legacy,
    /// `lxc.rootfs.path`, `lxc.uts.name`, `lxc.net.0.type`.
    Current,
}

fn unquoted(value: &str) -> &str {
    ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote)).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn items_comments_and_blank_lines_keep_their_places() {
        let text =
            "# Distribution configuration\nlxc.include = /usr/share/lxc/config/common.conf\n\nlxc.arch=linux64\n";
        let config = LxcConfig::parse(text);
        assert_eq!(config.items().collect::<Vec<_>>().len(), 2);
        assert_eq!(config.get("lxc.arch"), Some("linux64"));
        assert!(config.to_string().starts_with("# Distribution configuration\nlxc.include"));
    }

    #[test]
    fn an_empty_value_clears_what_was_set_before() {
        let config = LxcConfig::parse("lxc.cap.drop = sys_module\nlxc.cap.drop =\nlxc.cap.drop = mknod\n");
        assert_eq!(config.all("lxc.cap.drop"), ["mknod"]);
    }

    #[test]
    fn quotes_around_a_value_are_not_part_of_it() {
        assert_eq!(LxcConfig::parse("lxc.environment = \"A=b c\"").get("lxc.environment"), Some("A=b c"));
        assert_eq!(LxcConfig::parse("lxc.uts.name = 'a").get("lxc.uts.name"), Some("'a"));
    }

    #[test]
    fn the_dialect_shows_in_the_name_of_the_rootfs_key() {
        assert_eq!(LxcConfig::parse("lxc.rootfs = /x").dialect(), Some(Dialect::Legacy));
        assert_eq!(LxcConfig::parse("lxc.rootfs.path = dir:/x").dialect(), Some(Dialect::Current));
        assert_eq!(LxcConfig::parse("lxc.uts.name = x").dialect(), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_and_reads_the_same_after_writing(text in "(?s).{0,300}") {
            let once = LxcConfig::parse(&text);
            let twice = LxcConfig::parse(&once.to_string());
            prop_assert_eq!(once.items().count(), twice.items().count());
        }
    }
}
