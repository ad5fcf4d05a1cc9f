//! `lxc.net.N.type = veth`: two interfaces that are two ends of one cable.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::interface::{Gateway, Interface, InterfaceName, hardware_address, random_address};
use super::netlink::{Netlink, Pair};

/// The end that stays on the host.
#[derive(Debug)]
pub(crate) struct HostEnd {
    pub(crate) name: InterfaceName,
    index: u32,
}

impl HostEnd {
    /// Deletes both ends. The kernel has done so itself when the namespace of the other end is gone, but takes its
    /// time: a container that reboots wants the name back.
    pub(crate) fn delete(&self) -> io::Result<()> {
        match Netlink::open()?.delete(self.index) {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
            result => result,
        }
    }
}

/// Whether the host has an interface of this name.
pub(crate) fn has_link(name: &InterfaceName) -> bool {
    Netlink::open().and_then(|mut netlink| netlink.index(name)).is_ok()
}

/// Makes a pair and sets up its end in the namespace. Only for root, and for a process with one thread.
pub(crate) fn connect(interface: &Interface, namespace: &OwnedFd) -> io::Result<HostEnd> {
    let mut host = Netlink::open()?;
    let bridge = match &interface.link {
        None => None,
        Some(link) => Some(host.index(link).map_err(|error| no_bridge(link, &error))?),
    };
    let inner_address = match &interface.hardware {
        None => Some(random_address(LOCALLY_ADMINISTERED)?),
        Some(template) => hardware_address(template)?,
    };
    let name = match &interface.pair {
        Some(name) => name.clone(),
        None => InterfaceName::random()?,
    };
    host.make_pair(&Pair {
        outer: (&name, random_address(PRIVATE)?),
        bridge,
        inner: (&interface.name, inner_address),
        namespace,
        mtu: interface.mtu,
    })
    .map_err(|error| refused(interface, &name, error))?;
    let end = HostEnd { index: host.index(&name)?, name };
    let mut set_up = || {
        let mut gateways = Vec::new();
        for (family, gateway) in &interface.gateways {
            let address = match (gateway, bridge) {
                (Gateway::Address(address), _) => Some(*address),
                (Gateway::Device, _) => None,
                (Gateway::OfLink, Some(bridge)) => Some(host.first_address(bridge, *family)?.ok_or_else(no_gateway)?),
                (Gateway::OfLink, None) => return Err(no_gateway()),
            };
            gateways.push((*family, address));
        }
        inside(namespace, || {
            let mut inner = Netlink::open()?;
            let index = inner.index(&interface.name)?;
            for address in &interface.addresses {
                inner.add_address(index, address)?;
            }
            if !interface.is_up {
                return Ok(());
            }
            inner.bring_up(index)?;
            for (family, gateway) in gateways {
                match inner.add_default_route(index, family, gateway) {
                    // The gateway is in none of the container's networks: it is behind the interface all the same.
                    Err(error) if is_unreachable(&error) && gateway.is_some() => {
                        gateway.map_or(Ok(()), |address| inner.add_host_route(index, address))?;
                        inner.add_default_route(index, family, gateway)?;
                    }
                    result => result?,
                }
            }
            Ok(())
        })
    };
    match set_up() {
        Ok(()) => Ok(end),
        Err(error) => {
            let _ = end.delete();
            Err(error)
        }
    }
}

/// Does something in another network namespace.
fn inside<T>(namespace: &OwnedFd, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let own = File::open("/proc/self/ns/net")?;
    let kind = Some(LinkNameSpaceType::Network);
    move_into_link_name_space(namespace.as_fd(), kind)?;
    let result = work();
    move_into_link_name_space(own.as_fd(), kind)?;
    result
}

fn is_unreachable(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EINVAL))
}

fn no_bridge(link: &InterfaceName, error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ENODEV) => io::Error::other(format!("this host has no bridge `{link}`")),
        _ => io::Error::new(error.kind(), format!("cannot find the bridge `{link}`: {error}")),
    }
}

fn no_gateway() -> io::Error {
    io::Error::other("the gateway is `auto`, and the bridge has no address")
}

fn refused(interface: &Interface, name: &InterfaceName, error: io::Error) -> io::Error {
    match (error.raw_os_error(), &interface.link) {
        (Some(libc::EEXIST), _) => io::Error::other(format!("this host has an interface `{name}` already")),
        (Some(libc::EOPNOTSUPP), Some(link)) => io::Error::other(format!("`{link}` is no bridge")),
        _ => error,
    }
}

/// First bytes of hardware addresses that nobody sold, see [`random_address`].
const PRIVATE: u8 = 0xfe;
const LOCALLY_ADMINISTERED: u8 = 0x02;
