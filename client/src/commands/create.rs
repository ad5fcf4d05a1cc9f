//! `rootcellar create`

use std::path::PathBuf;

use formats::lxc_config::LxcConfig;
use formats::name::Name;
use terminal::ExitStatus;

use super::{CommandError, ImageSpec, SourceArgs};
use crate::acquire::Policy;
use crate::config::Config;
use crate::container::create::Plan;
use crate::context::Context;
use crate::files;
use crate::narrator::{Narrator, Voice};
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

    /// Use what is cached, however old, and do not ask the server.
    #[arg(long)]
    pub offline: bool,

    #[command(flatten)]
    source: SourceArgs,
}

/// Creates the container.
pub fn run(args: &Args, context: &Context) -> Result<ExitStatus, CommandError> {
    if !rustix::process::geteuid().is_root() {
        return Err(CommandError::NeedsRoot);
    }
    let config = Config::load(&context.directories)?;
    let origin = args.source.origin(&config, args.image.remote.as_ref())?;
    let defaults = defaults(args, context)?;
    let plan = Plan {
        containers: &context.directories.containers,
        name: &args.name,
        defaults: &defaults,
        allowed: &[config.allow_config_keys.as_slice(), &args.allow_config_key].concat(),
        mode: Placement::of_this_process().map_err(CommandError::Placement)?.mode(),
        narrator: &Narrator::new(&context.printer, Voice::Program),
    };
    plan.directory()?;
    let policy = if args.offline { Policy::Offline } else { Policy::Fresh };
    args.source.with(context, origin, |source| {
        let acquired = source.acquire(&args.image.query, policy)?;
        let what = format!("{}, build {}", acquired.build.image, acquired.build.build.as_str());
        plan.carry_out(acquired)?;
        context.printer.say(format_args!("Created `{}` from {what}", args.name));
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
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if LxcConfig::parse(&text).get("lxc.idmap").is_some() {
        return Err(CommandError::IdMap { path });
    }
    Ok(text)
}
