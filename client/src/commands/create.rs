//! `rootcellar create`

use std::path::PathBuf;

use formats::compat::{CompatLevel, Mode};
use formats::lxc_config::LxcConfig;
use formats::metadata::MemberKind;
use formats::name::Name;
use terminal::ExitStatus;

use super::{CommandError, ImageSpec, SourceArgs};
use crate::acquire::Policy;
use crate::cache::CachedBuild;
use crate::config::Config;
use crate::container::base::Bases;
use crate::container::create::Plan;
use crate::context::Context;
use crate::files;
use crate::narrator::{Narrator, Voice};
use crate::runtime::IdMap;
use crate::userns::Placement;

/// Create a container from an image.
///
/// A cached build is used while it is fresh; then the server is asked for a newer one.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The name of the container.
    pub name: Name,

    /// The image, e.g. `debian/bookworm`, `home:debian/12/arm64/cloud@20261123_0522`.
    #[arg(value_name = "IMAGE")]
    pub image: ImageSpec,

    /// Begin the container's configuration with FILE, in place of LXC's `default.conf`.
    #[arg(short = 'f', long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Let the image set this key although it can reach the host. Can be given more than once.
    #[arg(long, value_name = "KEY")]
    pub allow_config_key: Vec<String>,

    /// Share the image's files with other containers, and keep only what this one changes: it is there in no time. Done
    /// by root on btrfs without being asked.
    #[arg(short = 's', long)]
    pub snapshot: bool,

    /// Use what is cached, however old, and do not ask the server.
    #[arg(long)]
    pub offline: bool,

    /// Where images come from.
    #[command(flatten)]
    pub source: SourceArgs,
}

/// Creates the container.
pub fn run(args: &Args, context: &Context) -> Result<ExitStatus, CommandError> {
    let config = Config::load(&context.directories)?;
    let origin = args.source.origin(&config, args.image.remote.as_ref())?;
    let (defaults, map) = with_map(defaults(args, context)?)?;
    let mode =
        if map.is_empty() { Placement::of_this_process().map_err(CommandError::Placement)?.mode() } else { Mode::User };
    let bases = Bases::choose(&context.directories.containers, mode, &map, args.snapshot)?;
    let plan = Plan {
        containers: &context.directories.containers,
        name: &args.name,
        defaults: &defaults,
        allowed: &[config.allow_config_keys.as_slice(), &args.allow_config_key].concat(),
        mode,
        map: &map,
        bases: bases.as_ref(),
        narrator: &Narrator::new(&context.printer, Voice::Program),
    };
    plan.directory()?;
    let policy = if args.offline { Policy::Offline } else { Policy::Fresh };
    args.source.with(context, origin, |source| {
        let has_tree = |build: &CachedBuild| bases.as_ref().is_some_and(|bases| bases.has(build));
        let acquired =
            source.acquire_unless(&args.image.query, policy, &has_tree).map_err(CommandError::AcquireOnline)?;
        let what = format!("{}, build {}", acquired.build.image, acquired.build.build.as_str());
        let message = acquired.metadata.relevant(MemberKind::CreateMessage, mode, CompatLevel::NEWEST);
        let message = message.map(|message| message.trim_end().to_owned());
        plan.carry_out(acquired)?;
        context.printer.say(format_args!("Created `{}` from {what}", args.name));
        if let Some(message) = message.filter(|message| !message.is_empty()) {
            context.printer.say(format_args!("\n---\n{message}"));
        }
        Ok(ExitStatus::Done)
    })
}

/// The user's configuration for new containers; nothing where LXC has none.
fn defaults(args: &Args, context: &Context) -> Result<String, CommandError> {
    let path = args.config.clone().unwrap_or_else(|| context.directories.lxc.join("default.conf"));
    let unreadable = |source| CommandError::Unreadable { path: path.clone(), source };
    let bytes = match &args.config {
        Some(given) => std::fs::read(given).map_err(unreadable)?,
        None => files::read_if_there(&path).map_err(unreadable)?.unwrap_or_default(),
    };
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The ids that the configuration for new containers maps. Where it maps none, a plain user's containers get all of the
/// user's subordinate ids, and the configuration says so.
fn with_map(defaults: String) -> Result<(String, IdMap), CommandError> {
    let config = LxcConfig::parse(&defaults);
    let values = config.items().filter(|(key, _)| ["lxc.idmap", "lxc.id_map"].contains(key));
    let map = IdMap::parse(values.map(|(_, value)| value))?;
    let uid = rustix::process::geteuid();
    if uid.is_root() || !map.is_empty() {
        return Ok((defaults, map));
    }
    let user = nix::unistd::User::from_uid(uid.as_raw().into()).ok().flatten();
    let name = user.map_or_else(|| uid.as_raw().to_string(), |user| user.name);
    let map = IdMap::of_subordinates(&name, uid.as_raw())?;
    let newline = if defaults.is_empty() || defaults.ends_with('\n') { "" } else { "\n" };
    Ok((format!("{defaults}{newline}{}", map.to_config()), map))
}
