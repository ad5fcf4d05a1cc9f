//! `rootcellar-builder bootstrap SUITE TARGET`

use std::io::BufWriter;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use archive::pack::{PackOptions, pack_tree};
use formats::arch::Arch;
use terminal::{ExitStatus, Printer};

use super::build::{absolute, cache_root};
use super::{CommandError, become_builder, build_time};
use crate::bootstrap::{Bootstrap, Variant, prepare};
use crate::build::last_lines;
use crate::cache::Cache;
use crate::sandbox::{StepLimits, Surroundings};
use crate::userns::Mode;

/// Install Debian in a directory or a tar archive, without a spec.
#[derive(Debug, clap::Args)]
pub(crate) struct BootstrapArgs {
    /// The release, such as `bookworm`.
    suite: String,
    /// An empty or new directory, or a new file whose name ends in `.tar`.
    target: PathBuf,
    /// The architecture [default: this machine's].
    #[arg(long)]
    arch: Option<Arch>,
    /// Which packages beyond the essential ones.
    #[arg(long, value_enum, default_value = "minbase")]
    variant: Variant,
    /// Parts of the archive.
    #[arg(long, value_delimiter = ',', default_value = "main")]
    components: Vec<String>,
    /// More packages.
    #[arg(long, value_delimiter = ',')]
    include: Vec<String>,
    /// The address of a mirror or a `deb` line; may be repeated [default: what mmdebstrap would use].
    #[arg(long = "mirror", env = "ROOTCELLAR_MIRROR", value_name = "URL")]
    mirrors: Vec<String>,
    /// Certificates that must have signed the package lists, in place of Debian's.
    #[arg(long = "keyring", value_name = "FILE")]
    keyrings: Vec<PathBuf>,
    /// Take package lists whose validity is over: a mirror that stands still, or one that somebody holds back.
    #[arg(long)]
    accept_expired_lists: bool,
    /// Where packages are kept.
    #[arg(long, env = "ROOTCELLAR_BUILDER_CACHE", value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Who builds [default: root as `root`, everybody else in a user namespace].
    #[arg(long, env = "ROOTCELLAR_MODE", value_enum)]
    mode: Option<Mode>,
}

/// Bootstraps, and prints the packages.
pub(crate) fn run(args: &BootstrapArgs, printer: &Printer) -> Result<ExitStatus, CommandError> {
    let cache = absolute(&cache_root(args.cache.clone())?)?;
    let arch = args.arch.or_else(Arch::host).unwrap_or(Arch::Amd64);
    let _emulation = become_builder(args.mode.unwrap_or_else(Mode::usual), Some(arch))?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let now = build_time()?;
    let target = absolute(&args.target)?;
    let failed = |source| CommandError::Directory { path: target.clone(), source };
    let is_tar = target.extension().is_some_and(|extension| extension == "tar");
    // Beside the archive, not in the directory for temporary files: that may be small.
    let beside = target.parent().unwrap_or(&target);
    let scratch = tempfile::Builder::new().prefix(".rootcellar-bootstrap-").tempdir_in(beside).map_err(failed)?;
    let root = if is_tar { scratch.path().join("root") } else { target.clone() };
    fs_err::create_dir_all(&root).map_err(failed)?;
    if fs_err::read_dir(&root).map_err(failed)?.next().is_some() {
        return Err(CommandError::NotEmpty { path: root });
    }
    let log_path = scratch.path().join("log");
    let log = std::fs::File::create(&log_path).map_err(failed)?;
    let request = Bootstrap {
        suite: args.suite.clone(),
        arch,
        variant: args.variant,
        components: args.components.clone(),
        include: args.include.clone(),
        mirrors: args.mirrors.clone(),
        unverified: false,
        expired: args.accept_expired_lists,
        keyrings: args.keyrings.clone(),
        cache,
        lists: false,
        now,
    };
    if request.expired {
        printer.warn(super::build::EXPIRED_ACCEPTED);
    }
    let _cache = Cache::open(&request.cache, None)?;
    let around = Surroundings { log: &log, deadline: None, limits: StepLimits::default(), network: true };
    let summary = prepare(request, around).and_then(|prepared| prepared.install(&root)).inspect_err(|_| {
        printer.warn(format_args!("the log ends like this:\n{}", last_lines(&log_path)));
    })?;
    if is_tar {
        let mut out = tempfile::NamedTempFile::new_in(beside).map_err(failed)?;
        pack_tree(&root, BufWriter::with_capacity(BUFFER_BYTES, &mut out), &PackOptions::new(now))?;
        out.as_file().set_permissions(PermissionsExt::from_mode(0o644)).map_err(failed)?;
        out.persist(&target).map_err(|error| failed(error.error))?;
    }
    for package in &summary.packages {
        printer.data(format_args!("{} {} {}", package.name, package.version, package.arch));
    }
    Ok(ExitStatus::Done)
}

const BUFFER_BYTES: usize = 1 << 20;
