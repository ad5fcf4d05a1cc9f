//! What an image says about itself: LXC metadata (`meta.tar.xz`) and Incus metadata (`incus.tar.xz`) as values.

pub mod incus;

mod yaml;

use std::collections::BTreeMap;
use std::fmt;

use crate::compat::{CompatLevel, Mode};
use crate::time::Timestamp;

/// LXC metadata: the members of `meta.tar.xz` that a template reads.
///
/// Each kind of member can exist in several editions, for a mode (`config-user`) and for exactly one compat level
/// (`config-user.3`). [`LxcMetadata::relevant`] chooses among them as stock templates do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LxcMetadata {
    members: BTreeMap<Member, String>,
}

impl LxcMetadata {
    /// Reads the members of an unpacked `meta.tar.xz`. Members nobody reads are left out; ones that would stand in
    /// for files the client makes itself are refused.
    pub fn from_members(members: Vec<(String, Vec<u8>)>) -> Result<Self, LxcMetadataError> {
        let mut metadata = Self::default();
        for (name, content) in members {
            if ["build_id", "rootfs.tar.xz"].contains(&name.as_str()) {
                return Err(LxcMetadataError::Forbidden { name });
            }
            let Some(member) = Member::parse(&name) else { continue };
            let content = String::from_utf8(content).map_err(|_| LxcMetadataError::NotText { name })?;
            metadata.members.insert(member, content);
        }
        if !metadata.members.keys().any(|member| member.kind == MemberKind::Config) {
            return Err(LxcMetadataError::NoConfig);
        }
        Ok(metadata)
    }

    /// The members in the order in which distrobuilder packs them.
    pub fn to_members(&self) -> Vec<(String, Vec<u8>)> {
        let order = |member: &Member| {
            use MemberKind::{Config, CreateMessage, Excludes, Expiry, Fstab, Templates};
            [CreateMessage, Expiry, Excludes, Config, Fstab, Templates].iter().position(|kind| *kind == member.kind)
        };
        let mut members: Vec<_> = self.members.iter().collect();
        members.sort_by_key(|(member, _)| (order(member), member.to_string()));
        members.into_iter().map(|(member, content)| (member.to_string(), content.clone().into_bytes())).collect()
    }

    /// Sets one edition of a member.
    pub fn set(&mut self, kind: MemberKind, mode: Option<Mode>, level: Option<CompatLevel>, content: String) {
        self.members.insert(Member { kind, mode, level }, content);
    }

    /// The edition of a member that a template of `level` uses in `mode`: the mode's own if there is one, else the
    /// plain one; of that, the one for exactly this level if there is one (`relevant_file` of the stock template:
    /// once `config-user` exists, `config.7` is never looked at, and `config-user.7` alone is not found).
    pub fn relevant(&self, kind: MemberKind, mode: Mode, level: CompatLevel) -> Option<&str> {
        let plain = |mode| Member { kind, mode, level: None };
        let mode = self.members.contains_key(&plain(Some(mode))).then_some(mode);
        let exact = Member { level: Some(level), ..plain(mode) };
        self.members.get(&exact).or_else(|| self.members.get(&plain(mode))).map(String::as_str)
    }

    /// When a cached copy should be refreshed: never if the metadata does not say.
    pub fn cache_expiry(&self, mode: Mode, level: CompatLevel) -> Option<Timestamp> {
        let text = self.relevant(MemberKind::Expiry, mode, level)?;
        text.trim().parse().ok().map(Timestamp::from_unix)
    }

    /// The lines of a member, without blank ones: the paths of `templates`, the patterns of `excludes`.
    pub fn lines(&self, kind: MemberKind, mode: Mode, level: CompatLevel) -> Vec<&str> {
        let text = self.relevant(kind, mode, level).unwrap_or_default();
        text.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
    }
}

/// What a member of the LXC metadata is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemberKind {
    /// The container's configuration.
    Config,
    /// Printed after a container was created.
    CreateMessage,
    /// Members of the rootfs that are not unpacked, as patterns.
    Excludes,
    /// Unix seconds after which a cached copy should be refreshed.
    Expiry,
    /// Mounts of the container.
    Fstab,
    /// Files of the rootfs in which names such as `LXC_NAME` are replaced.
    Templates,
}

impl MemberKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Config, Self::CreateMessage, Self::Excludes, Self::Expiry, Self::Fstab, Self::Templates];

    /// The member's name without mode and level.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::CreateMessage => "create-message",
            Self::Excludes => "excludes",
            Self::Expiry => "expiry",
            Self::Fstab => "fstab",
            Self::Templates => "templates",
        }
    }
}

/// Why a `meta.tar.xz` is not usable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LxcMetadataError {
    /// No edition of `config`.
    #[error("the LXC metadata has no member `config`")]
    NoConfig,
    /// A member that would replace a file which only the client writes.
    #[error("the LXC metadata has a member `{name}`, which only the client may write")]
    Forbidden {
        /// Its name.
        name: String,
    },
    /// A member that is not text.
    #[error("member `{name}` of the LXC metadata is not UTF-8 text")]
    NotText {
        /// Its name.
        name: String,
    },
}

/// One edition of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Member {
    kind: MemberKind,
    mode: Option<Mode>,
    level: Option<CompatLevel>,
}

impl Member {
    fn parse(name: &str) -> Option<Self> {
        let kind = MemberKind::ALL.into_iter().find(|kind| {
            name.strip_prefix(kind.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.']))
        })?;
        let rest = &name[kind.as_str().len()..];
        let mode = Mode::ALL.into_iter().find(|mode| {
            rest.strip_prefix('-')
                .and_then(|rest| rest.strip_prefix(mode.as_str()))
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        });
        let rest = mode.map_or(rest, |mode| &rest[1 + mode.as_str().len()..]);
        let level = match rest.strip_prefix('.') {
            Some(level) => Some(level.parse().ok()?),
            None if rest.is_empty() => None,
            None => return None,
        };
        Some(Self { kind, mode, level })
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.as_str())?;
        self.mode.iter().try_for_each(|mode| write!(f, "-{mode}"))?;
        self.level.iter().try_for_each(|level| write!(f, ".{level}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(names: &[&str]) -> LxcMetadata {
        let members = names.iter().map(|name| ((*name).to_owned(), format!("{name}\n").into_bytes())).collect();
        LxcMetadata::from_members(members).unwrap()
    }

    fn config(names: &[&str], mode: Mode, level: CompatLevel) -> Option<String> {
        metadata(names).relevant(MemberKind::Config, mode, level).map(|text| text.trim().to_owned())
    }

    #[test]
    fn the_relevant_edition_is_the_one_stock_templates_choose() {
        let (newest, three) = (CompatLevel::NEWEST, "3".parse().unwrap());
        let all = ["config", "config.3", "config-user", "config-user.3"];
        assert_eq!(config(&all, Mode::System, newest).as_deref(), Some("config"));
        assert_eq!(config(&all, Mode::System, three).as_deref(), Some("config.3"));
        assert_eq!(config(&all, Mode::User, newest).as_deref(), Some("config-user"));
        assert_eq!(config(&all, Mode::User, three).as_deref(), Some("config-user.3"));
        assert_eq!(config(&["config", "config.3", "config-user"], Mode::User, three).as_deref(), Some("config-user"));
        assert_eq!(config(&["config", "config-user.3"], Mode::User, three).as_deref(), Some("config"));
    }

    #[test]
    fn members_are_packed_in_distrobuilders_order() {
        let names = ["create-message", "expiry", "excludes-user", "config", "config-user", "config.1", "templates"];
        let packed: Vec<_> = metadata(&names).to_members().into_iter().map(|(name, _)| name).collect();
        assert_eq!(packed, names);
    }

    #[test]
    fn members_nobody_reads_are_left_out() {
        let names = metadata(&["config", "config.8", "config-root", "configuration", "README"]).to_members();
        assert_eq!(names.len(), 1);
    }

    #[test]
    fn members_that_only_the_client_may_write_are_refused() {
        for name in ["build_id", "rootfs.tar.xz"] {
            let members = vec![("config".into(), vec![]), (name.to_owned(), vec![])];
            assert!(matches!(LxcMetadata::from_members(members), Err(LxcMetadataError::Forbidden { .. })));
        }
    }

    #[test]
    fn metadata_without_a_config_or_with_bytes_that_are_no_text_is_refused() {
        assert_eq!(LxcMetadata::from_members(vec![("expiry".into(), vec![])]), Err(LxcMetadataError::NoConfig));
        let members = vec![("config".into(), vec![0xff])];
        assert!(matches!(LxcMetadata::from_members(members), Err(LxcMetadataError::NotText { .. })));
    }

    #[test]
    fn an_expiry_that_is_no_number_never_expires() {
        let level = CompatLevel::NEWEST;
        let mut metadata = metadata(&["config", "expiry"]);
        assert_eq!(metadata.cache_expiry(Mode::System, level), None);
        metadata.set(MemberKind::Expiry, None, None, "1795411320\n".into());
        assert_eq!(metadata.cache_expiry(Mode::System, level), Some(Timestamp::from_unix(1_795_411_320)));
    }
}
