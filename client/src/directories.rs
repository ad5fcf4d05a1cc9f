//! Where the client keeps things.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use formats::lxc_config::LxcConfig;

/// The directories of the client. Each but the last two has a flag, then an environment variable, then a default: that of the FHS
/// for root, that of XDG for everybody else.
///
/// | directory | environment | root | users |
/// |---|---|---|---|
/// | config | `ROOTCELLAR_CONFIG_DIR` | `/etc/rootcellar` | `$XDG_CONFIG_HOME/rootcellar`, on top of root's |
/// | state | `ROOTCELLAR_STATE_DIR` | `/var/lib/rootcellar` | `$XDG_STATE_HOME/rootcellar` |
/// | cache | `ROOTCELLAR_CACHE_DIR` | `/var/cache/rootcellar` | `$XDG_CACHE_HOME/rootcellar` |
/// | containers | `ROOTCELLAR_CONTAINERS` | `lxc.lxcpath`, `/var/lib/lxc` | `lxc.lxcpath`, `$XDG_DATA_HOME/lxc` |
/// | LXC's config | | `/etc/lxc` | `~/.config/lxc` |
/// | LXC's cache | `LXC_CACHE_PATH` | `/var/cache/lxc` | `~/.cache/lxc` |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directories {
    /// Where configuration is read, the weakest first. The last is where it is written.
    pub config: Vec<PathBuf>,
    /// What must not be lost with a cache: the newest index seen of each server, and pinned certificates.
    pub state: PathBuf,
    /// Verified files.
    pub cache: PathBuf,
    /// Container directories.
    pub containers: PathBuf,
    /// Where LXC's own `lxc.conf` and `default.conf` are.
    pub lxc: PathBuf,
    /// Where the stock template keeps images; nowhere for a user without a home.
    pub stock_cache: Option<PathBuf>,
}

/// Directories given as flags.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct DirectoryArgs {
    /// Containers are in DIR.
    #[arg(short = 'P', long = "path", value_name = "DIR", global = true, env = "ROOTCELLAR_CONTAINERS")]
    pub containers: Option<PathBuf>,

    /// Read and write the configuration in DIR.
    #[arg(id = "config_dir", long = "config-dir", value_name = "DIR", global = true, env = "ROOTCELLAR_CONFIG_DIR")]
    pub config: Option<PathBuf>,

    /// Keep what is remembered of servers in DIR.
    #[arg(long = "state-dir", value_name = "DIR", global = true, env = "ROOTCELLAR_STATE_DIR")]
    pub state: Option<PathBuf>,

    /// Keep verified files in DIR.
    #[arg(long = "cache-dir", value_name = "DIR", global = true, env = "ROOTCELLAR_CACHE_DIR")]
    pub cache: Option<PathBuf>,
}

impl DirectoryArgs {
    /// What is not given as the environment has it. For programs: the command line does this by itself.
    #[must_use]
    pub fn or_environment(self) -> Self {
        let of = |name: &str| env::var_os(name).map(PathBuf::from);
        Self {
            containers: self.containers.or_else(|| of("ROOTCELLAR_CONTAINERS")),
            config: self.config.or_else(|| of("ROOTCELLAR_CONFIG_DIR")),
            state: self.state.or_else(|| of("ROOTCELLAR_STATE_DIR")),
            cache: self.cache.or_else(|| of("ROOTCELLAR_CACHE_DIR")),
        }
    }
}

impl Directories {
    /// The directories for this process.
    pub fn choose(args: DirectoryArgs) -> Self {
        Self::of(args, rustix::process::geteuid().is_root(), |name| env::var_os(name))
    }

    /// The directories for root, or for the user with this environment.
    pub fn of(args: DirectoryArgs, root: bool, environment: impl Fn(&str) -> Option<OsString>) -> Self {
        let find = |name: &str| environment(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let stock_cache = find("LXC_CACHE_PATH").or_else(|| {
            if root { Some("/var/cache/lxc".into()) } else { find("HOME").map(|home| home.join(".cache/lxc")) }
        });
        let Defaults { config, state, cache, lxc, containers } = Defaults::of(root, environment);
        Self {
            config: args.config.map_or(config, |given| vec![given]),
            state: args.state.unwrap_or(state),
            cache: args.cache.unwrap_or(cache),
            containers: args.containers.or_else(|| lxc_path(&lxc)).unwrap_or(containers),
            lxc,
            stock_cache,
        }
    }
}

struct Defaults {
    config: Vec<PathBuf>,
    state: PathBuf,
    cache: PathBuf,
    lxc: PathBuf,
    containers: PathBuf,
}

impl Defaults {
    fn of(root: bool, environment: impl Fn(&str) -> Option<OsString>) -> Self {
        if root {
            return Self {
                config: vec![SYSTEM_CONFIG.into()],
                state: "/var/lib/rootcellar".into(),
                cache: "/var/cache/rootcellar".into(),
                lxc: "/etc/lxc".into(),
                containers: "/var/lib/lxc".into(),
            };
        }
        let home = environment("HOME").filter(|home| !home.is_empty()).map_or_else(|| "/".into(), PathBuf::from);
        // The XDG base directory specification ignores relative paths.
        let xdg = |name: &str, fallback: &str| match environment(name).map(PathBuf::from) {
            Some(path) if path.is_absolute() => path,
            _ => home.join(fallback),
        };
        Self {
            config: vec![SYSTEM_CONFIG.into(), xdg("XDG_CONFIG_HOME", ".config").join(PROGRAM)],
            state: xdg("XDG_STATE_HOME", ".local/state").join(PROGRAM),
            cache: xdg("XDG_CACHE_HOME", ".cache").join(PROGRAM),
            lxc: home.join(".config/lxc"),
            containers: xdg("XDG_DATA_HOME", ".local/share").join("lxc"),
        }
    }
}

/// `lxc.lxcpath` of `lxc.conf` (lxc.system.conf(5)), so that both runtimes look in one place.
fn lxc_path(lxc: &Path) -> Option<PathBuf> {
    let text = std::fs::read_to_string(lxc.join("lxc.conf")).ok()?;
    LxcConfig::parse(&text).get("lxc.lxcpath").map(PathBuf::from)
}

const PROGRAM: &str = "rootcellar";
const SYSTEM_CONFIG: &str = "/etc/rootcellar";

#[cfg(test)]
mod tests {
    use super::*;

    fn user(environment: &[(&str, &str)]) -> Directories {
        let find =
            |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
        Directories::of(DirectoryArgs::default(), false, find)
    }

    #[test]
    fn a_user_reads_the_systems_configuration_below_their_own() {
        let directories = user(&[("HOME", "/home/ada")]);
        assert_eq!(directories.config, [Path::new("/etc/rootcellar"), Path::new("/home/ada/.config/rootcellar")]);
        assert_eq!(directories.state, Path::new("/home/ada/.local/state/rootcellar"));
        assert_eq!(directories.containers, Path::new("/home/ada/.local/share/lxc"));
    }

    #[test]
    fn xdg_variables_count_when_they_are_absolute() {
        let directories = user(&[("HOME", "/home/ada"), ("XDG_CACHE_HOME", "/fast"), ("XDG_STATE_HOME", "relative")]);
        assert_eq!(directories.cache, Path::new("/fast/rootcellar"));
        assert_eq!(directories.state, Path::new("/home/ada/.local/state/rootcellar"));
    }

    #[test]
    fn a_flag_wins_over_everything() {
        let args = DirectoryArgs { config: Some("/c".into()), cache: Some("/k".into()), ..DirectoryArgs::default() };
        let directories = Directories::of(args, true, |_| None);
        assert_eq!((directories.config, directories.cache), (vec!["/c".into()], "/k".into()));
        assert_eq!(directories.state, Path::new("/var/lib/rootcellar"));
    }

    #[test]
    fn containers_are_where_lxc_says_they_are() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join(".config/lxc")).unwrap();
        std::fs::write(home.path().join(".config/lxc/lxc.conf"), "lxc.lxcpath = /srv/containers\n").unwrap();
        assert_eq!(user(&[("HOME", home.path().to_str().unwrap())]).containers, Path::new("/srv/containers"));
    }
}
