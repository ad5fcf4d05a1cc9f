//! Who asked for an image.

use std::path::Path;

/// Who asked for an image: what they can do about a failure depends on the words that their command line knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A command of `rootcellar`.
    Command,
    /// A command of `rootcellar` with `--offline`.
    OfflineCommand,
    /// `lxc-create`, through the template.
    Template,
}

impl Caller {
    /// How an image is had without the server.
    pub fn without_server(self) -> Option<String> {
        match self {
            Self::Command => None,
            Self::OfflineCommand => Some("`--offline` uses what is cached".to_owned()),
            Self::Template => Some("`--force-cache` uses what is cached".to_owned()),
        }
    }

    /// How a cache gets room. `file` is a file of it.
    pub fn room(self, file: &Path) -> String {
        let cache = file.ancestors().find(|path| path.ends_with(crate::cache::VERSION)).and_then(Path::parent);
        match (self, cache) {
            (Self::Template, Some(cache)) => {
                format!("`rootcellar --cache-dir {} cache prune` removes what nothing needs", cache.display())
            }
            _ => "`rootcellar cache prune` removes what nothing needs".to_owned(),
        }
    }

    /// How the cache gets another directory.
    pub fn other_cache(self) -> String {
        let ways = match self {
            Self::Command | Self::OfflineCommand => "`--cache-dir` or `ROOTCELLAR_CACHE_DIR`",
            Self::Template => "`LXC_CACHE_PATH` or `ROOTCELLAR_CACHE_DIR`",
        };
        format!("{ways} names another directory")
    }

    /// How what is remembered of servers gets another directory.
    pub fn other_state(self) -> String {
        let ways = match self {
            Self::Command | Self::OfflineCommand => "`--state-dir` or `ROOTCELLAR_STATE_DIR`",
            Self::Template => "`ROOTCELLAR_STATE_DIR`",
        };
        format!("{ways} names another directory")
    }

    /// What shows the images there are.
    pub fn list(self) -> &'static str {
        match self {
            Self::Command | Self::OfflineCommand => "`rootcellar list`",
            Self::Template => "`--list`",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_told_of_a_flag_that_is_not_there() {
        let file = Path::new("/var/cache/lxc/rootcellar/v1/partial/x");
        let advice = |caller: Caller| {
            [caller.without_server().unwrap_or_default(), caller.room(file), caller.other_cache(), caller.other_state()]
                .join("\n")
        };
        for flag in ["--offline", "--state-dir", "`rootcellar cache prune`"] {
            assert!(!advice(Caller::Template).contains(flag), "{flag}");
        }
        assert!(advice(Caller::Template).contains("`rootcellar --cache-dir /var/cache/lxc/rootcellar cache prune`"));
        assert!(!advice(Caller::Command).contains("--offline"));
        assert!(
            advice(Caller::OfflineCommand).contains("--offline") && !advice(Caller::OfflineCommand).contains("LXC_")
        );
    }
}
