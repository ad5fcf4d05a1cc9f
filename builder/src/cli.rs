//! The command line.

use clap::{Parser, Subcommand};
use terminal::ManualCommand;

use crate::commands::{bootstrap, build, cache, diff, matrix, pack, plan, resume, shell, validate};

/// Builds images from specs.
#[derive(Debug, Parser)]
#[command(name = "rootcellar-builder", version, about, max_term_width = 100)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Say nothing but data, warnings and errors.
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Install Debian in a directory or a tar archive, without a spec.
    Bootstrap(bootstrap::BootstrapArgs),
    /// Build an image: the root file system and its metadata.
    Build(build::BuildArgs),
    /// Show what is different between two builds.
    Diff(diff::DiffArgs),
    /// Make an image of a tree that is there already.
    Pack(pack::PackArgs),
    /// Go on with a build that failed.
    Resume(resume::ResumeArgs),
    /// Look into the tree of a build that failed.
    Shell(shell::ShellArgs),
    /// Show what earlier builds have kept, or remove some of it.
    Cache(cache::CacheArgs),
    /// Check specs without building anything.
    Validate(validate::ValidateArgs),
    /// Show the images that specs are for.
    Matrix(matrix::MatrixArgs),
    /// Show the stages of a build in order.
    Plan(plan::PlanArgs),
    /// About the program itself.
    #[command(flatten)]
    Manual(ManualCommand),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn overrides_may_hold_commas_and_repeat() {
        let words = ["rootcellar-builder", "build", "a.yaml", "-o", "image.release=x", "-o", "source.url=a,b=c"];
        let Command::Build(args) = Cli::parse_from(words).command else { panic!() };
        let overrides: Vec<String> = args.spec.overrides.iter().map(ToString::to_string).collect();
        assert_eq!(overrides, ["image.release=x", "source.url=a,b=c"]);
    }
}
