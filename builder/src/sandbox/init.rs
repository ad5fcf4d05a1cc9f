//! Process 1 of a sandbox.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Signal, set_parent_process_death_signal};

use super::aside::Aside;
use super::watch::Watch;
use super::{Event, Orders, Run, Session, Step, loopback, mounts, report};

/// Reads the session from standard input, runs it, and tells what happened on standard output.
pub(super) fn run() -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut document = Vec::new();
    io::stdin().read_to_end(&mut document)?;
    let Orders { session, network, limits } = serde_json::from_slice(&document)?;
    if !network {
        // Few programs miss it.
        let _ = loopback::bring_up();
    }
    let undo = match mounts::prepare(session.root.as_deref(), &session.binds, limits.memory_bytes) {
        Ok(undo) => undo,
        Err(error) => return report(&Event::NotPrepared(error.to_string())),
    };
    for (path, content) in &session.files {
        std::fs::write(path, content)?;
    }
    let watch = match Watch::start(limits) {
        Ok(watch) => watch,
        Err(error) => return report(&Event::NotPrepared(error.to_string())),
    };
    let outcome = run_steps(&session, &watch, undo.aside.as_ref());
    for path in session.files.keys() {
        let _ = std::fs::remove_file(path);
    }
    undo.run();
    report(&outcome?)
}

fn run_steps(session: &Session, watch: &Watch, aside: Option<&Aside>) -> io::Result<Event> {
    let nothing = File::open("/dev/null")?;
    aside.map_or(Ok(()), Aside::step)?;
    let outcome = run_each(session, watch, &nothing, aside);
    aside.map_or(Ok(()), Aside::back)?;
    outcome
}

fn run_each(session: &Session, watch: &Watch, nothing: &File, aside: Option<&Aside>) -> io::Result<Event> {
    for (index, step) in session.steps.iter().enumerate() {
        report(&Event::Started(index))?;
        watch.begin();
        let done = run_step(session, step, nothing, aside);
        watch.end();
        if let Err(reason) = done {
            return Ok(Event::Failed(reason));
        }
    }
    Ok(Event::Finished)
}

fn run_step(session: &Session, step: &Step, nothing: &File, aside: Option<&Aside>) -> Result<(), String> {
    let (mut command, _script) = match &step.run {
        Run::Command(arguments) => {
            let (program, rest) = arguments.split_first().ok_or("there is no program to run")?;
            let mut command = Command::new(program);
            command.args(rest);
            (command, None)
        }
        Run::Script(text) => {
            let script = in_memory(text).map_err(|error| format!("cannot hold the script in memory: {error}"))?;
            (Command::new(format!("/proc/self/fd/{}", script.as_raw_fd())), Some(script))
        }
    };
    if let Some(aside) = aside {
        aside.leave_behind(&mut command).map_err(|error| error.to_string())?;
    }
    let [input, output, errors] = streams(session, nothing).map_err(|error| error.to_string())?;
    let status = command
        .env_clear()
        .envs(&session.environment)
        .stdin(input)
        .stdout(output)
        .stderr(errors)
        .status()
        .map_err(|error| not_started(&step.run, &error))?;
    verdict(status)
}

/// Where a step reads from and writes to. It reads `nothing` unless the session has a terminal.
#[allow(unsafe_code, reason = "files are inherited by their numbers")]
fn streams(session: &Session, nothing: &File) -> io::Result<[Stdio; 3]> {
    let Some(numbers) = session.terminal else {
        let log = || io::stderr().as_fd().try_clone_to_owned().map(Stdio::from);
        return Ok([nothing.try_clone()?.into(), log()?, log()?]);
    };
    let inherited = |number: i32| {
        // SAFETY: the builder opened these for its children and nobody closes them.
        let file = unsafe { BorrowedFd::borrow_raw(number) };
        file.try_clone_to_owned().map(Stdio::from)
    };
    let [input, output, errors] = numbers.map(inherited);
    Ok([input?, output?, errors?])
}

/// The script as a file without a name. It must survive `exec`: the interpreter opens it by its number.
fn in_memory(text: &str) -> io::Result<OwnedFd> {
    let file = memfd_create("action", MemfdFlags::EXEC).or_else(|_| memfd_create("action", MemfdFlags::empty()))?;
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest)?;
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(file)
}

fn not_started(run: &Run, error: &io::Error) -> String {
    let missing = error.kind() == io::ErrorKind::NotFound;
    match run {
        Run::Script(text) if missing => {
            let line = text.lines().next().unwrap_or_default();
            format!("its interpreter `{}` is not in the image", line.trim_start_matches("#!").trim())
        }
        Run::Command(arguments) if missing => {
            format!("there is no program `{}`", arguments.first().map_or("", String::as_str))
        }
        Run::Script(_) | Run::Command(_) => format!("it cannot be executed: {error}"),
    }
}

fn verdict(status: ExitStatus) -> Result<(), String> {
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err(format!("exit status {code}")),
        (None, signal) => Err(format!("killed by signal {}", signal.unwrap_or_default())),
    }
}
