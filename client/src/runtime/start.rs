//! Starting a container.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};

use super::Container;
use super::config::{self, Item, ReadError};
use super::error::{Error, failed};
use super::hierarchy::Hierarchies;
use super::lock::Lock;
use super::monitor::Report;
use super::plan::Plan;
use super::settings::{Notice, Settings};
use super::state::Record;

/// How to start a container.
#[derive(Clone, Debug, Default)]
pub struct StartOptions {
    /// Run this in place of the configured init.
    pub command: Vec<String>,
}

/// A container that was started.
#[derive(Clone, Debug)]
pub struct Started {
    /// The pid of its init in the host's pid namespace.
    pub pid: i32,
    /// What its configuration asks for and does not get.
    pub notices: Vec<Notice>,
}

pub(crate) fn detached(container: &Container, options: &StartOptions) -> Result<Started, Error> {
    let (_lock, notices) = prepare(container, options)?;
    let path = container.state.file("monitor.log");
    let log = OpenOptions::new().create(true).append(true).mode(0o600).open(&path).map_err(failed("open", path))?;
    let mut command = monitor(container);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    let failure = |reason: String| Error::Start { name: container.name.to_string(), reason };
    let mut child = command.spawn().map_err(|error| failure(format!("cannot run the monitor: {error}")))?;
    let mut report = String::new();
    if let Some(stdout) = child.stdout.take() {
        let _ = stdout.take(REPORT_BYTES).read_to_string(&mut report);
    }
    let _ = child.wait();
    match serde_json::from_str(report.lines().next().unwrap_or_default()) {
        Ok(Report::Started(pid)) => Ok(Started { pid, notices }),
        Ok(Report::Failed(reason)) => Err(failure(reason)),
        Err(_) => {
            let log = std::fs::read_to_string(container.state.file("monitor.log")).unwrap_or_default();
            let last = log.lines().last().unwrap_or("it left no word").to_owned();
            container.clean()?;
            Err(failure(format!("the monitor ended: {last}")))
        }
    }
}

pub(crate) fn in_place(container: &Container, options: &StartOptions, notice: impl FnMut(&Notice)) -> Error {
    use std::os::unix::process::CommandExt;
    let prepared = prepare(container, options).and_then(|(lock, notices)| {
        // The process and its start time stay the same through exec: from here on the container has its monitor.
        let record = Record::new().map_err(failed("read", "/proc/self"))?;
        container.state.write_record(&record)?;
        Ok((lock, notices))
    });
    match prepared {
        Err(error) => error,
        Ok((_lock, notices)) => {
            notices.iter().for_each(notice);
            failed("execute", "/proc/self/exe")(monitor(container).arg("--attached").exec())
        }
    }
}

fn monitor(container: &Container) -> Command {
    let mut command = container.executable.command();
    command.arg("monitor").arg(container.state.path());
    command
}

/// Works out the plan and makes a fresh state directory for it.
fn prepare(container: &Container, options: &StartOptions) -> Result<(Lock, Vec<Notice>), Error> {
    let lock = Lock::take(container)?;
    container.refuse_if_running()?;
    container.finish_restore()?;
    let hierarchies = Hierarchies::of_caller().map_err(failed("read", "/proc/self/mountinfo"))?;
    let (plan, notices) = plan(container, options, &hierarchies)?;
    if !rustix::process::geteuid().is_root() && plan.idmap.is_empty() {
        return Err(Error::NotRoot { name: container.name.to_string() });
    }
    container.clean()?;
    container.state.create()?;
    container.state.write_plan(&plan)?;
    if !rustix::process::geteuid().is_root() {
        container.state.write_hierarchies(&hierarchies)?;
    }
    Ok((lock, notices))
}

fn plan(
    container: &Container,
    options: &StartOptions,
    hierarchies: &Hierarchies,
) -> Result<(Plan, Vec<Notice>), Error> {
    let name = container.name.to_string();
    let file = container.directory().join("config");
    let wrong = |file, problem| Error::Config { name: name.clone(), file, problem };
    let is_root = rustix::process::geteuid().is_root();
    let mut settings = settings(container)?;
    let (limits, unkept) = settings.limits(hierarchies);
    let mut notices = std::mem::take(&mut settings.notices);
    notices.extend(unkept);
    settings.network = std::mem::take(&mut settings.network).possible_here(&mut notices);
    let may_idmap = is_root && !settings.idmap.is_empty();
    if !may_idmap && settings.rootfs_options.idmap == Some(true) {
        let effect = "owners are not mapped: that is for containers with `lxc.idmap` that root starts".to_owned();
        notices.push(Notice { key: "lxc.rootfs.options".to_owned(), effect });
    }
    let plan =
        Plan::new(&name, &file, settings, limits, options.command.clone()).map_err(|problem| wrong(file, problem))?;
    Ok((plan, notices))
}

/// What the container's configuration asks for.
pub(crate) fn settings(container: &Container) -> Result<Settings, Error> {
    let file = container.directory().join("config");
    let wrong = |problem| Error::Config { name: container.name.to_string(), file, problem };
    Settings::new(&items(container)?).map_err(wrong)
}

/// The container's configuration with all it includes.
pub(crate) fn items(container: &Container) -> Result<Vec<Item>, Error> {
    let file = container.directory().join("config");
    let wrong = |file, problem| Error::Config { name: container.name.to_string(), file, problem };
    config::read(&file).map_err(|error| match error {
        ReadError::Io(path, source) => failed("read", path)(source),
        ReadError::Problem(path, problem) => wrong(path, problem),
    })
}

const REPORT_BYTES: u64 = 64 * 1024;
