//! The keys of a spec, as they are written.
//!
//! Every key of distrobuilder is here and no other: an unknown or repeated key is an error with its line. What the
//! values mean is decided elsewhere; [`super::check`] holds the rules that one key has about another.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::filter::{Filter, TargetType};
use super::matrix::Matrix;
use super::text::{Text, nullable};

/// A whole spec.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Definition {
    #[serde(deserialize_with = "nullable")]
    pub(crate) image: Image,
    #[serde(deserialize_with = "nullable")]
    pub(crate) source: Source,
    #[serde(deserialize_with = "nullable")]
    pub(crate) targets: Targets,
    #[serde(deserialize_with = "nullable")]
    pub(crate) files: Vec<File>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) packages: Packages,
    #[serde(deserialize_with = "nullable")]
    pub(crate) actions: Vec<Action>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) mappings: Mappings,
    #[serde(deserialize_with = "nullable")]
    pub(crate) environment: Environment,
    /// Ours alone: distrobuilder refuses it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) matrix: Option<Matrix>,
}

/// What the image is called.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Image {
    pub(crate) distribution: Text,
    pub(crate) release: Text,
    pub(crate) architecture: Text,
    pub(crate) variant: Text,
    pub(crate) expiry: Text,
    pub(crate) serial: Text,
    pub(crate) name: Text,
    pub(crate) description: Text,
    /// Computed; accepted for compatibility and replaced, like the next two.
    pub(crate) architecture_mapped: Text,
    pub(crate) architecture_kernel: Text,
    pub(crate) architecture_personality: Text,
}

/// Where the root file system comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Source {
    pub(crate) downloader: Text,
    pub(crate) url: Text,
    #[serde(deserialize_with = "nullable")]
    pub(crate) keys: Vec<Text>,
    pub(crate) keyserver: Text,
    pub(crate) variant: Text,
    pub(crate) suite: Text,
    pub(crate) same_as: Text,
    #[serde(deserialize_with = "nullable")]
    pub(crate) skip_verification: bool,
    /// Ours alone: what the archive must be, `sha256:` or `sha512:` and digits.
    pub(crate) checksum: Text,
    #[serde(deserialize_with = "nullable")]
    pub(crate) components: Vec<Text>,
}

/// What the image is made for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Targets {
    #[serde(deserialize_with = "nullable")]
    pub(crate) lxc: LxcTarget,
    /// `lxd` is the name before distrobuilder 3.1.
    #[serde(deserialize_with = "nullable", alias = "lxd")]
    pub(crate) incus: IncusTarget,
}

/// LXC metadata.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LxcTarget {
    pub(crate) create_message: Text,
    #[serde(deserialize_with = "nullable")]
    pub(crate) config: Vec<LxcConfig>,
}

/// Incus metadata.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct IncusTarget {
    pub(crate) vm: Option<Vm>,
}

/// A virtual machine's disk.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Vm {
    pub(crate) size: Option<u64>,
    pub(crate) filesystem: Text,
    pub(crate) boot_size: Option<u64>,
}

/// The modes of an LXC configuration entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ConfigType {
    All,
    System,
    User,
}

/// How a file comes to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Generator {
    Dump,
    Copy,
    Template,
    Hostname,
    Hosts,
    Remove,
    CloudInit,
    IncusAgent,
    Fstab,
}

/// What is done with the packages of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SetAction {
    Install,
    Remove,
}

/// When an action runs.
#[expect(clippy::enum_variant_names, reason = "these are the names in a spec")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Trigger {
    PostUnpack,
    PostUpdate,
    PostPackages,
    PostFiles,
}

impl Trigger {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::PostUnpack => "post-unpack",
            Self::PostUpdate => "post-update",
            Self::PostPackages => "post-packages",
            Self::PostFiles => "post-files",
        }
    }
}

/// Declares a list entry that carries the four filters beside its own keys. Serde cannot flatten them into a struct
/// that refuses unknown keys.
macro_rules! entry {
    ($(#[$doc:meta])* $name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[allow(clippy::struct_field_names, reason = "the keys of a spec are given")]
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct $name {
            $($(#[$attribute])* pub(crate) $field: $type,)*
            #[serde(default, deserialize_with = "nullable")]
            pub(crate) releases: Vec<Text>,
            #[serde(default, deserialize_with = "nullable")]
            pub(crate) architectures: Vec<Text>,
            #[serde(default, deserialize_with = "nullable")]
            pub(crate) variants: Vec<Text>,
            #[serde(default, deserialize_with = "nullable")]
            pub(crate) types: Vec<TargetType>,
        }

        impl $name {
            pub(crate) fn filter(&self) -> Filter<'_> {
                Filter {
                    releases: &self.releases,
                    architectures: &self.architectures,
                    variants: &self.variants,
                    types: &self.types,
                }
            }
        }
    };
}

entry! {
    /// One piece of the container's configuration, for some compat levels.
    LxcConfig {
        r#type: ConfigType,
        #[serde(default, deserialize_with = "nullable")]
        before: u8,
        #[serde(default, deserialize_with = "nullable")]
        after: u8,
        #[serde(default)]
        content: Text,
    }
}

entry! {
    /// One file.
    File {
        generator: Generator,
        #[serde(default)]
        path: Text,
        #[serde(default)]
        content: Text,
        #[serde(default)]
        name: Text,
        #[serde(default, deserialize_with = "nullable")]
        template: FileTemplate,
        #[serde(default, deserialize_with = "nullable")]
        templated: bool,
        #[serde(default)]
        mode: Text,
        #[serde(default)]
        gid: Text,
        #[serde(default)]
        uid: Text,
        #[serde(default, deserialize_with = "nullable")]
        pongo: bool,
        #[serde(default)]
        source: Text,
    }
}

/// When and with which values Incus writes a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct FileTemplate {
    #[serde(deserialize_with = "nullable")]
    pub(crate) properties: BTreeMap<Text, Text>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) when: Vec<Text>,
}

/// What is installed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Packages {
    pub(crate) manager: Text,
    pub(crate) custom_manager: Option<CustomManager>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) update: bool,
    #[serde(deserialize_with = "nullable")]
    pub(crate) cleanup: bool,
    #[serde(deserialize_with = "nullable")]
    pub(crate) sets: Vec<PackageSet>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) repositories: Vec<Repository>,
}

/// A package manager described by its commands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CustomManager {
    #[serde(deserialize_with = "nullable")]
    pub(crate) clean: CustomCommand,
    #[serde(deserialize_with = "nullable")]
    pub(crate) install: CustomCommand,
    #[serde(deserialize_with = "nullable")]
    pub(crate) remove: CustomCommand,
    #[serde(deserialize_with = "nullable")]
    pub(crate) refresh: CustomCommand,
    #[serde(deserialize_with = "nullable")]
    pub(crate) update: CustomCommand,
    #[serde(deserialize_with = "nullable")]
    pub(crate) flags: Vec<Text>,
}

/// One command of a custom package manager.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CustomCommand {
    pub(crate) cmd: Text,
    #[serde(deserialize_with = "nullable")]
    pub(crate) flags: Vec<Text>,
}

entry! {
    /// Packages that are installed or removed together.
    PackageSet {
        #[serde(default, deserialize_with = "nullable")]
        packages: Vec<Text>,
        action: SetAction,
        #[serde(default, deserialize_with = "nullable")]
        early: bool,
        #[serde(default, deserialize_with = "nullable")]
        flags: Vec<Text>,
    }
}

entry! {
    /// A package repository.
    Repository {
        #[serde(default)]
        name: Text,
        #[serde(default)]
        url: Text,
        #[serde(default, rename = "type")]
        kind: Text,
        #[serde(default)]
        key: Text,
    }
}

entry! {
    /// A script that runs in the image.
    Action {
        trigger: Trigger,
        #[serde(default)]
        action: Text,
        #[serde(default, deserialize_with = "nullable")]
        pongo: bool,
        /// Ours alone: distrobuilder refuses it, and gives every action the network.
        #[serde(default, deserialize_with = "nullable", skip_serializing_if = "std::ops::Not::not")]
        network: bool,
    }
}

/// How the distribution spells architectures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Mappings {
    pub(crate) architecture_map: Text,
    #[serde(deserialize_with = "nullable")]
    pub(crate) architectures: BTreeMap<Text, Text>,
}

/// The environment of everything that runs in the image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Environment {
    #[serde(deserialize_with = "nullable")]
    pub(crate) clear_defaults: bool,
    #[serde(deserialize_with = "nullable")]
    pub(crate) variables: Vec<Variable>,
}

entry! {
    /// One environment variable.
    Variable {
        #[serde(default)]
        key: Text,
        #[serde(default)]
        value: Text,
    }
}
