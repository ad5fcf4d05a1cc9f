//! A real server on loopback.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::program::{Outcome, Program};

/// A running `rootcellar-server` with data of its own. It ends with this value.
pub(crate) struct TestServer {
    data: TempDir,
    process: Child,
    /// `https://127.0.0.1:PORT`.
    pub(crate) url: String,
}

impl TestServer {
    /// A server that published `builds`.
    pub(crate) fn publishing(builds: &[&Path]) -> Self {
        Self::publishing_with(builds, Program::ours("rootcellar-server"))
    }

    /// A server that published `builds` and serves them by `program`, which is ours with a prefix or an environment.
    pub(crate) fn publishing_with(builds: &[&Path], program: Program) -> Self {
        let data = tempfile::tempdir().unwrap();
        command(data.path()).arg("import").args(builds).run().succeeds();
        command(data.path()).arg("publish").run().succeeds();
        let process = serve(data.path(), program);
        let mut server = Self { data, process, url: String::new() };
        server.url = server.wait_until_ready();
        server
    }

    /// `127.0.0.1:PORT`, as the stock template's `--server` wants it.
    pub(crate) fn host_and_port(&self) -> &str {
        self.url.trim_start_matches("https://").trim_end_matches('/')
    }

    /// Runs another command of the server on the same data.
    pub(crate) fn command(&self, args: &[&str]) -> Outcome {
        command(self.data.path()).args(args).run()
    }

    /// Publishes another build, and waits until it is served.
    pub(crate) fn publish(&self, build: &Path) {
        let generations = || self.log().matches("Serving a new generation").count();
        let before = generations();
        self.command(&["import", build.to_str().unwrap()]).succeeds();
        self.command(&["publish"]).succeeds();
        let deadline = Instant::now() + Duration::from_mins(1);
        while generations() == before {
            assert!(Instant::now() < deadline, "it is not served after a minute:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The fingerprint of the repository certificate.
    pub(crate) fn fingerprint(&self) -> String {
        self.key("repository")
    }

    /// The fingerprint of the compat certificate.
    pub(crate) fn compat_fingerprint(&self) -> String {
        self.key("compat")
    }

    /// The certificate authority that a client must trust.
    pub(crate) fn ca(&self) -> PathBuf {
        self.data.path().join("v1/tls/ca.pem")
    }

    /// The documents of the generation that is published now.
    pub(crate) fn documents(&self) -> PathBuf {
        self.data.path().join("v1/current")
    }

    /// The store.
    pub(crate) fn images(&self) -> PathBuf {
        self.data.path().join("v1/images")
    }

    /// What the server said while serving, with a line for each request.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.data.path().join("serve.log")).unwrap()
    }

    fn wait_until_ready(&self) -> String {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let url = std::fs::read_to_string(self.data.path().join("ready")).unwrap_or_default();
            if url.ends_with('\n') {
                return url.trim().to_owned();
            }
            assert!(Instant::now() < deadline, "the server is not ready after 30 s:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn key(&self, name: &str) -> String {
        let keys = self.command(&["keys", "show", "--format", "json"]).succeeds();
        let keys: serde_json::Value = serde_json::from_str(&keys).unwrap();
        keys[name].as_str().unwrap().to_owned()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(data: &Path) -> Program {
    Program::ours("rootcellar-server").arg("--data").arg(data)
}

fn serve(data: &Path, program: Program) -> Child {
    let log = std::fs::File::create(data.join("serve.log")).unwrap();
    let mut command = program
        .arg("--data")
        .arg(data)
        .args(["serve", "--listen", "127.0.0.1:0", "--ready-file"])
        .arg(data.join("ready"))
        .into_command();
    command.stdout(std::process::Stdio::null()).stderr(log).spawn().unwrap()
}
