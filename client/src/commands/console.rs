//! `rootcellar console`

use formats::name::Name;
use terminal::ExitStatus;

use crate::context::Context;
use crate::runtime::{ConsoleOptions, Container, Error, EscapeKey, Left};

/// Sit at a container's console or at one of its terminals.
///
/// Ctrl+a q leaves; the container runs on. Ctrl+a Ctrl+a types Ctrl+a.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The container.
    pub name: Name,

    /// The terminal: 0 for the console, otherwise 1 to `lxc.tty.max`. Without it the first that is free.
    #[arg(short = 't', long, value_name = "NUMBER")]
    pub tty: Option<u32>,

    /// The key, with Ctrl, before `q` that leaves.
    #[arg(short = 'e', long, value_name = "KEY", default_value = "a")]
    pub escape: EscapeKey,
}

/// Sits there until it is left or gone.
pub fn run(args: &Args, context: &Context) -> Result<ExitStatus, Error> {
    let container = Container::open(&context.directories.containers, &args.name)?;
    let escape = args.escape;
    let options = ConsoleOptions { tty: args.tty, escape };
    let left = container.console(options, |number| {
        let place = if number == 0 { "the console".to_owned() } else { format!("terminal {number}") };
        context.printer.say(format_args!("At {place} of `{}`; {escape} q leaves\r", args.name));
    })?;
    context.printer.say(match left {
        Left::Detached => format!("\r\nLeft `{}`, which runs on", args.name),
        Left::Ended => format!("\r\n`{}` has ended", args.name),
    });
    Ok(ExitStatus::Done)
}
