//! The LXC metadata that a spec determines: configuration by mode and compat level, and the create message.

use formats::compat::{CompatLevel, Mode};
use formats::metadata::{LxcMetadata, MemberKind};

use crate::format::Formats;
use crate::plan::PlanError;
use crate::spec::Spec;
use crate::spec::definition::{ConfigType, LxcConfig};
use crate::spec::filter::Phase;
use crate::spec::template::Templates;

/// What goes into the metadata before the tree is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LxcPlan {
    /// `config`, `config-user`, `config.1` … and `create-message`.
    pub(crate) metadata: LxcMetadata,
}

impl LxcPlan {
    /// The configuration of `targets.lxc`.
    pub(crate) fn of(spec: &Spec, templates: &Templates, formats: Formats) -> Result<Self, PlanError> {
        let mut metadata = LxcMetadata::default();
        if !formats.lxc {
            return Ok(Self { metadata });
        }
        let target = &spec.definition.targets.lxc;
        let applying: Vec<&LxcConfig> =
            target.config.iter().filter(|entry| entry.filter().matches(&spec.definition.image, Phase::Both)).collect();
        for mode in Mode::ALL {
            for level in CompatLevel::all().filter(|level| *level <= CompatLevel::PLAIN) {
                let mut content = String::new();
                for entry in applying.iter().filter(|entry| is_for(entry, mode, level)) {
                    content.push_str(&templates.render("targets.lxc.config", &entry.content)?);
                    if !content.ends_with('\n') {
                        content.push('\n');
                    }
                }
                let plain = level == CompatLevel::PLAIN;
                if !content.is_empty() {
                    let edition = (mode == Mode::User).then_some(mode);
                    metadata.set(MemberKind::Config, edition, (!plain).then_some(level), content);
                } else if plain {
                    return Err(PlanError::NoConfig { mode });
                }
            }
        }
        let message = templates.render("targets.lxc.create_message", &target.create_message)?;
        let message = if message.ends_with('\n') { message } else { message + "\n" };
        metadata.set(MemberKind::CreateMessage, None, None, message);
        Ok(Self { metadata })
    }
}

/// Whether an entry is part of the configuration for `mode` at `level` (distrobuilder `image/lxc.go`): the levels
/// between `after` and `before`, or, when these are the other way round, the ones outside.
fn is_for(entry: &LxcConfig, mode: Mode, level: CompatLevel) -> bool {
    let in_mode = match entry.r#type {
        ConfigType::All => true,
        ConfigType::System => mode == Mode::System,
        ConfigType::User => mode == Mode::User,
    };
    let before = if entry.before == 0 { CompatLevel::PLAIN.number() + 1 } else { entry.before };
    let (after, level) = (entry.after, level.number());
    let in_band = if after < before { after < level && level < before } else { level > after || level < before };
    in_mode && in_band
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(after: u8, before: u8) -> Vec<u8> {
        let entry = LxcConfig {
            r#type: ConfigType::User,
            before,
            after,
            content: "x".into(),
            releases: vec![],
            architectures: vec![],
            variants: vec![],
            types: vec![],
        };
        assert!(CompatLevel::all().all(|level| !is_for(&entry, Mode::System, level)));
        let all = CompatLevel::all().filter(|level| *level <= CompatLevel::PLAIN);
        all.filter(|level| is_for(&entry, Mode::User, *level)).map(CompatLevel::number).collect()
    }

    #[test]
    fn an_entry_is_for_the_levels_that_distrobuilder_writes_it_to() {
        for (after, before, expected) in [
            (0, 0, vec![1, 2, 3, 4, 5]),
            (1, 4, vec![2, 3]),
            (4, 2, vec![1, 5]),
            (0, 3, vec![1, 2]),
            (2, 0, vec![3, 4, 5]),
            (4, 0, vec![5]),
            (0, 5, vec![1, 2, 3, 4]),
            (3, 3, vec![1, 2, 4, 5]),
        ] {
            assert_eq!(levels(after, before), expected, "after {after}, before {before}");
        }
    }
}
