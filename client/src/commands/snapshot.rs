//! `rootcellar snapshot`

use formats::name::Name;
use terminal::{ExitStatus, Table};

use crate::context::Context;
use crate::runtime::{Container, Error};

/// Keep the state of a container, which must not run, to go back to it with `restore`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The container.
    pub name: Name,

    /// What to say of the snapshot.
    #[arg(short = 'c', long, value_name = "TEXT")]
    pub comment: Option<String>,

    /// List its snapshots.
    #[arg(short = 'L', long, conflicts_with_all = ["comment", "delete"])]
    pub list: bool,

    /// Delete this snapshot.
    #[arg(short = 'd', long, value_name = "SNAPSHOT", conflicts_with = "comment")]
    pub delete: Option<Name>,
}

/// Takes, lists or deletes snapshots.
pub fn run(args: &Args, context: &Context) -> Result<ExitStatus, Error> {
    let container = Container::open(&context.directories.containers, &args.name)?;
    if args.list {
        let snapshots = container.snapshots()?;
        let mut table = Table::new(["NAME", "CREATED", "COMMENT"]);
        for snapshot in &snapshots {
            let comment = terminal::plain(snapshot.comment.trim());
            table.row([snapshot.name.clone(), terminal::plain(&snapshot.created), comment]);
        }
        context.printer.listing(context.format, &table, &snapshots);
    } else if let Some(snapshot) = &args.delete {
        container.delete_snapshot(snapshot)?;
        context.printer.say(format_args!("Deleted snapshot `{snapshot}` of `{}`", args.name));
    } else {
        let snapshot = container.snapshot(args.comment.as_deref())?;
        context.printer.say(format_args!("Took snapshot `{snapshot}` of `{}`", args.name));
    }
    Ok(ExitStatus::Done)
}
