//! The monitor: one process per running container, its own session, alive as long as the container.
//!
//! It is the parent that init and stray processes fall back to (`PR_SET_CHILD_SUBREAPER`), holds the console, records
//! how init ended, starts the container again when it asked for a reboot, and cleans up behind it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::termios::{tcgetwinsize, tcsetwinsize};
use serde::{Deserialize, Serialize};
use terminal::ExitStatus;

use super::cgroup::{Cgroup, CreateError};
use super::console::ConsoleLog;
use super::error::{Error, chain, failed};
use super::executable::Executable;
use super::halt;
use super::hooks::Moment;
use super::launcher::Launch;
use super::network::Connection;
use super::plan::Plan;
use super::process::Process;
use super::relay::{RawMode, Relay, write_all};
use super::signal;
use super::state::{End, Record, StateDir};
use super::terminals::Terminals;
use super::{network, sys, ttys, unmounted};

/// What the monitor tells who started it, one line of JSON on its standard output.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Report {
    /// The container runs; this is the pid of its init.
    Started(i32),
    /// It does not, for this reason.
    Failed(String),
}

/// Runs the container in the background: the calling process ends at once, the monitor lives on.
pub(crate) fn run_detached(state: &Path) -> Result<ExitStatus, Error> {
    if sys::fork(sys::require_single_thread()?)?.is_some() {
        sys::exit_child(0);
    }
    rustix::process::setsid().map_err(failed("make a session for", state))?;
    let mut monitor = Monitor::new(state, false)?;
    let mut tell = |report: &Report| {
        let mut line = serde_json::to_vec(report).unwrap_or_default();
        line.push(b'\n');
        write_all(rustix::stdio::stdout(), &line);
        // Who reads the report waits for the end of it.
        let _ = File::open("/dev/null").map(|null| rustix::stdio::dup2_stdout(&null));
    };
    monitor.run(&mut tell).map(|_| ExitStatus::Done)
}

/// Runs the container in the foreground: its console is our standard input and output.
pub(crate) fn run_attached(state: &Path) -> Result<ExitStatus, Error> {
    let mut monitor = Monitor::new(state, true)?;
    let mut failure = None;
    let end = monitor.run(&mut |report| {
        if let Report::Failed(reason) = report {
            failure = Some(reason.clone());
        }
    })?;
    match (failure, end) {
        (Some(reason), _) => Err(Error::Start { name: monitor.plan.name, reason }),
        (None, End::Killed(HALT)) => Ok(ExitStatus::Done),
        (None, end) => Ok(ExitStatus::Code(end.code())),
    }
}

struct Monitor {
    state: StateDir,
    plan: Plan,
    cgroup: Cgroup,
    record: Record,
    signals: SignalFd,
    connection: Connection,
    is_attached: bool,
}

impl Monitor {
    fn new(state: &Path, is_attached: bool) -> Result<Self, Error> {
        let alone = sys::require_single_thread()?;
        let path = state;
        let state = StateDir::at(path).map_err(failed("use the state directory", path))?;
        std::env::set_current_dir(path).map_err(failed("enter", path))?;
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .map_err(failed("become the parent of orphans for", path))?;
        let record = Record::new().map_err(failed("read", "/proc/self"))?;
        state.write_record(&record)?;
        unmounted::mount_here(alone)?;
        let (plan, cgroup) = (state.plan()?, Cgroup::of(&state)?);
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        let mut mask = SigSet::empty();
        for signal in
            [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGWINCH]
        {
            mask.add(signal);
        }
        mask.thread_block().map_err(failed("block signals in", "/proc/self"))?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .map_err(failed("read signals of", "/proc/self"))?;
        Ok(Self { state, plan, cgroup, record, signals, connection: Connection::default(), is_attached })
    }

    fn run(&mut self, tell: &mut dyn FnMut(&Report)) -> Result<End, Error> {
        let mut is_first = true;
        let end = loop {
            let (init, mut terminals) = match self.launch() {
                Ok(launched) => launched,
                Err(reason) => {
                    tracing::error!("{reason}");
                    self.disconnect("stop");
                    self.clean(None)?;
                    if is_first {
                        tell(&Report::Failed(reason));
                        return Ok(End::Exited(1));
                    }
                    return Err(Error::Start { name: self.plan.name.clone(), reason });
                }
            };
            if is_first {
                tell(&Report::Started(init.pid));
                is_first = false;
            }
            let end = self.watch(init, &mut terminals)?;
            let reboots = end == End::Killed(REBOOT) && !self.is_stopping();
            self.run_hooks_of_the_end(Moment::Stop, if reboots { "reboot" } else { "stop" });
            self.disconnect(if reboots { "reboot" } else { "stop" });
            if !reboots {
                break end;
            }
            tracing::info!("The container asked for a reboot");
            self.cgroup.remove(&self.plan.idmap)?;
            self.record.init = None;
            self.record.is_started = false;
        };
        // Init that ended badly of its own accord leaves its last words behind.
        let is_good = matches!(end, End::Exited(0) | End::Killed(HALT)) || self.is_stopping() || self.is_attached;
        self.clean((!is_good).then_some(end))?;
        Ok(end)
    }

    /// Takes the container off the network.
    fn disconnect(&mut self, target: &str) {
        std::mem::take(&mut self.connection).end(&self.plan);
        self.record.helper = None;
        self.run_hooks_of_the_end(Moment::PostStop, target);
    }

    /// Whatever they say, the container has ended.
    fn run_hooks_of_the_end(&self, moment: Moment, target: &str) {
        let target = [("LXC_TARGET", target.to_owned())];
        if let Err(reason) = self.plan.hooks.run(&self.plan.subject(), moment, &target) {
            tracing::warn!("{reason}");
        }
    }

    /// Makes the container and lets its init go.
    fn launch(&mut self) -> Result<(Process, Terminals), String> {
        self.plan.hooks.run(&self.plan.subject(), Moment::PreStart, &[])?;
        let (mut command, _copy) =
            Executable::default().protected_command(&self.plan.idmap).map_err(|error| chain(&error))?;
        let (from_launcher, to_monitor) = UnixStream::pair().map_err(|error| chain(&error))?;
        rustix::io::fcntl_setfd(&to_monitor, rustix::io::FdFlags::empty()).map_err(|error| chain(&error))?;
        command.arg("launch").arg(self.state.path()).arg(to_monitor.as_raw_fd().to_string());
        let mut launcher = Launcher::spawn(command, &self.state.file("monitor.log"))?;
        drop(to_monitor);
        let outcome = (|| {
            // The launcher starts meanwhile.
            self.make_cgroups()?;
            launcher.say_go()?;
            if !self.plan.network.interfaces().is_empty()
                && let Some(namespaces) = network::take(&from_launcher).map_err(|error| chain(&error))?
            {
                self.connection = Connection::make(&self.plan, &namespaces)?;
            }
            let pid = launcher.init()?;
            let init = Process::find(pid).ok_or("its init died before it was let go")?;
            let (console, ttys) = ttys::take(&self.plan.ttys, &from_launcher).map_err(|error| chain(&error))?;
            let terminals = Terminals::listen(console, ttys).map_err(|error| chain(&error))?;
            if self.is_attached
                && let Ok(size) = tcgetwinsize(rustix::stdio::stdin())
            {
                let _ = tcsetwinsize(&terminals.console().master, size);
            }
            self.record.init = Some(init);
            self.record.helper = self.connection.helper();
            let more = [("LXC_PID", pid.to_string())];
            self.plan.hooks.run(&self.plan.subject(), Moment::StartHost, &more)?;
            self.state.write_record(&self.record).map_err(|error| chain(&error))?;
            launcher.say_go()?;
            launcher.executed()?;
            // Not before: who enters the container could reach into an init that still has what it must give up.
            self.record.is_started = true;
            self.state.write_record(&self.record).map_err(|error| chain(&error))?;
            Ok((init, terminals))
        })();
        launcher.end();
        outcome
    }

    fn make_cgroups(&self) -> Result<(), String> {
        self.cgroup.create(&self.plan.limits).map_err(|error| match error {
            CreateError::System(error) => chain(&error),
            CreateError::Limit(problem) => problem.to_string(),
        })?;
        if self.plan.idmap.is_empty() {
            return Ok(());
        }
        self.cgroup.give_to(&self.plan.idmap).map_err(|error| chain(&error))
    }

    /// Serves the console and the terminals until init has ended.
    fn watch(&mut self, init: Process, terminals: &mut Terminals) -> Result<End, Error> {
        let reads_stdin = self.is_attached;
        let _raw = if self.is_attached { RawMode::of_stdin().ok().flatten() } else { None };
        let mut log = ConsoleLog::open(&self.state.file("console.log"))
            .map_err(failed("open", self.state.file("console.log")))?;
        let is_attached = self.is_attached;
        let mut keep = |bytes: &[u8]| {
            log.add(bytes);
            if is_attached {
                write_all(rustix::stdio::stdout(), bytes);
            }
        };
        let master = terminals.console().master.try_clone().map_err(failed("use the console of", self.state.path()))?;
        let mut relay =
            Relay::new(Some(master), reads_stdin).map_err(failed("use the console of", self.state.path()))?;
        if self.is_attached {
            relay.copy_size(rustix::stdio::stdin());
        }
        let mut asked = false;
        loop {
            let mut fds = vec![self.signals.as_fd()];
            fds.extend(terminals.fds());
            let mut sink = |bytes: &[u8]| {
                keep(bytes);
                terminals.show(bytes);
            };
            let ready = relay.wait(&fds, None, &mut sink).map_err(failed("wait for", "/proc/self"))?;
            terminals.serve(ready.get(1..).unwrap_or_default());
            while let Ok(Some(info)) = self.signals.read_signal() {
                match i32::try_from(info.ssi_signo) {
                    Ok(libc::SIGCHLD) => {}
                    Ok(libc::SIGWINCH) => relay.copy_size(rustix::stdio::stdin()),
                    _ => {
                        self.pass_on(init, asked);
                        asked = true;
                    }
                }
            }
            if let Some(end) = reap(init) {
                relay.drain(&mut |bytes| {
                    keep(bytes);
                    terminals.show(bytes);
                });
                return Ok(end);
            }
        }
    }

    /// A monitor that is told to end halts its container first, and kills it when told again.
    fn pass_on(&self, init: Process, was_asked: bool) {
        self.mark_stopping();
        let signal = if was_asked { libc::SIGKILL } else { halt::choose(&self.plan, init).unwrap_or(libc::SIGKILL) };
        if let Some(pidfd) = init.open() {
            let _ = signal::send(pidfd, signal);
        }
        let _ = self.cgroup.thaw();
    }

    fn mark_stopping(&self) {
        let _ = std::fs::write(self.state.file(STOPPING), "");
    }

    fn is_stopping(&self) -> bool {
        self.state.file(STOPPING).exists()
    }

    fn clean(&mut self, end: Option<End>) -> Result<(), Error> {
        self.cgroup.remove(&self.plan.idmap)?;
        match end {
            None => self.state.remove(),
            Some(end) => {
                self.record.end = Some(end);
                self.state.write_record(&self.record)
            }
        }
    }
}

/// Collects every child that has ended, and says how `init` did if it is among them.
fn reap(init: Process) -> Option<End> {
    let mut end = None;
    loop {
        match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, status)) if pid.as_raw() == init.pid => end = Some(End::Exited(status)),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid.as_raw() == init.pid => {
                end = Some(End::Killed(signal as i32));
            }
            Ok(WaitStatus::StillAlive) | Err(_) => return end,
            Ok(_) => {}
        }
    }
}

struct Launcher {
    pid: Pid,
    words: Option<ChildStdin>,
    reports: BufReader<std::process::ChildStdout>,
}

impl Launcher {
    fn spawn(mut command: Command, log: &Path) -> Result<Self, String> {
        let stderr = File::options().create(true).append(true).open(log).map_err(|error| chain(&error))?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().map_err(|error| format!("cannot run the launcher: {error}"))?;
        let reports = child.stdout.take().ok_or("the launcher has no output")?;
        Ok(Self {
            pid: Pid::from_raw(child.id().cast_signed()),
            words: child.stdin.take(),
            reports: BufReader::new(reports),
        })
    }

    /// The pid of init, when that waits to be let go. Launcher and init report in any order.
    fn init(&mut self) -> Result<i32, String> {
        let (mut pid, mut is_ready) = (None, false);
        loop {
            match self.report()? {
                Some(Launch::Init(number)) => pid = Some(number),
                Some(Launch::Ready) => is_ready = true,
                Some(Launch::Failed(reason)) => return Err(reason),
                None => return Err("it ended without a word before it was let go".to_owned()),
            }
            if let (Some(pid), true) = (pid, is_ready) {
                return Ok(pid);
            }
        }
    }

    /// Returns when init has become the container's program.
    fn executed(&mut self) -> Result<(), String> {
        self.report().map(drop)
    }

    /// The next report. `None` at their end.
    fn report(&mut self) -> Result<Option<Launch>, String> {
        let mut line = String::new();
        let _ = self.reports.by_ref().take(REPORT_BYTES).read_line(&mut line);
        match serde_json::from_str(&line) {
            Ok(Launch::Failed(reason)) => Err(reason),
            Ok(launch) => Ok(Some(launch)),
            Err(_) => Ok(None),
        }
    }

    fn say_go(&mut self) -> Result<(), String> {
        let words = self.words.as_mut().ok_or("the launcher does not listen")?;
        // One that does not listen has said why.
        match words.write_all(b"!") {
            Ok(()) => Ok(()),
            Err(error) => self.report().and(Err(format!("the launcher does not listen: {error}"))),
        }
    }

    /// Without a word to go, launcher and init end when they lose their input.
    fn end(mut self) {
        self.words = None;
        let _ = waitpid(self.pid, None);
    }
}

/// The file that tells the monitor that the end of the container is wanted.
pub(crate) const STOPPING: &str = "stopping";
/// How the kernel ends the init of a pid namespace that halts or powers off (reboot(2)).
const HALT: i32 = libc::SIGINT;
/// And one that reboots.
const REBOOT: i32 = libc::SIGHUP;
const REPORT_BYTES: u64 = 64 * 1024;
