//! `lxc-download`: the template that liblxc runs to fill a new container.
//!
//! The command line, the lines on stdout, the order of the configuration and the exit status are those of the stock
//! template of every release; `--fingerprint`, `--channel`, `--ca`, `--trust-tls`, `--accept-expired-index` and
//! `--allow-config-key` are ours. How liblxc runs it: lxc `src/lxc/lxccontainer.c`, `create_run_template`.

mod container;
mod ending;
mod error;
mod getopt;
mod listing;
mod options;
mod origin;
mod usage;

use std::env;
use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use formats::image::ImageQuery;
use formats::verified::PastValidity;
use terminal::log::{self, LogArgs, Priority};
use terminal::{ExitStatus, Printer, finish};

use crate::acquire::{Policy, Source};
use crate::cache::Cache;
use crate::config::Config;
use crate::directories::{Directories, DirectoryArgs};
use crate::login;
use crate::narrator::{Narrator, PRUNES, Step, Voice};
use crate::remote::Trust;
use crate::repository::Repository;
use crate::userns::Placement;

pub use usage::USAGE;

pub use error::TemplateError;

use error::StockLine;
use options::Options;

/// Runs the template with these arguments.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let printer = Printer::new(false);
    let options = match Options::parse(arguments) {
        Ok(options) => options,
        Err(error) => {
            printer.error(&error, None);
            printer.data(USAGE);
            return finish::<TemplateError>(&printer, Ok(ExitStatus::Refused));
        }
    };
    let result = run(options, &printer);
    match result.as_ref().err().and_then(TemplateError::stock_line) {
        Some(StockLine::Stdout(line)) => printer.data(line),
        Some(StockLine::Stderr(line)) => printer.say(line),
        None => {}
    }
    finish(&printer, result)
}

fn run(mut options: Options, printer: &Printer) -> Result<ExitStatus, TemplateError> {
    let priority = options.verbose.then_some(Priority::Info);
    log::init(&LogArgs { file: None, priority })?;
    // liblxc would take a 0 for a filled container: `lxc-create … -- --list` must not make an empty one.
    let shown = if options.is_for_container() { ExitStatus::Refused } else { ExitStatus::Done };
    if options.help {
        printer.data(USAGE);
        return Ok(shown);
    }
    if !options.list
        && (options.name.is_empty() || !options.is_for_container() || options.rootfs.as_os_str().is_empty())
    {
        return Err(TemplateError::NoContainer);
    }
    if [options.name.as_str(), &options.path.to_string_lossy(), &options.rootfs.to_string_lossy()]
        .iter()
        .any(|text| text.contains(char::is_control))
    {
        return Err(TemplateError::Control);
    }
    if let Some(status) = ending::guard(options.owner.uid.is_some())? {
        return Ok(status);
    }
    ending::watch(printer)?;
    // Old liblxc leaves the caller's umask.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let placement =
        Placement::of_this_process().map_err(|source| TemplateError::Storage { path: UID_MAP.into(), source })?;
    if placement == Placement::UserNamespace && options.owner.uid.is_none() {
        return Err(TemplateError::NoMap);
    }
    let directories = directories(placement)?;
    let config = Config::load(&directories)?;
    let origin = origin::choose(&options, &config, |name| env::var(name).ok().filter(|value| !value.is_empty()))?;
    if options.server.is_some() {
        login::warn_of_typed(&origin.url, ", and LXC writes it into the container's configuration", printer);
    }
    if origin.trust == Trust::Tls {
        printer.warn(format_args!(
            "no key is pinned for `{}`: nothing but its TLS certificate vouches for what it sends",
            origin.url.host()
        ));
    }
    options.allow_config_keys.extend(config.allow_config_keys);
    let narrator = Narrator::new(printer, Voice::Template);
    let source = Source {
        repository: &Repository::connect(origin)?,
        state: &directories.state,
        cache: &Cache::open(&directories.cache, options.owner, || narrator.waiting(PRUNES))?,
        stock_cache: directories.stock_cache.as_deref(),
        owner: options.owner,
        mode: placement.mode(),
        past_validity: if options.accept_expired_index { PastValidity::Accept } else { PastValidity::Refuse },
        now: SystemTime::now().into(),
        narrator: &narrator,
    };
    if options.list || options.is_interactive() {
        narrator.tell(Step::Index);
        let catalog = source.catalog(None)?;
        if options.list {
            listing::print(&catalog, &options, printer);
            return Ok(shown);
        }
        let is_person = io::stdin().is_terminal();
        listing::choose(&catalog, &mut options, &mut io::stdin().lock(), is_person, printer)?;
    }
    make(&options, &source, printer)
}

fn make(options: &Options, source: &Source<'_>, printer: &Printer) -> Result<ExitStatus, TemplateError> {
    let variant = if options.variant().is_empty() { "default" } else { options.variant() };
    let query: ImageQuery = format!("{}/{}/{}/{variant}", options.dist, options.release, options.arch).parse()?;
    let policy = match options {
        Options { flush_cache: true, .. } => Policy::Flush,
        Options { force_cache: true, .. } => Policy::Force,
        _ => Policy::Fresh,
    };
    let acquired = source.acquire(&query, policy)?;
    let message = container::fill(options, acquired, source)?;
    if let Some(message) = message {
        printer.data("\n---");
        printer.data(terminal::plain(message.trim_end_matches('\n')));
    }
    Ok(ExitStatus::Done)
}

/// Where things are. Whose cache it is depends on who made the namespace, and it is below LXC's own cache: what people
/// do to keep or clear that one does the same for ours. What is remembered of servers is there, too, for a user without a
/// home: then no other place is known to be theirs.
fn directories(placement: Placement) -> Result<Directories, TemplateError> {
    let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    let given = |name: &str| variable(name).map(PathBuf::from);
    let args = DirectoryArgs {
        containers: None,
        config: given("ROOTCELLAR_CONFIG_DIR"),
        state: given("ROOTCELLAR_STATE_DIR"),
        cache: given("ROOTCELLAR_CACHE_DIR"),
    };
    let is_given = args.cache.is_some();
    let is_system = placement != Placement::UserNamespace;
    let has_state =
        is_system || ["ROOTCELLAR_STATE_DIR", "XDG_STATE_HOME", "HOME"].iter().any(|name| variable(name).is_some());
    let mut directories = Directories::of(args, is_system, variable);
    if !is_given {
        directories.cache = directories.stock_cache.as_ref().ok_or(TemplateError::NoHome)?.join("rootcellar");
    }
    if !has_state {
        directories.state = directories.cache.join("state");
    }
    Ok(directories)
}

const UID_MAP: &str = "/proc/self/uid_map";
