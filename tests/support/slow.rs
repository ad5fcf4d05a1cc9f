//! A slow way to a server.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use super::server::TestServer;

/// An address of `server` through which every connection gets a part of a large file and then next to nothing.
pub(crate) fn way_to(server: &TestServer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = server.host_and_port().to_owned();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), TcpStream::connect(&server).unwrap());
            let there = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || copy(there.0, there.1, u64::MAX));
            std::thread::spawn(move || copy(server, client, SWIFT_BYTES));
        }
    });
    address
}

fn copy(mut from: TcpStream, mut to: TcpStream, swift_bytes: u64) {
    let mut buffer = [0; 4096];
    let mut copied = 0;
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
        copied += u64::try_from(count).unwrap();
        if copied > swift_bytes {
            std::thread::sleep(Duration::from_millis(500));
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

const SWIFT_BYTES: u64 = 1 << 20;
