//! The keys `lxc.net.N.*`, and `lxc.network.*` as LXC before 2.1 has them.

use std::collections::BTreeMap;

use super::{Family, Gateway, Interface, Network};
use crate::runtime::error::ConfigProblem;
use crate::runtime::network::interface::{Address, hardware_address};
use crate::runtime::settings::Notice;

/// What has been read of them so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct NetworkConfig {
    /// By number.
    networks: BTreeMap<u32, Vec<Item>>,
    /// How many networks the old keys have begun.
    old: u32,
}

#[derive(Clone, Debug)]
struct Item {
    key: String,
    /// What follows the number.
    name: String,
    value: String,
}

impl NetworkConfig {
    /// Whether this is a key of a network.
    pub(crate) fn knows(key: &str) -> bool {
        ["lxc.net", "lxc.network"].contains(&key) || key.starts_with("lxc.net.") || key.starts_with("lxc.network.")
    }

    /// Takes a key, which must be one of a network.
    pub(crate) fn add(&mut self, key: &str, value: &str) -> Result<(), ConfigProblem> {
        let bad = |expected| ConfigProblem::Value { key: key.to_owned(), expected, found: value.to_owned() };
        if let Some(name) = key.strip_prefix("lxc.network.") {
            // Each type begins another network.
            if name == "type" {
                self.old += 1;
            }
            let name = match name {
                "ipv4" => "ipv4.address",
                "ipv6" => "ipv6.address",
                name => name,
            };
            let item = Item { key: key.to_owned(), name: name.to_owned(), value: value.to_owned() };
            self.networks.entry(self.old.saturating_sub(1)).or_default().push(item);
        } else if let Some(rest) = key.strip_prefix("lxc.net.") {
            let (number, name) = rest.split_once('.').unwrap_or((rest, ""));
            let number = number.parse().map_err(|_| bad("a key with a number, `lxc.net.0.type`"))?;
            let item = Item { key: key.to_owned(), name: name.to_owned(), value: value.to_owned() };
            match name {
                // Without a key, all of this network is cleared.
                "" => drop(self.networks.remove(&number)),
                _ => self.networks.entry(number).or_default().push(item),
            }
        } else {
            *self = Self::default();
        }
        Ok(())
    }

    /// The network they describe, and a notice for each key that is not done.
    pub(crate) fn finish(self, notices: &mut Vec<Notice>) -> Result<Network, ConfigProblem> {
        let mut interfaces = Vec::new();
        let mut is_host = false;
        for (number, items) in &self.networks {
            let kind = items.iter().rev().find(|item| item.name == "type");
            match kind.map_or("", |item| item.value.as_str()) {
                "none" => is_host = true,
                "empty" | "" => {}
                "veth" => interfaces.push(interface(items, Interface::new(*number, interfaces.len()), notices)?),
                other => notices.push(Notice {
                    key: kind.map_or_else(String::new, |item| item.key.clone()),
                    effect: format!("a network of type `{other}` is not done"),
                }),
            }
        }
        Ok(if is_host { Network::Host } else { Network::Own(interfaces) })
    }
}

fn interface(items: &[Item], mut interface: Interface, notices: &mut Vec<Notice>) -> Result<Interface, ConfigProblem> {
    for item in items {
        let value = item.value.as_str();
        let bad = |expected| ConfigProblem::Value { key: item.key.clone(), expected, found: value.to_owned() };
        let name = || value.parse().map_err(|()| bad("the name of an interface"));
        let family = if item.name.starts_with("ipv6") { Family::V6 } else { Family::V4 };
        match (item.name.as_str(), value.is_empty()) {
            ("ipv4.address" | "ipv6.address", true) => {
                interface.addresses.retain(|address| Family::of(address.ip) != family);
            }
            ("ipv4.gateway" | "ipv6.gateway", true) => interface.gateways.retain(|(other, _)| *other != family),
            ("flags", _) => interface.is_up = value == "up",
            ("script.up", _) => interface.script_up = (!value.is_empty()).then(|| value.to_owned()),
            ("script.down", _) => interface.script_down = (!value.is_empty()).then(|| value.to_owned()),
            ("type", _) | (_, true) => {}
            ("link", _) => interface.link = Some(name()?),
            ("name", _) => interface.name = name()?,
            ("veth.pair", _) => interface.pair = Some(name()?),
            ("mtu", _) => interface.mtu = Some(value.parse().map_err(|_| bad("a number of bytes"))?),
            ("hwaddr", _) => {
                let is_valid = hardware_address(value).is_ok_and(|address| address.is_some());
                interface.hardware = Some(is_valid.then(|| value.to_owned()).ok_or_else(|| bad(HARDWARE))?);
            }
            ("ipv4.address" | "ipv6.address", _) => {
                interface.addresses.push(Address::parse(family, value).ok_or_else(|| bad(ADDRESS))?);
            }
            ("ipv4.gateway" | "ipv6.gateway", _) => {
                let gateway = Gateway::parse(family, value).ok_or_else(|| bad("an address, `auto` or `dev`"))?;
                interface.gateways.retain(|(other, _)| *other != family);
                interface.gateways.push((family, gateway));
            }
            ("veth.mode", _) if value == "bridge" => {}
            _ => notices.push(Notice { key: item.key.clone(), effect: "it is not done".to_owned() }),
        }
    }
    Ok(interface)
}

const HARDWARE: &str = "a hardware address like `00:16:3e:xx:xx:xx`";
const ADDRESS: &str = "an address like `10.0.3.7/24`";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(Network, Vec<String>), ConfigProblem> {
        let mut config = NetworkConfig::default();
        for (key, value) in formats::lxc_config::LxcConfig::parse(text).items() {
            config.add(key, value)?;
        }
        let mut notices = Vec::new();
        let network = config.finish(&mut notices)?;
        Ok((network, notices.into_iter().map(|notice| notice.key).collect()))
    }

    #[test]
    fn a_network_is_described_by_the_keys_of_its_number() {
        let text = "lxc.net.1.type = veth\nlxc.net.0.type = veth\nlxc.net.0.link = lxcbr0\nlxc.net.0.flags = up\n\
                    lxc.net.0.name = lan\nlxc.net.0.mtu = 1400\nlxc.net.0.hwaddr = 00:16:3e:xx:xx:xx\n\
                    lxc.net.0.ipv4.address = 10.0.3.7/24\nlxc.net.0.ipv6.address = fd00::7/64\n\
                    lxc.net.0.ipv4.gateway = auto\nlxc.net.0.veth.pair = web\nlxc.net.0.veth.mode = bridge\n";
        let (network, notices) = read(text).unwrap();
        let [first, second] = network.interfaces() else { panic!("{network:?}") };
        assert_eq!((first.name.as_str(), second.name.as_str()), ("lan", "eth1"));
        assert_eq!(first.link.as_ref().unwrap().as_str(), "lxcbr0");
        assert_eq!((first.is_up, second.is_up, first.mtu), (true, false, Some(1400)));
        assert_eq!((first.addresses.len(), first.gateways.len()), (2, 1));
        assert!(notices.is_empty() && network.is_own());
    }

    #[test]
    fn each_type_of_the_old_dialect_begins_another_network() {
        let text = "lxc.network.type = veth\nlxc.network.link = br0\nlxc.network.ipv4 = 10.0.3.7/24\n\
                    lxc.network.type = veth\nlxc.network.link = br1\n";
        let (network, _) = read(text).unwrap();
        let links: Vec<_> = network.interfaces().iter().map(|one| one.link.as_ref().unwrap().as_str()).collect();
        assert_eq!(links, ["br0", "br1"]);
        assert_eq!(network.interfaces()[0].addresses.len(), 1);
    }

    #[test]
    fn the_hosts_network_and_an_empty_one_have_no_interfaces() {
        assert_eq!(read("lxc.net.0.type = none").unwrap().0, Network::Host);
        assert_eq!(read("lxc.net.0.type = empty").unwrap().0, Network::Own(Vec::new()));
        assert_eq!(read("").unwrap().0, Network::default());
    }

    #[test]
    fn networks_are_cleared_one_by_one_and_all_at_once() {
        let both = "lxc.net.0.type = veth\nlxc.net.1.type = veth\n";
        assert_eq!(read(&format!("{both}lxc.net.0 =\n")).unwrap().0.interfaces().len(), 1);
        assert_eq!(read(&format!("{both}lxc.net =\n")).unwrap().0.interfaces().len(), 0);
    }

    #[test]
    fn what_is_not_done_is_named_and_what_makes_no_sense_is_refused() {
        let (network, notices) = read("lxc.net.0.type = macvlan\nlxc.net.0.link = eth0\n").unwrap();
        assert_eq!((network.interfaces().len(), notices), (0, vec!["lxc.net.0.type".to_owned()]));
        let (_, notices) = read("lxc.net.0.type = veth\nlxc.net.0.l2proxy = 1\nlxc.net.0.veth.mode = router").unwrap();
        assert_eq!(notices, ["lxc.net.0.l2proxy", "lxc.net.0.veth.mode"]);
        for line in ["ipv4.address = 10.0.3", "link = a/b", "hwaddr = 1", "mtu = big", "ipv6.gateway = 10.0.3.1"] {
            let problem = read(&format!("lxc.net.0.type = veth\nlxc.net.0.{line}\n")).unwrap_err();
            assert!(matches!(problem, ConfigProblem::Value { .. }), "{line}");
        }
        assert!(read("lxc.net.first.type = veth").is_err());
    }
}
