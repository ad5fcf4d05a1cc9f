//! One start of a container, worked out in full: what the monitor, the launcher and every later `exec` go by.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::auto_mount::AutoMounts;
use super::backing::{Backing, Options};
use super::capability::Capabilities;
use super::error::ConfigProblem;
use super::hooks::{Hooks, Subject};
use super::idmap::IdMap;
use super::mount::{self, Mount};
use super::network::Network;
use super::settings::{Limit, Settings};
use super::ttys::Ttys;

/// `plan.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) name: String,
    /// The container's `config`.
    pub(crate) config: PathBuf,
    pub(crate) rootfs: Backing,
    /// Its value in the configuration without the kind, for hooks.
    pub(crate) rootfs_path: String,
    pub(crate) rootfs_options: Options,
    pub(crate) hostname: String,
    pub(crate) is_32_bit: bool,
    pub(crate) command: Vec<String>,
    pub(crate) directory: String,
    pub(crate) environment: Vec<String>,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) auto_mounts: AutoMounts,
    pub(crate) capabilities: Capabilities,
    pub(crate) no_new_privileges: bool,
    pub(crate) network: Network,
    pub(crate) hooks: Hooks,
    pub(crate) pty_max: u32,
    pub(crate) ttys: Ttys,
    pub(crate) sysctl: Vec<(String, String)>,
    pub(crate) limits: Vec<Limit>,
    pub(crate) halt_signal: Option<i32>,
    pub(crate) stop_signal: Option<i32>,
    /// Empty when the container has no user namespace.
    pub(crate) idmap: IdMap,
}

impl Plan {
    /// Completes the settings with defaults and the limits this host can keep, and looks at the host: every bind mount
    /// must have its source.
    pub(crate) fn new(
        name: &str,
        config: &Path,
        settings: Settings,
        limits: Vec<Limit>,
        command: Vec<String>,
    ) -> Result<Self, ConfigProblem> {
        let rootfs = settings.rootfs.ok_or(ConfigProblem::NoRootfs)?;
        rootfs.check()?;
        let mounts = mount::plan(&settings.mounts, &rootfs)?;
        let command = match (command.is_empty(), settings.init) {
            (false, _) => command,
            (true, Some(init)) => init,
            (true, None) => vec![INIT.to_owned()],
        };
        Ok(Self {
            name: name.to_owned(),
            config: config.to_owned(),
            rootfs_path: rootfs.path(),
            rootfs,
            rootfs_options: settings.rootfs_options,
            hostname: settings.hostname.unwrap_or_else(|| name.to_owned()),
            is_32_bit: settings.is_32_bit,
            command,
            directory: settings.init_directory.unwrap_or_else(|| "/".to_owned()),
            environment: settings.environment,
            mounts,
            auto_mounts: settings.auto_mounts,
            capabilities: settings.capabilities,
            no_new_privileges: settings.no_new_privileges,
            network: settings.network,
            hooks: settings.hooks,
            pty_max: settings.pty_max.unwrap_or(PTY_MAX),
            ttys: settings.ttys,
            sysctl: settings.sysctl,
            limits,
            halt_signal: settings.halt_signal,
            stop_signal: settings.stop_signal,
            idmap: settings.idmap,
        })
    }

    /// What hooks are told of.
    pub(crate) fn subject(&self) -> Subject<'_> {
        Subject { name: &self.name, config: &self.config, rootfs: &self.rootfs_path }
    }

    /// What every process of the container has in its environment, whatever is configured.
    pub(crate) fn base_environment() -> Vec<String> {
        vec![format!("PATH={PATH}"), "container=lxc".to_owned()]
    }

    /// The environment of every process the runtime starts in the container. `container` is how init systems and
    /// others know where they are (systemd's "Container Interface").
    pub(crate) fn environment(&self) -> Vec<String> {
        let mut environment = Self::base_environment();
        environment.extend(self.environment.iter().map(|entry| {
            // A name without a value passes on our own.
            if entry.contains('=') {
                entry.clone()
            } else {
                format!("{entry}={}", std::env::var(entry).unwrap_or_default())
            }
        }));
        environment
    }
}

/// Where commands are looked for in a container.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const INIT: &str = "/sbin/init";
const PTY_MAX: u32 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_fill_what_the_configuration_leaves_open() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings { rootfs: Some(Backing::Directory(dir.path().to_owned())), ..Settings::default() };
        let plan = Plan::new("web1", Path::new("/lxc/web1/config"), settings, Vec::new(), Vec::new()).unwrap();
        assert_eq!((plan.hostname.as_str(), plan.directory.as_str()), ("web1", "/"));
        assert_eq!(plan.command, ["/sbin/init"]);
        assert!(plan.environment().contains(&"container=lxc".to_owned()));
    }

    #[test]
    fn the_command_of_this_start_goes_before_the_configured_one() {
        let dir = tempfile::tempdir().unwrap();
        let init = Some(vec!["/bin/init".to_owned()]);
        let settings =
            Settings { rootfs: Some(Backing::Directory(dir.path().to_owned())), init, ..Settings::default() };
        let plan = Plan::new(
            "web1",
            Path::new("/lxc/web1/config"),
            settings,
            Vec::new(),
            vec!["sleep".to_owned(), "9".to_owned()],
        )
        .unwrap();
        assert_eq!(plan.command, ["sleep", "9"]);
    }

    #[test]
    fn a_missing_root_file_system_is_refused() {
        let settings = Settings { rootfs: Some(Backing::Directory("/nowhere/rootfs".into())), ..Settings::default() };
        let problem = Plan::new("web1", Path::new("/lxc/web1/config"), settings, Vec::new(), Vec::new()).unwrap_err();
        assert_eq!(problem, ConfigProblem::MissingRootfs("/nowhere/rootfs".into()));
    }
}
