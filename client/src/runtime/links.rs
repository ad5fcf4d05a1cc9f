//! The network interfaces of a container and what went through them.

use serde::Serialize;

/// One interface, but not the loopback.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    /// Its name in the container.
    pub name: String,
    /// What came in.
    pub received_bytes: u64,
    /// What went out.
    pub sent_bytes: u64,
}

/// The interfaces in the network namespace of a process.
pub(crate) fn of(pid: i32) -> Vec<Link> {
    parse(&std::fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default())
}

/// `/proc/PID/net/dev` (proc(5)): a name, a colon, and 16 numbers, of which the first and the ninth are bytes.
fn parse(table: &str) -> Vec<Link> {
    let links = table.lines().filter_map(|line| {
        let (name, numbers) = line.split_once(':')?;
        let numbers: Vec<u64> = numbers.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        let (received_bytes, sent_bytes) = (*numbers.first()?, *numbers.get(8)?);
        Some(Link { name: name.trim().to_owned(), received_bytes, sent_bytes })
    });
    links.filter(|link| link.name != "lo").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_for_every_interface_but_the_loopback() {
        let table = "Inter-|   Receive                                                |  Transmit\n \
                     face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs\n    \
                     lo:     100       1    0    0    0     0          0         0      100       1    0    0 0 0 0 0\n  \
                     eth0:    2048       9    0    0    0     0          0         0     4096       7    0    0 0 0 0 0\n";
        assert_eq!(parse(table), [Link { name: "eth0".to_owned(), received_bytes: 2048, sent_bytes: 4096 }]);
    }
}
