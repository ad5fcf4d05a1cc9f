//! A real object store: Ceph's gateway for S3.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::sync_channel;
use std::thread;

use super::program::run;

/// The gateway of this run of the tests. It is started by the first test that wants it, and every process of it is killed
/// when the tests are over.
#[derive(Debug)]
pub(crate) struct Gateway {
    /// `http://127.0.0.1:PORT`.
    pub(crate) url: String,
}

impl Gateway {
    pub(crate) const ACCESS_KEY: &str = "ACCESS0KEY0OF0TESTS";
    pub(crate) const SECRET_KEY: &str = "secret-key-of-tests";

    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Gateway> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    fn start() -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("gateway");
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).unwrap();
        let port = free_port();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "sh"]);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/gateway.sh"));
        command.arg(&directory).arg(port.to_string()).arg(free_port().to_string());
        command.env("ACCESS_KEY", Self::ACCESS_KEY).env("SECRET_KEY", Self::SECRET_KEY);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let (ready, waiting) = sync_channel(1);
        // The kernel kills the script when the thread that started it ends: one that lives as long as the process.
        thread::spawn(move || {
            let mut script = command.spawn().unwrap();
            let mut line = String::new();
            BufReader::new(script.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
            ready.send(line).unwrap();
            let _ = script.wait();
        });
        let line = waiting.recv().unwrap();
        assert_eq!(line, "ready\n", "{}", fs::read_to_string(directory.join("said")).unwrap_or_default());
        Self { url: format!("http://127.0.0.1:{port}") }
    }

    /// Makes a bucket.
    pub(crate) fn bucket(&self, name: &str) {
        self.curl("PUT", name, &[]).succeeds();
    }

    /// The keys of a bucket, in order.
    pub(crate) fn keys(&self, bucket: &str) -> Vec<String> {
        let list = self.curl("GET", &format!("{bucket}?list-type=2&max-keys=1000"), &[]).succeeds().stdout;
        let keys = list.split("<Key>").skip(1).filter_map(|rest| rest.split_once("</Key>"));
        keys.map(|(key, _)| key.to_owned()).collect()
    }

    /// Writes an object behind the server's back.
    pub(crate) fn put(&self, key: &str, path: &Path) {
        self.curl("PUT", key, &["--data-binary", &format!("@{}", path.display())]).succeeds();
    }

    /// Removes one.
    pub(crate) fn remove(&self, key: &str) {
        self.curl("DELETE", key, &[]).succeeds();
    }

    fn curl(&self, method: &str, path: &str, args: &[&str]) -> super::Outcome {
        let mut command = Command::new("curl");
        command.args(["-sS", "--fail-with-body", "--noproxy", "*", "--max-time", "60", "-X", method]);
        // S3 wants this field, and curl of Debian 12 does not make it.
        command.args(["-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]);
        command.args(["--aws-sigv4", "aws:amz:us-east-1:s3", "--user"]);
        command.arg(format!("{}:{}", Self::ACCESS_KEY, Self::SECRET_KEY));
        run(command.args(args).arg(format!("{}/{path}", self.url)))
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
