//! One network interface of a container, as its configuration describes it.

use std::fmt;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A pair of interfaces, one in the container and one on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Interface {
    /// The `N` of `lxc.net.N`.
    pub(crate) number: u32,
    /// In the container.
    pub(crate) name: InterfaceName,
    /// The bridge that the host's end is attached to.
    pub(crate) link: Option<InterfaceName>,
    /// The name of the host's end.
    pub(crate) pair: Option<InterfaceName>,
    /// `lxc.net.N.flags = up`.
    pub(crate) is_up: bool,
    pub(crate) mtu: Option<u32>,
    /// The hardware address, with `x` for any digit.
    pub(crate) hardware: Option<String>,
    pub(crate) addresses: Vec<Address>,
    pub(crate) gateways: Vec<(Family, Gateway)>,
    pub(crate) script_up: Option<String>,
    pub(crate) script_down: Option<String>,
}

impl Interface {
    /// What the first, second, … interface is before its configuration says more.
    pub(crate) fn new(number: u32, place: usize) -> Self {
        Self {
            number,
            name: InterfaceName(format!("eth{place}")),
            link: None,
            pair: None,
            is_up: false,
            mtu: None,
            hardware: None,
            addresses: Vec::new(),
            gateways: Vec::new(),
            script_up: None,
            script_down: None,
        }
    }
}

/// A name the kernel accepts for an interface: it becomes part of paths below `/sys` and `/proc`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct InterfaceName(String);

impl InterfaceName {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// A new one, `veth` and six letters, as LXC names its own.
    pub(crate) fn random() -> io::Result<Self> {
        let letters = random::<6>()?.map(|byte| char::from(b'a' + byte % 26));
        Ok(Self(format!("veth{}", String::from_iter(letters))))
    }
}

impl FromStr for InterfaceName {
    type Err = ();

    /// `dev_valid_name` of the kernel: at most 15 bytes, none of them a slash, a colon or a blank.
    fn from_str(name: &str) -> Result<Self, ()> {
        let is_valid = (1..16).contains(&name.len())
            && ![".", ".."].contains(&name)
            && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b':');
        if is_valid { Ok(Self(name.to_owned())) } else { Err(()) }
    }
}

impl TryFrom<String> for InterfaceName {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, &'static str> {
        name.parse().map_err(|()| "no name of an interface")
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A generation of the Internet protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Of this address.
    pub(crate) fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// `lxc.net.N.ipv4.address`: `10.0.3.7/24`, with an optional broadcast address behind a blank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Address {
    pub(crate) ip: IpAddr,
    pub(crate) prefix: u8,
    pub(crate) broadcast: Option<Ipv4Addr>,
}

impl Address {
    /// Without a prefix liblxc takes that of the old classes; here the address stands alone then.
    pub(crate) fn parse(family: Family, value: &str) -> Option<Self> {
        let mut words = value.split_whitespace();
        let first = words.next()?;
        let (address, prefix) =
            first.split_once('/').map_or((first, None), |(address, prefix)| (address, Some(prefix)));
        let ip: IpAddr = address.parse().ok()?;
        let longest = if ip.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(prefix) => prefix.parse().ok().filter(|prefix| *prefix <= longest)?,
        };
        let broadcast = match words.next() {
            None => None,
            Some(word) if ip.is_ipv4() => Some(word.parse().ok()?),
            Some(_) => return None,
        };
        (Family::of(ip) == family && words.next().is_none()).then_some(Self { ip, prefix, broadcast })
    }

    /// The address that reaches everybody on the link.
    pub(crate) fn broadcast(&self) -> Option<Ipv4Addr> {
        let IpAddr::V4(address) = self.ip else { return None };
        let hosts = u32::MAX.checked_shr(u32::from(self.prefix)).unwrap_or(0);
        self.broadcast.or_else(|| (self.prefix < 31).then(|| Ipv4Addr::from_bits(address.to_bits() | hosts)))
    }
}

/// `lxc.net.N.ipv4.gateway`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Gateway {
    /// `auto`: the first address of the bridge.
    OfLink,
    /// `dev`: whatever is behind the interface.
    Device,
    Address(IpAddr),
}

impl Gateway {
    pub(crate) fn parse(family: Family, value: &str) -> Option<Self> {
        match value {
            "auto" => Some(Self::OfLink),
            "dev" => Some(Self::Device),
            _ => value.parse().ok().filter(|address| Family::of(*address) == family).map(Self::Address),
        }
    }
}

/// The hardware address that a template, `00:16:3e:xx:xx:xx`, describes.
pub(crate) fn hardware_address(template: &str) -> io::Result<Option<[u8; 6]>> {
    let mut filled = String::with_capacity(template.len());
    for letter in template.chars() {
        if letter.eq_ignore_ascii_case(&'x') {
            let [byte] = random::<1>()?;
            filled.push(char::from_digit(u32::from(byte & 0xf), 16).unwrap_or('0'));
        } else {
            filled.push(letter);
        }
    }
    let mut address = [0; 6];
    let mut parts = filled.split(':');
    for byte in &mut address {
        let part = parts.next().filter(|part| (1..3).contains(&part.len()));
        let Some(value) = part.and_then(|part| u8::from_str_radix(part, 16).ok()) else { return Ok(None) };
        *byte = value;
    }
    // A group address is nobody's own.
    Ok((parts.next().is_none() && address[0] & 1 == 0).then_some(address))
}

/// A hardware address that begins with this byte. `fe` for the host's ends: a bridge takes the lowest address of its
/// ports for its own, and must not change it with every container.
pub(crate) fn random_address(first: u8) -> io::Result<[u8; 6]> {
    let mut address = random::<6>()?;
    address[0] = first;
    Ok(address)
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_be_paths_are_none() {
        for name in ["eth0", "br-lan.7", "veth0@x"] {
            assert_eq!(name.parse::<InterfaceName>().unwrap().as_str(), name);
        }
        for name in ["", ".", "..", "a/b", "a b", "a:1", "sixteen-letters-", "\u{1b}"] {
            assert!(name.parse::<InterfaceName>().is_err(), "{name}");
        }
        assert!(InterfaceName::random().unwrap().as_str().parse::<InterfaceName>().is_ok());
    }

    #[test]
    fn addresses_have_a_prefix_and_a_broadcast_address() {
        let address = Address::parse(Family::V4, "10.2.3.5/24").unwrap();
        assert_eq!((address.prefix, address.broadcast()), (24, Some(Ipv4Addr::new(10, 2, 3, 255))));
        let given = Address::parse(Family::V4, "10.2.3.5/24 10.2.3.250").unwrap();
        assert_eq!(given.broadcast(), Some(Ipv4Addr::new(10, 2, 3, 250)));
        assert_eq!(Address::parse(Family::V4, "10.2.3.5").unwrap().prefix, 32);
        assert_eq!(Address::parse(Family::V6, "fd00::7/64").unwrap().broadcast(), None);
        for value in ["fd00::7/64", "10.2.3.5/33", "10.2.3/24", "", "10.2.3.5/24 x", "10.2.3.5/24 10.2.3.4 x"] {
            assert_eq!(Address::parse(Family::V4, value), None, "{value}");
        }
    }

    #[test]
    fn a_template_of_a_hardware_address_is_filled() {
        let address = hardware_address("00:16:3e:XX:xx:x1").unwrap().unwrap();
        assert_eq!((&address[..3], address[5] & 0xf), (&[0, 0x16, 0x3e][..], 1));
        for template in ["01:16:3e:00:00:00", "00:16:3e:00:00", "00:16:3e:00:00:00:00", "00:16:3e:00:00:zz", "x"] {
            assert_eq!(hardware_address(template).unwrap(), None, "{template}");
        }
    }

    #[test]
    fn gateways_are_addresses_of_their_family_or_words() {
        assert_eq!(Gateway::parse(Family::V4, "auto"), Some(Gateway::OfLink));
        assert_eq!(Gateway::parse(Family::V6, "dev"), Some(Gateway::Device));
        assert_eq!(Gateway::parse(Family::V4, "10.0.3.1"), Some(Gateway::Address(Ipv4Addr::new(10, 0, 3, 1).into())));
        assert_eq!(Gateway::parse(Family::V6, "10.0.3.1"), None);
    }
}
