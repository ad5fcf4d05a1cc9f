//! The addresses of a container, as `/proc` shows them without entering it.

use std::net::{Ipv4Addr, Ipv6Addr};

/// What a container can be reached at: neither loopback nor link-local addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// In ascending order.
    pub ipv4: Vec<Ipv4Addr>,
    /// In ascending order.
    pub ipv6: Vec<Ipv6Addr>,
}

/// The addresses in the network namespace of a process.
pub(crate) fn of(pid: i32) -> Addresses {
    let read = |name| std::fs::read_to_string(format!("/proc/{pid}/net/{name}")).unwrap_or_default();
    Addresses { ipv4: parse_fib(&read("fib_trie")), ipv6: parse_inet6(&read("if_inet6")) }
}

/// The routing table as a tree: an address of the machine is a leaf `|-- ADDRESS`, followed by `/32 host LOCAL`.
fn parse_fib(trie: &str) -> Vec<Ipv4Addr> {
    let mut found = Vec::new();
    let mut leaf = None;
    for line in trie.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse::<Ipv4Addr>().ok();
        } else if line.starts_with("/32 host LOCAL") {
            found.extend(leaf.filter(|address| !address.is_loopback() && !address.is_link_local()));
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// One address for each line, which begins with its 32 hexadecimal digits.
fn parse_inet6(table: &str) -> Vec<Ipv6Addr> {
    let addresses = table.lines().filter_map(|line| u128::from_str_radix(line.split_whitespace().next()?, 16).ok());
    let addresses = addresses.map(Ipv6Addr::from_bits);
    let mut found: Vec<Ipv6Addr> =
        addresses.filter(|address| !address.is_loopback() && !address.is_unicast_link_local()).collect();
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_machine_are_found_once_and_loopback_is_left_out() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.0.3.0\n        /24 link UNICAST\n     |-- 10.0.3.7\n        \
                    /32 host LOCAL\n     |-- 127.0.0.1\n        /32 host LOCAL\nLocal:\n     |-- 10.0.3.7\n        \
                    /32 host LOCAL\n     |-- 10.0.3.255\n        /32 link BROADCAST\n";
        assert_eq!(parse_fib(trie), [Ipv4Addr::new(10, 0, 3, 7)]);
    }

    #[test]
    fn only_addresses_that_reach_further_than_the_link_are_shown() {
        let table = "00000000000000000000000000000001 01 80 10 80       lo\n\
                     fe800000000000000216eefffe000001 02 40 20 80     eth0\n\
                     fd000000000000000000000000000007 02 40 00 80     eth0\n";
        assert_eq!(parse_inet6(table), ["fd00::7".parse::<Ipv6Addr>().unwrap()]);
    }

    #[test]
    fn a_process_that_is_gone_has_none() {
        assert_eq!(of(-1), Addresses::default());
    }
}
