//! As a service of systemd the server takes the socket it is handed and says how it is.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use testkit::FakeImage;

use crate::support::{World, need, request, run};

#[test]
fn a_socket_that_was_handed_over_is_served_and_the_manager_hears_of_it() {
    let world = World::publishing(&[FakeImage::new("debian/trixie/amd64/default")]);
    let manager = UnixDatagram::bind(world.path("notify")).unwrap();
    manager.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let hears = |wanted: &str| {
        let mut message = [0; 4096];
        loop {
            let count = manager.recv(&mut message).unwrap_or_else(|error| panic!("{wanted}: {error}"));
            if String::from_utf8_lossy(&message[..count]).contains(wanted) {
                return;
            }
        }
    };
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let server = world.command();
    // The descriptor of the socket becomes number 3, the first one that systemd would use.
    let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"";
    let mut process = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(server.get_program())
        .args(server.get_args())
        .args(["serve", "--allow-plain", "--listen", "203.0.113.1:1"])
        .env("NOTIFY_SOCKET", world.path("notify"))
        .env("WATCHDOG_USEC", "400000")
        .stdin(Stdio::from(OwnedFd::from(socket)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    hears("READY=1");
    let answer = request(&address, b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!(answer.status, 200);
    hears("WATCHDOG=1");
    run(Command::new("kill").arg(process.id().to_string())).succeeds();
    hears("STOPPING=1");
    assert_eq!(process.wait().unwrap().code(), Some(0));
}

#[test]
fn the_units_are_sound_and_confine_the_server() {
    need!("systemd-analyze");
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd");
    let directory = tempfile::tempdir().unwrap();
    // The program is not installed where the tests run.
    for name in ["rootcellar-server.service", "rootcellar-server.socket"] {
        let text = std::fs::read_to_string(units.join(name)).unwrap();
        std::fs::write(directory.path().join(name), text.replace("/usr/local/bin/rootcellar-server", "/bin/true"))
            .unwrap();
    }
    let service = directory.path().join("rootcellar-server.service");
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no"]).arg(&service).arg(directory.path().join("rootcellar-server.socket"));
    let outcome = run(&mut verify).succeeds();
    assert!(!outcome.stderr.contains("rootcellar-server"), "{}", outcome.stderr);
    // 20 is "OK" on systemd's own scale of exposure from 0 to 100.
    let mut security = Command::new("systemd-analyze");
    run(security.args(["security", "--offline=yes", "--threshold=20"]).arg(&service)).succeeds();
}
