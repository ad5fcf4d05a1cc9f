//! A host with a configuration, a cache and containers of its own.

use std::path::PathBuf;

use tempfile::TempDir;

use super::program::{Outcome, Program};
use super::server::TestServer;

/// Where `rootcellar` and the templates run: nothing they write lands outside its directory.
pub(crate) struct TestHost {
    directory: TempDir,
}

impl TestHost {
    /// A host that trusts nobody yet.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory }
    }

    /// A host with `server` as its default remote, pinned by its fingerprint.
    pub(crate) fn trusting(server: &TestServer) -> Self {
        let host = Self::new();
        host.trust(server, &server.fingerprint()).succeeds();
        host
    }

    /// Adds `server` as the default remote, pinned to `fingerprint`.
    pub(crate) fn trust(&self, server: &TestServer, fingerprint: &str) -> Outcome {
        let ca = server.ca();
        let args = ["remote", "add", "default", &server.url, "--fingerprint", fingerprint, "--ca"];
        self.rootcellar().args(args).arg(ca).run()
    }

    /// `rootcellar`, to be given a command.
    pub(crate) fn rootcellar(&self) -> Program {
        Program::ours("rootcellar").envs(self.environment())
    }

    /// Runs one `rootcellar` command line.
    pub(crate) fn run(&self, line: &str) -> Outcome {
        self.rootcellar().args(line.split_whitespace()).run()
    }

    /// The variables that keep everything inside this host's directory.
    pub(crate) fn environment(&self) -> [(&'static str, PathBuf); 5] {
        [
            ("ROOTCELLAR_CONFIG_DIR", self.path("config")),
            ("ROOTCELLAR_STATE_DIR", self.path("state")),
            ("ROOTCELLAR_CACHE_DIR", self.path("cache")),
            ("ROOTCELLAR_CONTAINERS", self.containers()),
            ("LXC_CACHE_PATH", self.path("lxc-cache")),
        ]
    }

    /// The directory of its containers.
    pub(crate) fn containers(&self) -> PathBuf {
        self.path("containers")
    }

    /// The names of its containers, and of anything else that a failed creation left.
    pub(crate) fn container_names(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.containers()) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// A path below the host's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl Drop for TestHost {
    /// What a plain user's containers consist of belongs to subordinate ids: only `destroy` removes it.
    fn drop(&mut self) {
        if !rustix::process::geteuid().is_root() {
            for name in self.container_names() {
                let _ = self.rootcellar().args(["destroy", &name]).run();
            }
        }
    }
}
