//! The one interface of a sandbox that has no network.

use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socket_with};

/// Brings up `lo` of a new network namespace: programs talk to themselves through it. It always is interface 1.
pub(super) fn bring_up() -> rustix::io::Result<()> {
    // Without a protocol it is that of rtnetlink, whose number is 0.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    send(&socket, &message(), SendFlags::empty()).map(drop)
}

/// `RTM_NEWLINK` (rtnetlink(7)): a `nlmsghdr` and an `ifinfomsg`, in the byte order of the machine.
fn message() -> [u8; LENGTH] {
    let mut message = [0; LENGTH];
    let mut put = |at: usize, bytes: &[u8]| {
        for (to, from) in message.iter_mut().skip(at).zip(bytes) {
            *to = *from;
        }
    };
    let length = u32::try_from(LENGTH).unwrap_or_default();
    put(0, &length.to_ne_bytes());
    put(4, &RTM_NEWLINK.to_ne_bytes());
    put(6, &NLM_F_REQUEST.to_ne_bytes());
    put(20, &1_i32.to_ne_bytes());
    put(24, &IFF_UP.to_ne_bytes());
    put(28, &IFF_UP.to_ne_bytes());
    message
}

const LENGTH: usize = 32;
const RTM_NEWLINK: u16 = 16;
const NLM_F_REQUEST: u16 = 1;
const IFF_UP: u32 = 1;
