//! The terminals a container has beside its console: `/dev/tty1` and so on (`lxc.tty.max`, `lxc.tty.dir`).
//!
//! They and the console are pseudo terminals of the container's own `/dev/pts`. The launcher mounts that, opens them and
//! hands the master sides to the monitor; init binds all to their places.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use rustix::termios::{Winsize, tcsetwinsize};
use serde::{Deserialize, Serialize};

use super::error::{Error, failed};
use super::handover;
use super::pty::Pty;

/// What the configuration says of terminals.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ttys {
    /// How many there are.
    pub(crate) max: u32,
    /// A directory below `/dev` for them beside `/dev` itself, where they are expected. Empty when there is none.
    pub(crate) directory: String,
}

impl Ttys {
    /// Tells systemd's getty generator where to offer a login ("Container Interface"). They are the first of
    /// their `/dev/pts`.
    pub(crate) fn environment(&self) -> Option<String> {
        let names: Vec<String> = (0..self.max).map(|number| format!("pts/{number}")).collect();
        (!names.is_empty()).then(|| format!("container_ttys={}", names.join(" ")))
    }
}

/// The container's `/dev/pts` as the launcher has laid it out, with the terminals and the console, which is the last.
#[derive(Debug, Default)]
pub(crate) struct Laid {
    /// Where the file system is mounted, in the launcher's own mount namespace.
    pub(crate) devpts: PathBuf,
    /// The file of each terminal in it, and all its places in the container.
    pub(crate) files: Vec<(PathBuf, Vec<PathBuf>)>,
    masters: Vec<OwnedFd>,
}

impl Laid {
    /// Hands the master sides to the monitor.
    pub(crate) fn send(&mut self, monitor: &UnixStream) -> io::Result<()> {
        self.masters.drain(..).try_for_each(|master| handover::send(monitor, b"t", Some(master.as_fd())))
    }
}

/// Mounts a file system for pseudo terminals on a new directory, and opens the terminals. Only in a mount namespace that
/// ends with the calling process.
pub(crate) fn lay(ttys: &Ttys, directory: &Path, options: &str) -> Result<Laid, Error> {
    std::fs::create_dir_all(directory).map_err(failed("create", directory))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    mount(Some("devpts"), directory, Some("devpts"), flags, Some(options))
        .map_err(failed("mount devpts on", directory))?;
    let mut laid = Laid { devpts: directory.to_owned(), files: Vec::new(), masters: Vec::new() };
    let dev = Path::new("/dev");
    let terminals = (1..=ttys.max).map(|number| {
        let name = format!("tty{number}");
        let beside = (!ttys.directory.is_empty()).then(|| dev.join(&ttys.directory).join(&name));
        std::iter::once(dev.join(name)).chain(beside).collect()
    });
    for places in terminals.chain([vec![dev.join("console")]]) {
        let pty = Pty::open_in(directory).map_err(failed("open a terminal in", directory))?;
        let name = rustix::pty::ptsname(&pty.master, Vec::new()).map_err(failed("name a terminal in", directory))?;
        let name = name.to_string_lossy().rsplit('/').next().unwrap_or_default().to_owned();
        laid.files.push((directory.join(name), places));
        laid.masters.push(pty.master);
    }
    Ok(laid)
}

/// The monitor's side: takes the master sides that were sent, of the console and of the terminals.
pub(crate) fn take(ttys: &Ttys, launcher: &UnixStream) -> io::Result<(Pty, Vec<Pty>)> {
    launcher.set_read_timeout(Some(std::time::Duration::from_secs(10)))?;
    let missing = || io::Error::other("the launcher sent no terminal");
    let take =
        |_| handover::receive(launcher, &mut [0; 1]).and_then(|(_, fd): (_, Option<OwnedFd>)| fd.ok_or_else(missing));
    let mut open = |number| take(number).and_then(Pty::of_master);
    let terminals = (0..ttys.max).map(&mut open).collect::<io::Result<_>>()?;
    let console = open(ttys.max)?;
    let _ = tcsetwinsize(&console.master, Winsize { ws_row: 25, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 });
    Ok((console, terminals))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_is_told_of_each_terminal_and_of_none() {
        let ttys = Ttys { max: 3, directory: String::new() };
        assert_eq!(ttys.environment().unwrap(), "container_ttys=pts/0 pts/1 pts/2");
        assert_eq!(Ttys::default().environment(), None);
    }
}
