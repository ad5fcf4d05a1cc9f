//! `rootcellar exec`

use formats::name::Name;
use terminal::ExitStatus;

use crate::context::Context;
use crate::runtime::{Container, Error, ExecOptions};

/// Run a command in a running container and end as it ends.
///
/// The exit status is the command's own; 128 and the signal when one killed it, 127 when the container has no such
/// command, 126 when it cannot be executed.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The container.
    pub name: Name,

    /// Set an environment variable, `NAME=VALUE`. Can be given more than once.
    #[arg(short = 'e', long = "env", value_name = "NAME=VALUE")]
    pub environment: Vec<String>,

    /// Leave out the variables that the container's configuration sets. Those of the caller are never passed on.
    #[arg(long)]
    pub clear_env: bool,

    /// Run the command as USER of the container, a name or a number.
    #[arg(short = 'u', long, value_name = "USER", default_value = "0")]
    pub user: String,

    /// Run the command in DIR of the container.
    #[arg(long = "cwd", value_name = "DIR", default_value = "/")]
    pub directory: String,

    /// Let no program, set-uid or with file capabilities, get more rights than the command has.
    #[arg(long)]
    pub no_new_privs: bool,

    /// The command and its arguments; a login shell when there is none.
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Runs the command, in place of this program.
pub fn run(args: Args, context: &Context) -> Result<ExitStatus, Error> {
    let container = Container::open(&context.directories.containers, &args.name)?;
    let command = if args.command.is_empty() { SHELL.map(str::to_owned).to_vec() } else { args.command };
    Err(container.exec_in_place(&ExecOptions {
        command,
        user: args.user,
        clear_environment: args.clear_env,
        environment: args.environment,
        directory: args.directory,
        no_new_privileges: args.no_new_privs,
    }))
}

const SHELL: [&str; 2] = ["/bin/sh", "-l"];
