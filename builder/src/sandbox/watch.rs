//! Watches what runs in a sandbox, from its process 1.
//!
//! Memory is what processes have written to: anonymous and shared memory, each page counted once (`Pss` of
//! `smaps_rollup`, proc(5)). Control groups would count exactly, but a plain user has none to give, and a killed builder
//! would leave them behind. A single process that grows faster than this looks is stopped by its own limit
//! (`RLIMIT_DATA`). The kernel is told how many processes there may be at most where it has such a number for each
//! process namespace (Linux 6.14).

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{Dir, Mode, OFlags};
use rustix::process::{Resource, Rlimit, setrlimit};

use super::{Event, StepLimits, report};
use crate::limits;

/// Watches every step of one session.
pub(super) struct Watch {
    begun: Arc<Mutex<Option<Instant>>>,
}

impl Watch {
    /// Begins. `/proc` must be that of this process namespace; what scripts do to it later does not matter.
    pub(super) fn start(limits: StepLimits) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let proc = rustix::fs::open("/proc", flags, Mode::empty())?;
        limit_processes();
        if let Some(memory) = limits.memory_bytes {
            let twice = memory.saturating_mul(2);
            setrlimit(Resource::Data, Rlimit { current: Some(twice), maximum: Some(twice) })?;
        }
        let begun = Arc::new(Mutex::new(None));
        let seen = Arc::clone(&begun);
        std::thread::Builder::new().name("watch".to_owned()).spawn(move || {
            loop {
                std::thread::sleep(INTERVAL);
                let since = *seen.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(begun) = since
                    && let Some(event) = judge(&proc, limits, begun)
                {
                    // Everything else here is killed with process 1.
                    let _ = report(&event);
                    std::process::exit(2);
                }
            }
        })?;
        Ok(Self { begun })
    }

    /// A step begins.
    pub(super) fn begin(&self) {
        *self.begun.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// It has ended: from here on nobody is interrupted.
    pub(super) fn end(&self) {
        *self.begun.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// What is too much at this moment, if anything is.
fn judge(proc: &OwnedFd, limits: StepLimits, begun: Instant) -> Option<Event> {
    if limits.timeout.is_some_and(|timeout| begun.elapsed() > timeout) {
        return Some(Event::StepTooLate);
    }
    let processes = processes(proc);
    if processes.len() > limits::PROCESSES {
        return Some(Event::TooManyProcesses);
    }
    let limit = limits.memory_bytes?;
    // The cheap sum counts what parent and child share twice; only when it is too much the dear one decides.
    let sum = |file: &str, keys: &[&str]| processes.iter().map(|pid| field_bytes(proc, pid, file, keys)).sum::<u64>();
    if sum("status", &["RssAnon:", "RssShmem:"]) <= limit {
        return None;
    }
    let found = sum("smaps_rollup", &["Pss_Anon:", "Pss_Shmem:"]);
    (found > limit).then_some(Event::TooMuchMemory(found))
}

fn processes(proc: &OwnedFd) -> Vec<String> {
    let entries = Dir::read_from(proc).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name != "1" && name.bytes().all(|byte| byte.is_ascii_digit())).collect()
}

/// The sum of some fields of a file about a process, which are in KiB; nothing of a process that is gone.
fn field_bytes(proc: &OwnedFd, pid: &str, file: &str, keys: &[&str]) -> u64 {
    let path = format!("{pid}/{file}");
    let opened = rustix::fs::openat(proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let mut text = String::new();
    let read = opened.map(|file| io::Read::read_to_string(&mut fs::File::from(file), &mut text));
    if !matches!(read, Ok(Ok(_))) {
        return 0;
    }
    let lines = text.lines().filter_map(|line| line.split_once(char::is_whitespace));
    let fields = lines.filter(|(key, _)| keys.contains(key));
    let kibibytes = fields.filter_map(|(_, value)| value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kibibytes.sum::<u64>().saturating_mul(1024)
}

/// Lets the kernel refuse to make more processes. Older kernels have one number for the whole machine, which is not ours
/// to change.
fn limit_processes() {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or_default());
    let version = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    if version >= FIRST_WITH_OWN_LIMIT {
        // Where it cannot be set, the watch alone looks after it.
        let _ = fs::write("/proc/sys/kernel/pid_max", (4 * limits::PROCESSES).to_string());
    }
}

const INTERVAL: Duration = Duration::from_millis(25);
const FIRST_WITH_OWN_LIMIT: (u32, u32) = (6, 14);
