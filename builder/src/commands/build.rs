//! `rootcellar-builder build SPEC`

use std::path::{Path, PathBuf};
use std::time::Duration;

use formats::arch::Arch;
use formats::record::BuildFile;
use formats::serial::Serial;
use formats::time::Span;
use formats::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use terminal::{ExitStatus, OutputFormat, Printer, Table, human};

use super::{CommandError, SpecArgs, build_time, time_is_given};
use crate::build::failure::Resumption;
use crate::build::lint::Lint;
use crate::build::unpack::{Engine, is_installed};
use crate::build::{self, Built, Options, Outcome};
use crate::config::Config;
use crate::emulation::Emulation;
use crate::format::Formats;
use crate::plan::Plan;
use crate::plan::source::Source;
use crate::sandbox::StepLimits;
use crate::spec::Spec;
use crate::spec::overrides::Override;
use crate::userns::Mode;

/// Build an image: the root file system and its metadata.
///
/// The build directory appears as OUTPUT/DISTRIBUTION/RELEASE/ARCH/VARIANT/SERIAL and is printed. With
/// `SOURCE_DATE_EPOCH` in the environment, the same inputs give the same bytes.
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a choice of its own on the command line")]
pub(crate) struct BuildArgs {
    /// The spec; `-` is standard input.
    #[arg(value_name = "SPEC")]
    path: PathBuf,
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
    /// Read this configuration file [default: /etc/rootcellar/builder.toml for root, if it is there].
    #[arg(long, env = "ROOTCELLAR_BUILDER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where builds go [default: builds].
    #[arg(long, env = "ROOTCELLAR_OUTPUT", value_name = "DIR")]
    output: Option<PathBuf>,
    /// Where downloaded packages are kept [default: /var/cache/rootcellar-builder for root, else below
    /// `XDG_CACHE_HOME`].
    #[arg(long, env = "ROOTCELLAR_BUILDER_CACHE", value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Keep no packages and use none that were kept, whatever `--cache` says.
    #[arg(long)]
    no_cache: bool,
    /// The package mirror, in place of the spec's `source.url` and of the bootstrap program's own choice.
    #[arg(long, env = "ROOTCELLAR_MIRROR", value_name = "URL")]
    mirror: Option<String>,
    /// Who installs the packages of a new tree [default: native].
    #[arg(long, env = "ROOTCELLAR_BOOTSTRAP", value_enum, value_name = "PROGRAM")]
    bootstrap: Option<Engine>,
    /// Who builds [default: root as `root`, everybody else in a user namespace].
    #[arg(long, env = "ROOTCELLAR_MODE", value_enum)]
    mode: Option<Mode>,
    /// What is packed [default: lxc,incus].
    #[arg(long, env = "ROOTCELLAR_FORMATS")]
    formats: Option<String>,
    /// The name of the build, by default the UTC minute it is made in.
    #[arg(long)]
    serial: Option<Serial>,
    /// How hard to compress rootfs.tar.xz, from 0 to 9 [default: 5].
    #[arg(long, env = "ROOTCELLAR_XZ_LEVEL", value_parser = clap::value_parser!(u32).range(0..=9), value_name = "N")]
    xz_level: Option<u32>,
    /// How long the build may take, such as `30m`.
    #[arg(long, env = "ROOTCELLAR_TIMEOUT", value_name = "SPAN")]
    timeout: Option<Span>,
    /// How long each step may take, such as `10m`: a script, a call of a package manager, packing.
    #[arg(long, env = "ROOTCELLAR_STEP_TIMEOUT", value_name = "SPAN")]
    step_timeout: Option<Span>,
    /// How much memory the processes of a step may fill together, such as `2G`.
    #[arg(long, env = "ROOTCELLAR_STEP_MEMORY", value_parser = super::cache::size, value_name = "SIZE")]
    step_memory: Option<u64>,
    /// Give the actions of the spec the network, also those that do not ask for it.
    #[arg(long, env = "ROOTCELLAR_NETWORK")]
    network: bool,
    /// Fetch nothing: what earlier builds have kept must do.
    #[arg(long)]
    offline: bool,
    /// Build also where nothing has changed since the newest build in OUTPUT.
    #[arg(long)]
    force: bool,
    /// Call an image good although it has what this lint finds; may be repeated.
    #[arg(long = "allow-lint", value_enum, value_name = "LINT")]
    allowed: Vec<Lint>,
    /// Take package lists whose validity is over: a mirror that stands still, or one that somebody holds back.
    #[arg(long)]
    accept_expired_lists: bool,
    /// How to print what was built.
    #[arg(long, default_value = "text")]
    pub(super) format: OutputFormat,
}

/// Everything that a build was asked for, so that it can be asked for again.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools, reason = "each is a choice of its own on the command line")]
pub(crate) struct Request {
    /// Where the spec is.
    spec: PathBuf,
    /// The spec itself where it came from standard input.
    text: Option<String>,
    /// A tree for which everything up to its packages has been done, in place of the spec's source.
    tree: Option<PathBuf>,
    /// Everything that replaces values of the spec.
    overrides: Vec<String>,
    /// Those that were given with `-o`.
    given: Vec<String>,
    formats: String,
    output: PathBuf,
    cache: Option<PathBuf>,
    engine: Engine,
    now: Timestamp,
    time_is_given: bool,
    xz_level: u32,
    timeout: Option<Span>,
    #[serde(default)]
    step_timeout: Option<Span>,
    #[serde(default)]
    step_memory: Option<u64>,
    /// All actions have the network.
    #[serde(default)]
    network: bool,
    /// Nothing is fetched.
    #[serde(default)]
    offline: bool,
    #[serde(default = "Mode::usual")]
    mode: Mode,
    /// The architecture of the image, once it is known.
    #[serde(default)]
    arch: Option<Arch>,
    /// What a good build may have.
    #[serde(default)]
    allowed: Vec<Lint>,
    #[serde(default)]
    accept_expired_lists: bool,
}

/// Builds, and prints where the build is.
pub(crate) fn run(args: &BuildArgs, printer: &Printer) -> Result<ExitStatus, CommandError> {
    let outcome = Request::of(args, None)?.carry_out(args.force, None, printer)?;
    Ok(tell(outcome, args.format, printer))
}

/// Says what was built and prints where it is.
pub(super) fn tell(outcome: Outcome, format: OutputFormat, printer: &Printer) -> ExitStatus {
    let (word, Built { directory, record, elapsed }) = match outcome {
        Outcome::Built(built) => ("built", built),
        Outcome::Unchanged(built) => ("unchanged", built),
    };
    let elapsed = human::elapsed(elapsed);
    let (image, serial) = (&record.image, &record.serial);
    if word == "built" {
        let size = |file| human::bytes(record.files.get(&file).map_or(0, |digest| digest.size_bytes));
        let (rootfs, metadata) = (size(BuildFile::RootfsTarXz), size(BuildFile::MetaTarXz));
        printer.say(format_args!("Built {image} {serial}    rootfs {rootfs}, metadata {metadata}, {elapsed}"));
    } else {
        printer.say(format_args!("Nothing has changed since {image} {serial}    {elapsed}"));
    }
    match format {
        OutputFormat::Text => printer.data(directory.display()),
        OutputFormat::Json => {
            let document = json!({"result": word, "image": image, "serial": serial, "directory": directory, "inputs": record.inputs});
            printer.listing(format, &Table::new(["BUILD"]), &document);
        }
    }
    ExitStatus::Done
}

impl Request {
    /// What the command line, the environment and the configuration ask for, all of it settled.
    pub(super) fn of(args: &BuildArgs, tree: Option<&Path>) -> Result<Self, CommandError> {
        let config = Config::load(args.config.as_deref())?;
        let formats = args.formats.clone().or(config.formats).unwrap_or_else(|| DEFAULT_FORMATS.to_owned());
        let mut overrides = args.spec.overrides.clone();
        overrides.extend(args.mirror.as_ref().or(config.mirror.as_ref()).map(|url| Override::new("source.url", url)));
        overrides.extend(args.serial.as_ref().map(|serial| Override::new("image.serial", serial.as_str())));
        let wrong = |problem| CommandError::StepMemory { problem };
        let memory_in_file = |text: &String| super::cache::size(text).map_err(wrong);
        let step_memory = config.step_memory.as_ref().map(memory_in_file).transpose()?;
        let is_input = args.path == Path::new("-");
        Ok(Self {
            text: is_input.then(|| Spec::text(&args.path)).transpose()?,
            spec: if is_input { args.path.clone() } else { absolute(&args.path)? },
            tree: tree.map(absolute).transpose()?,
            overrides: overrides.iter().map(ToString::to_string).collect(),
            given: args.spec.overrides.iter().map(ToString::to_string).collect(),
            formats,
            output: absolute(&args.output.clone().or(config.output).unwrap_or_else(|| DEFAULT_OUTPUT.into()))?,
            cache: if args.no_cache {
                None
            } else {
                Some(absolute(&cache_root(args.cache.clone().or(config.cache))?)?)
            },
            engine: args.bootstrap.or(config.bootstrap).unwrap_or_default(),
            now: build_time()?,
            time_is_given: time_is_given(),
            xz_level: args.xz_level.or(config.xz_level).unwrap_or(DEFAULT_XZ_LEVEL),
            timeout: args.timeout.or(config.timeout),
            step_timeout: args.step_timeout.or(config.step_timeout),
            step_memory: args.step_memory.or(step_memory),
            network: args.network || config.network.unwrap_or_default(),
            offline: args.offline,
            mode: args.mode.or(config.mode).unwrap_or_else(Mode::usual),
            arch: None,
            allowed: args.allowed.clone(),
            accept_expired_lists: args.accept_expired_lists,
        })
    }

    /// Makes this process one that can look into what the build has left.
    pub(super) fn become_builder(&self) -> Result<Option<Emulation>, CommandError> {
        super::become_builder(self.mode, self.arch)
    }

    /// Builds it, or goes on with it.
    pub(super) fn carry_out(
        &self,
        force: bool,
        resumption: Option<Resumption>,
        printer: &Printer,
    ) -> Result<Outcome, CommandError> {
        let formats: Formats = self.formats.parse()?;
        let overrides = self.overrides.iter().map(|text| text.parse()).collect::<Result<Vec<Override>, _>>();
        let overrides = overrides.map_err(|_| CommandError::Request)?;
        let text = self.text.clone().map_or_else(|| Spec::text(&self.spec), Ok)?;
        let spec = Spec::of_text(&self.spec, &text, &overrides, self.now)?;
        let mut plan = match &self.tree {
            None => Plan::of(&spec, formats)?,
            Some(tree) => Plan::upon(&spec, formats, tree)?,
        };
        if self.network {
            plan.give_network();
        }
        needed_programs(&plan, self.engine)?;
        let _emulation = super::become_builder(self.mode, Some(spec.image.arch))?;
        // Modes in an image are the spec's and the packages' business.
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        let options = Options {
            output: self.output.clone(),
            cache: self.cache.clone(),
            engine: self.engine,
            now: self.now,
            time_is_given: self.time_is_given,
            xz_level: self.xz_level,
            timeout: self.timeout.map(Duration::from),
            limits: StepLimits { timeout: self.step_timeout.map(Duration::from), memory_bytes: self.step_memory },
            offline: self.offline,
            overrides: self.given.clone(),
            force,
            mirror: self.overrides.iter().rev().find_map(|text| text.strip_prefix("source.url=")).map(str::to_owned),
            allowed: self.allowed.clone(),
            expired: self.accept_expired_lists,
        };
        if self.accept_expired_lists {
            printer.warn(EXPIRED_ACCEPTED);
        }
        // The serial is settled with the time, so that going on makes the same build.
        let request = Self { arch: Some(spec.image.arch), ..self.clone() };
        let request = serde_json::to_value(request).map_err(|_| CommandError::Request)?;
        Ok(build::build(&spec, &plan, &options, (&request, resumption), printer)?)
    }
}

fn needed_programs(plan: &Plan, engine: Engine) -> Result<(), CommandError> {
    let bootstrap = match (&plan.source, engine) {
        (Source::Download(_) | Source::Tree { .. }, _) => None,
        // It knows the mirrors.
        (Source::Debootstrap(one), Engine::Native) if one.mirror.is_some() && !one.extracted => Some("apt-get"),
        (Source::Debootstrap(one), Engine::Debootstrap) if !one.extracted => Some("debootstrap"),
        (Source::Debootstrap(_), _) => Some("mmdebstrap"),
    };
    let squashfs = plan.formats.incus.then_some("mksquashfs");
    for program in bootstrap.into_iter().chain(squashfs) {
        if !is_installed(program) {
            return Err(CommandError::NoProgram { program });
        }
    }
    Ok(())
}

/// Where packages are kept.
pub(super) fn cache_root(given: Option<PathBuf>) -> Result<PathBuf, CommandError> {
    if let Some(path) = given {
        return Ok(path);
    }
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from("/var/cache/rootcellar-builder"));
    }
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")));
    base.map(|base| base.join("rootcellar-builder")).ok_or(CommandError::NoCache)
}

/// A path that a change of the directory leaves alone.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, CommandError> {
    std::path::absolute(path).map_err(|source| CommandError::Directory { path: path.to_owned(), source })
}

/// What is said to whom typed `--accept-expired-lists`.
pub(super) const EXPIRED_ACCEPTED: &str =
    "package lists are accepted whatever their age, because of `--accept-expired-lists`: updates may be missing";
const DEFAULT_FORMATS: &str = "lxc,incus";
const DEFAULT_OUTPUT: &str = "builds";
/// Nearly as small as xz's own default, 6, in four fifths of its time: on a slow link, the size is what a create waits for.
const DEFAULT_XZ_LEVEL: u32 = 5;
