//! The network of a container: what `lxc.net.*` asks for, and the connection that is made of it.
//!
//! ```text
//! launcher    makes the network namespace, sends it to the monitor
//! monitor     as root: a pair of interfaces for each `veth`, one end on the bridge, the other in the namespace
//!             as a plain user: pasta(1) or slirp4netns(1), which stays for as long as the container
//! ```
//!
//! The monitor works while the launcher makes the container: the network is there before init is let go.

mod config;
mod interface;
mod netlink;
pub(crate) mod user_mode;
mod veth;

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::error::{Error, chain, failed};
use super::handover;
use super::hooks::NetworkScript;
use super::plan::Plan;
use super::process::Process;
use super::settings::Notice;
use super::signal;

pub(crate) use config::NetworkConfig;
pub use interface::Family;
pub(crate) use interface::{Gateway, Interface, InterfaceName};

/// Which network a container has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Network {
    /// The host's own.
    Host,
    /// One of its own, with the loopback interface and these.
    Own(Vec<Interface>),
}

impl Default for Network {
    fn default() -> Self {
        Self::Own(Vec::new())
    }
}

impl Network {
    /// Whether the launcher has to make a network namespace.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self, Self::Own(_))
    }

    /// The interfaces besides loopback.
    pub(crate) fn interfaces(&self) -> &[Interface] {
        match self {
            Self::Host => &[],
            Self::Own(interfaces) => interfaces,
        }
    }

    /// What of it can be had on this host by this user, with a notice for what cannot.
    pub(crate) fn possible_here(self, notices: &mut Vec<Notice>) -> Self {
        let Self::Own(mut interfaces) = self else { return self };
        let mut notice = |interface: &Interface, key: &str, effect: String| {
            notices.push(Notice { key: format!("lxc.net.{}.{key}", interface.number), effect });
        };
        if rustix::process::geteuid().is_root() {
            interfaces.retain(|interface| {
                let Some(link) = interface.link.as_ref().filter(|link| !veth::has_link(link)) else { return true };
                notice(interface, "link", format!("this host has no bridge `{link}`; the container goes without"));
                false
            });
            return Self::Own(interfaces);
        }
        let programs = user_mode::installed();
        for (place, interface) in interfaces.iter().enumerate() {
            let effect = match programs.first() {
                Some(program) if place == 0 => format!("`{program}` carries it, for a plain user may use no bridge"),
                Some(_) => "a plain user's container has one interface; it is left out".to_owned(),
                None => "a plain user needs `pasta` (package `passt`) or `slirp4netns` for it, and has neither; the \
                         container has only loopback"
                    .to_owned(),
            };
            notice(interface, "type", effect);
        }
        interfaces.truncate(usize::from(!programs.is_empty()));
        Self::Own(interfaces)
    }
}

/// The launcher's side: hands over the namespaces the calling process is in.
pub(crate) fn send(network: &Network, monitor: &UnixStream) -> Result<(), Error> {
    if network.interfaces().is_empty() {
        return Ok(());
    }
    for kind in ["net", "user"] {
        let path = format!("/proc/self/ns/{kind}");
        let send = || handover::send(monitor, b"n", Some(File::open(&path)?.as_fd()));
        send().map_err(failed("hand over", &path))?;
    }
    Ok(())
}

/// A container's network and user namespace.
pub(crate) struct Namespaces {
    net: OwnedFd,
    user: OwnedFd,
}

/// The monitor's side. `None` when the launcher ended before it had any.
pub(crate) fn take(launcher: &UnixStream) -> std::io::Result<Option<Namespaces>> {
    launcher.set_read_timeout(Some(Duration::from_mins(1)))?;
    let receive = || handover::receive(launcher, &mut [0; 1]).map(|(_, fd)| fd);
    Ok(match (receive()?, receive()?) {
        (Some(net), Some(user)) => Some(Namespaces { net, user }),
        _ => None,
    })
}

/// What was made for a container on the host, and goes with it.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    /// The host's ends.
    pairs: Vec<veth::HostEnd>,
    /// The program that carries a plain user's network.
    helper: Option<Process>,
}

impl Connection {
    /// Connects the namespaces as the plan says.
    pub(crate) fn make(plan: &Plan, namespaces: &Namespaces) -> Result<Self, String> {
        let mut connection = Self::default();
        let made = connection.fill(plan, namespaces);
        if made.is_err() {
            connection.end(plan);
        }
        made.map(|()| connection)
    }

    fn fill(&mut self, plan: &Plan, namespaces: &Namespaces) -> Result<(), String> {
        if !rustix::process::geteuid().is_root() {
            let Some(interface) = plan.network.interfaces().first() else { return Ok(()) };
            self.helper = user_mode::start(interface, &namespaces.net, &namespaces.user)?;
            return Ok(());
        }
        for interface in plan.network.interfaces() {
            let end = veth::connect(interface, &namespaces.net)
                .map_err(|error| format!("cannot make the interface `{}`: {}", interface.name, chain(&error)))?;
            let script = NetworkScript::new("up", interface, &end.name);
            self.pairs.push(end);
            if let Some(command) = &interface.script_up {
                plan.hooks.run_network_script(plan, command, &script)?;
            }
        }
        Ok(())
    }

    /// The program that carries a plain user's network.
    pub(crate) fn helper(&self) -> Option<Process> {
        self.helper
    }

    /// Removes what is left of it.
    pub(crate) fn end(&mut self, plan: &Plan) {
        for (interface, end) in plan.network.interfaces().iter().zip(&self.pairs) {
            if let Some(command) = &interface.script_down {
                let script = NetworkScript::new("down", interface, &end.name);
                if let Err(reason) = plan.hooks.run_network_script(plan, command, &script) {
                    tracing::warn!("{reason}");
                }
            }
        }
        for end in self.pairs.drain(..) {
            if let Err(error) = end.delete() {
                tracing::warn!("cannot delete the interface `{}`: {}", end.name, chain(&error));
            }
        }
        if let Some(helper) = self.helper.take() {
            end_helper(helper);
        }
    }
}

/// Ends the program that carries a plain user's network, also for who is not its parent.
pub(crate) fn end_helper(helper: Process) {
    if let Some(pidfd) = helper.open() {
        let _ = signal::send(pidfd, libc::SIGKILL);
    }
    let _ = waitpid(Pid::from_raw(helper.pid), None);
}
