//! Building without being the host's root: the whole program moves into a user namespace, and is root there.
//!
//! ```text
//! builder ──unshare(user)──► builder, with every capability in the namespace, of the host none
//!    └──► sandbox map        stays outside and gives the namespace its ids: newuidmap(1), newgidmap(1)
//! ```
//!
//! The user itself is root inside, so that builds and cache are the user's own; ids from 1 on are the subordinate ids of
//! `/etc/subuid` and `/etc/subgid`, so that a tree has the owners it has in an image. What such a root cannot do: make
//! devices ([`archive::placeholder`] stands for them), set `trusted.*` attributes, rename directories of earlier stages
//! other than by copying them (`build::snapshot`).

use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::process::{Command, Stdio};

use archive::ids::IdMaps;
use clap::ValueEnum;
use rustix::process::{DumpableBehavior, Gid, Uid, set_dumpable_behavior};
use rustix::thread::{UnshareFlags, set_thread_groups, set_thread_res_gid, set_thread_res_uid, unshare_unsafe};
use serde::{Deserialize, Serialize};
use terminal::{Advice, ExitStatus};

use crate::sandbox;

/// Who builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// The host's root.
    Root,
    /// Root of a user namespace.
    Userns,
}

impl Mode {
    /// Root builds as root, everybody else in a user namespace.
    pub(crate) fn usual() -> Self {
        if rustix::process::geteuid().is_root() { Self::Root } else { Self::Userns }
    }
}

/// Which ids a namespace has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ids {
    /// The user's own as 0, the subordinate ones from 1 on.
    Subordinate,
    /// Those of the host, each for itself. Only the host's root can have this.
    Host,
}

/// Whether this process is in a user namespace that is not the host's.
pub(crate) fn is_inside() -> io::Result<bool> {
    Ok(!IdMaps::of_this_process()?.is_identity())
}

/// Moves this process, which must have no second thread yet, into a new user namespace and makes it root there.
#[allow(unsafe_code, reason = "unshare is unsafe for a flag that is not used here")]
pub(crate) fn enter(ids: Ids) -> Result<(), UsernsError> {
    let maps = match ids {
        Ids::Subordinate => [subordinate("subuid", own_id(false))?, subordinate("subgid", own_id(true))?],
        // One less than all: so much differs from the host's own map that it can be told from it.
        Ids::Host => [(); 2].map(|()| format!("0 0 {}", u32::MAX - 1)),
    };
    let mut helper = Command::new("/proc/self/exe")
        .args([sandbox::COMMAND, MAP, &std::process::id().to_string()])
        .args(maps)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    // SAFETY: only `FILES` breaks assumptions about file descriptors between threads.
    let unshared = unsafe { unshare_unsafe(UnshareFlags::NEWUSER) };
    if unshared.is_ok()
        && let Some(mut go) = helper.stdin.take()
    {
        go.write_all(b"!")?;
    }
    let said = helper.wait_with_output()?;
    unshared.map_err(|errno| UsernsError::Refused { reason: errno.to_string() })?;
    if !said.status.success() {
        return Err(UsernsError::NotMapped { reason: String::from_utf8_lossy(&said.stderr).trim().to_owned() });
    }
    set_thread_groups(&[]).map_err(io::Error::from)?;
    set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT).map_err(io::Error::from)?;
    set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).map_err(io::Error::from)?;
    // Otherwise `/proc/self` would belong to the host's root from here on.
    Ok(set_dumpable_behavior(DumpableBehavior::Dumpable).map_err(io::Error::from)?)
}

/// The helper that stays outside: `sandbox map PID UIDS GIDS`. It waits until it is told that the namespace is there.
pub(crate) fn map(arguments: &[String]) -> io::Result<()> {
    let [pid, users, groups] = arguments else { return Err(io::ErrorKind::InvalidInput.into()) };
    let mut word = [0];
    if io::stdin().read(&mut word)? == 0 {
        return Ok(());
    }
    for (file, program, map) in [("uid_map", "newuidmap", users), ("gid_map", "newgidmap", groups)] {
        if let Err(error) = write_map(pid, file, program, map) {
            writeln!(io::stderr(), "{error}")?;
            return Err(error);
        }
    }
    Ok(())
}

fn write_map(pid: &str, file: &str, program: &str, map: &str) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        return fs_err::OpenOptions::new()
            .write(true)
            .open(format!("/proc/{pid}/{file}"))?
            .write_all(map.replace(',', "\n").as_bytes());
    }
    let output = Command::new(program).arg(pid).args(map.split([' ', ','])).output();
    let output = output.map_err(|error| io::Error::new(error.kind(), format!("cannot run `{program}`: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

fn own_id(group: bool) -> u32 {
    if group { rustix::process::getegid().as_raw() } else { rustix::process::geteuid().as_raw() }
}

/// The map of the user's own id and of the ranges in `/etc/subuid` or `/etc/subgid`: `0 1000 1,1 100000 65536`.
fn subordinate(file: &'static str, own: u32) -> Result<String, UsernsError> {
    let name = Command::new("id").arg("-un").output()?.stdout;
    let name = String::from_utf8_lossy(&name).trim().to_owned();
    let uid = rustix::process::geteuid().as_raw();
    let text = fs_err::read_to_string(format!("/etc/{file}")).unwrap_or_default();
    let ranges = ranges(&text, &name, uid);
    let found: u32 = ranges.iter().map(|(_, count)| count).sum();
    if found < LEAST_IDS {
        return Err(UsernsError::TooFewIds { user: name, file, found });
    }
    let mut map = format!("0 {own} 1");
    let mut inside = 1;
    for (start, count) in ranges {
        let _ = write!(map, ",{inside} {start} {count}");
        inside += count;
    }
    Ok(map)
}

/// The ranges of one user, who is known by name or number (subuid(5)).
fn ranges(text: &str, name: &str, uid: u32) -> Vec<(u32, u32)> {
    let uid = uid.to_string();
    let range = |line: &str| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let (start, count) = (fields.next()?.parse::<u32>().ok()?, fields.next()?.parse::<u32>().ok()?);
        let ends = start.checked_add(count).is_some();
        ((owner == name || owner == uid) && count > 0 && ends).then_some((start, count))
    };
    text.lines().filter_map(range).collect()
}

/// Why there is no user namespace.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UsernsError {
    #[error("`{user}` has too few subordinate ids in `/etc/{file}`: expected {LEAST_IDS}, found {found}")]
    TooFewIds { user: String, file: &'static str, found: u32 },
    #[error("the kernel makes no user namespace: {reason}")]
    Refused { reason: String },
    #[error("the user namespace gets no ids: {reason}")]
    NotMapped { reason: String },
    #[error("cannot enter a user namespace")]
    Io(#[from] io::Error),
}

impl Advice for UsernsError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::TooFewIds { user, .. } => Some(format!(
                "as root: `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}`, with numbers that \
                 nobody else has"
            )),
            Self::Refused { .. } => Some(
                "`sysctl user.max_user_namespaces kernel.unprivileged_userns_clone \
                 kernel.apparmor_restrict_unprivileged_userns` shows what forbids it; root builds without"
                    .to_owned(),
            ),
            Self::NotMapped { .. } => Some("install the package `uidmap`".to_owned()),
            Self::Io(_) => None,
        }
    }

    fn exit_status(&self) -> ExitStatus {
        ExitStatus::Failed
    }
}

/// The role of the helper on the hidden command line.
pub(crate) const MAP: &str = "map";
/// Beside the user's own: `nobody` is 65534 in every distribution.
const LEAST_IDS: u32 = 65535;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_the_user_by_name_or_number() {
        let text = "ada:100000:65536\n\n# x\nbob:165536:65536\n1000:300000:10\nada:400000\nada:4294967295:2\nada:1:0\n";
        assert_eq!(ranges(text, "ada", 1000), [(100_000, 65536), (300_000, 10)]);
        assert_eq!(ranges(text, "bob", 7), [(165_536, 65536)]);
        assert_eq!(ranges(text, "eve", 8), []);
    }
}
