//! `rootcellar-server delta`.

use std::collections::BTreeSet;

use clap::Args;
use formats::delta::DeltaKind;
use formats::image::ImageId;
use formats::record::BuildFile;
use terminal::{ExitStatus, human};

use crate::channel::Channel;
use crate::cli::Context;
use crate::delta::make::{Maker, Outcome};
use crate::delta::{Step, steps};
use crate::error::Error;
use crate::limits::Limits;
use crate::store::{BuildId, Store};

/// Make the deltas that hosts of each channel need to step from a build to the newest one.
///
/// `import` does this by itself for what it imports. Each delta is checked by applying it, and offered with the next
/// publish when it is much smaller than the whole file. Nothing waits meanwhile: a server goes on publishing.
#[derive(Debug, Args)]
pub struct DeltaArgs {
    /// Make them for these images only, such as `debian/trixie/amd64/default`.
    #[arg(value_name = "IMAGE")]
    images: Vec<ImageId>,
}

/// Runs `rootcellar-server delta`. Every delta that was made is data on stdout.
pub fn run(args: &DeltaArgs, context: &Context) -> Result<ExitStatus, Error> {
    let mut steps = steps(&Channel::all(&context.data)?);
    steps.retain(|step| args.images.is_empty() || args.images.contains(&step.build.image));
    let (made, failed) = make_all(&steps, context)?;
    match made.len() {
        0 => context.printer.say("No new delta"),
        _ => context.printer.say("Clients are told of them by the next publish"),
    }
    for delta in made {
        context.printer.data(delta);
    }
    Ok(if failed { ExitStatus::Failed } else { ExitStatus::Done })
}

/// Makes the deltas that lead to builds which were just imported. That none can be made keeps no build out.
pub(super) fn make_for(imported: &BTreeSet<BuildId>, context: &Context) -> Result<(), Error> {
    let mut steps = steps(&Channel::all(&context.data)?);
    steps.retain(|step| imported.contains(&step.build));
    if !steps.is_empty() {
        make_all(&steps, context)?;
    }
    Ok(())
}

/// What was made, and whether anything failed.
fn make_all(steps: &BTreeSet<Step>, context: &Context) -> Result<(Vec<String>, bool), Error> {
    let printer = &context.printer;
    let maker = Maker::lock(&context.data, Limits::default(), printer)?;
    let store = Store::new(&context.data);
    let (mut made, mut failed) = (Vec::new(), false);
    for step in steps {
        let outcomes = match maker.make(step, printer) {
            Ok(outcomes) => outcomes,
            Err(error) => {
                failed = true;
                printer.warn(format_args!("no delta for {} from {}: {error}", step.build, step.base));
                continue;
            }
        };
        let files = store.record(&step.build)?.map(|record| record.files).unwrap_or_default();
        for outcome in outcomes {
            match outcome {
                Outcome::Made(delta, digest) => {
                    let full = match delta.kind {
                        DeltaKind::Tar => BuildFile::RootfsTarXz,
                        DeltaKind::Squashfs => BuildFile::RootfsSquashfs,
                    };
                    let full_bytes = files.get(&full).map_or(0, |file| file.size_bytes);
                    let (size, whole) = (human::bytes(digest.size_bytes), human::bytes(full_bytes));
                    printer.say(format_args!("{:<30}{delta}  {size} instead of {whole}", "Made a delta"));
                    made.push(delta.to_string());
                }
                Outcome::TooLarge(delta) => printer.say(format_args!("{:<30}{delta}", "Not worth a delta")),
            }
        }
        let has_squashfs = files.contains_key(&BuildFile::RootfsSquashfs);
        if has_squashfs && !maker.has_xdelta3() {
            printer.say(format_args!("`xdelta3` is not installed: {} has no delta for Incus and LXD", step.build));
        }
    }
    Ok((made, failed))
}
