//! `rootcellar-server promote`.

use clap::Args;
use formats::name::Name;
use formats::time::Span;
use terminal::ExitStatus;

use crate::channel::{Channel, ChannelError};
use crate::checkpoint::checkpoint;
use crate::cli::Context;
use crate::commands::{DEFAULT_VALIDITY, publish_now};
use crate::error::Error;
use crate::store::{BuildId, BuildQuery, Store};

/// Offer a build in another channel, and publish that at once.
///
/// Clients of the channel get this build; newer builds of the image leave the channel.
#[derive(Debug, Args)]
pub struct PromoteArgs {
    /// The image, such as `debian/trixie/amd64/default`, for its newest build, or one build as IMAGE@SERIAL.
    #[arg(value_name = "IMAGE[@SERIAL]")]
    build: BuildQuery,

    /// The channel that will offer it.
    #[arg(long, value_name = "CHANNEL")]
    to: Name,

    /// The channel that must offer it now [default: `staging` for an image, any for a build].
    #[arg(long, value_name = "CHANNEL")]
    from: Option<Name>,

    /// How long clients may use the new generation.
    #[arg(long, default_value_t = DEFAULT_VALIDITY, env = "ROOTCELLAR_SERVER_VALIDITY")]
    validity: Span,
}

/// Runs `rootcellar-server promote`.
pub fn run(args: &PromoteArgs, context: &Context) -> Result<ExitStatus, Error> {
    let writer = context.data.write(&context.printer)?;
    let build = find(args, context)?;
    let mut channel = Channel::read(&writer, &args.to)?;
    let newer = channel.promote(&build);
    channel.write(&writer)?;
    checkpoint("promote:selected");
    context.printer.say(format_args!("{:<30}{build}  channel {}", "Promoted", args.to));
    for newer in newer {
        context.printer.say(format_args!("{:<30}{newer}", "No longer offered, as newer"));
    }
    publish_now(&writer, args.validity, context)?;
    context.printer.data(build);
    Ok(ExitStatus::Done)
}

/// The build that was asked for, which is in the store and in the channel it should come from.
fn find(args: &PromoteArgs, context: &Context) -> Result<BuildId, Error> {
    let staging = || Channel::STAGING.parse::<Name>().ok();
    let from = args.from.clone().or_else(|| if args.build.serial.is_none() { staging() } else { None });
    let from = from.map(|from| Channel::read(&context.data, &from)).transpose()?;
    let image = &args.build.image;
    let build = match (&args.build.serial, &from) {
        (Some(serial), _) => Some(BuildId { image: image.clone(), serial: serial.clone() }),
        (None, Some(from)) => from.newest(image).cloned(),
        (None, None) => None,
    };
    let has = |build: &BuildId| from.as_ref().is_none_or(|from| from.builds.contains(build));
    let Some(build) = build.filter(has) else {
        let channel = from.map_or_else(|| args.to.clone(), |from| from.name);
        return Err(ChannelError::NoBuild { channel, build: args.build.to_string() }.into());
    };
    if Store::new(&context.data).record(&build)?.is_none() {
        return Err(ChannelError::NotInStore { build: Box::new(build) }.into());
    }
    Ok(build)
}
