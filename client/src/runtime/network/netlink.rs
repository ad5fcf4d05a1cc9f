//! Requests to the kernel about interfaces, addresses and routes (rtnetlink(7)).

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkHeader, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};

use super::interface::{Address, Family, InterfaceName};

/// A connection to the network namespace that the calling thread was in when it was opened.
pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
}

/// A pair to make.
pub(crate) struct Pair<'a> {
    /// The host's end, and its hardware address.
    pub(crate) outer: (&'a InterfaceName, [u8; 6]),
    /// The bridge to attach it to.
    pub(crate) bridge: Option<u32>,
    /// The container's end and its hardware address.
    pub(crate) inner: (&'a InterfaceName, Option<[u8; 6]>),
    /// Where the container's end goes.
    pub(crate) namespace: &'a OwnedFd,
    pub(crate) mtu: Option<u32>,
}

impl Netlink {
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        Ok(Self { socket, sequence: 0 })
    }

    /// The number of an interface.
    pub(crate) fn index(&mut self, name: &InterfaceName) -> io::Result<u32> {
        let mut link = LinkMessage::default();
        link.attributes.push(LinkAttribute::IfName(name.as_str().to_owned()));
        let answers = self.request(RouteNetlinkMessage::GetLink(link), NLM_F_ACK)?;
        let index = answers.into_iter().find_map(|answer| match answer {
            RouteNetlinkMessage::NewLink(link) => Some(link.header.index),
            _ => None,
        });
        index.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Makes a pair, the host's end of which is up.
    pub(crate) fn make_pair(&mut self, pair: &Pair<'_>) -> io::Result<()> {
        let end = |name: &InterfaceName, address: Option<[u8; 6]>| {
            let mut link = LinkMessage::default();
            link.attributes.push(LinkAttribute::IfName(name.as_str().to_owned()));
            link.attributes.extend(address.map(|address| LinkAttribute::Address(address.to_vec())));
            link.attributes.extend(pair.mtu.map(LinkAttribute::Mtu));
            link
        };
        let mut inner = end(pair.inner.0, pair.inner.1);
        inner.attributes.push(LinkAttribute::NetNsFd(pair.namespace.as_raw_fd()));
        let mut outer = end(pair.outer.0, Some(pair.outer.1));
        outer.header = up(0);
        outer.attributes.extend(pair.bridge.map(LinkAttribute::Controller));
        let data = LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(inner)));
        outer.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth), data]));
        self.tell(RouteNetlinkMessage::NewLink(outer), NLM_F_CREATE | NLM_F_EXCL)
    }

    pub(crate) fn bring_up(&mut self, index: u32) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.header = up(index);
        self.tell(RouteNetlinkMessage::SetLink(link), 0)
    }

    pub(crate) fn delete(&mut self, index: u32) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        self.tell(RouteNetlinkMessage::DelLink(link), 0)
    }

    pub(crate) fn add_address(&mut self, index: u32, address: &Address) -> io::Result<()> {
        let mut message = AddressMessage::default();
        message.header.family = family(Family::of(address.ip));
        message.header.prefix_len = address.prefix;
        message.header.index = index;
        message.attributes = vec![AddressAttribute::Local(address.ip), AddressAttribute::Address(address.ip)];
        message.attributes.extend(address.broadcast().map(AddressAttribute::Broadcast));
        self.tell(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// The first address of an interface that reaches further than its link.
    pub(crate) fn first_address(&mut self, index: u32, wanted: Family) -> io::Result<Option<IpAddr>> {
        let mut message = AddressMessage::default();
        message.header.family = family(wanted);
        let answers = self.request(RouteNetlinkMessage::GetAddress(message), NLM_F_DUMP)?;
        let of_index = answers.into_iter().filter_map(|answer| match answer {
            RouteNetlinkMessage::NewAddress(message) if message.header.index == index => Some(message),
            _ => None,
        });
        let addresses = of_index.flat_map(|message| message.attributes).filter_map(|attribute| match attribute {
            AddressAttribute::Address(IpAddr::V6(address)) if address.is_unicast_link_local() => None,
            AddressAttribute::Address(address) => Some(address),
            _ => None,
        });
        Ok(addresses.into_iter().next())
    }

    /// Sends what has no other way through the interface, to a gateway or directly.
    pub(crate) fn add_default_route(&mut self, index: u32, wanted: Family, gateway: Option<IpAddr>) -> io::Result<()> {
        let mut message = self.route(index, wanted);
        message.attributes.extend(gateway.map(|gateway| RouteAttribute::Gateway(gateway.into())));
        if gateway.is_none() {
            message.header.scope = RouteScope::Link;
        }
        self.tell(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Says that one address is directly behind the interface.
    pub(crate) fn add_host_route(&mut self, index: u32, address: IpAddr) -> io::Result<()> {
        let mut message = self.route(index, Family::of(address));
        message.header.destination_prefix_length = if address.is_ipv4() { 32 } else { 128 };
        message.header.scope = RouteScope::Link;
        message.attributes.push(RouteAttribute::Destination(RouteAddress::from(address)));
        self.tell(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE)
    }

    #[allow(clippy::unused_self, reason = "reads as a part of its callers")]
    fn route(&self, index: u32, wanted: Family) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header.address_family = family(wanted);
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.protocol = RouteProtocol::Boot;
        message.header.scope = RouteScope::Universe;
        message.header.kind = RouteType::Unicast;
        message.attributes.push(RouteAttribute::Oif(index));
        message
    }

    fn tell(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.request(message, flags | NLM_F_ACK).map(drop)
    }

    /// Sends a message and collects the answers up to the one that ends them.
    fn request(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.sequence += 1;
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let mut answers = Vec::new();
        loop {
            let (bytes, _) = self.socket.recv_from_full()?;
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(io::Error::other)?;
                // Messages begin at multiples of four bytes.
                let length = usize::try_from(answer.header.length).map_err(io::Error::other)?.next_multiple_of(4);
                rest = rest.get(length.max(16)..).unwrap_or_default();
                if answer.header.sequence_number != self.sequence {
                    continue;
                }
                match answer.payload {
                    NetlinkPayload::InnerMessage(answer) => answers.push(answer),
                    NetlinkPayload::Done(_) => return Ok(answers),
                    NetlinkPayload::Error(error) => match error.code {
                        None => return Ok(answers),
                        Some(code) => return Err(io::Error::from_raw_os_error(code.get().abs())),
                    },
                    _ => {}
                }
            }
        }
    }
}

fn up(index: u32) -> LinkHeader {
    LinkHeader { index, flags: LinkFlags::Up, change_mask: LinkFlags::Up, ..LinkHeader::default() }
}

fn family(family: Family) -> AddressFamily {
    match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_found_and_another_interface_is_not() {
        let mut netlink = Netlink::open().unwrap();
        assert_eq!(netlink.index(&"lo".parse().unwrap()).unwrap(), 1);
        let error = netlink.index(&"no-such-link".parse().unwrap()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
        assert_eq!(netlink.index(&"lo".parse().unwrap()).unwrap(), 1, "an error does not end the conversation");
    }

    #[test]
    fn the_addresses_of_loopback_are_read() {
        let mut netlink = Netlink::open().unwrap();
        let found = netlink.first_address(1, Family::V4).unwrap();
        assert!(found.is_none_or(|address| address.is_loopback()), "{found:?}");
        assert_eq!(netlink.first_address(u32::MAX, Family::V4).unwrap(), None);
    }
}
