//! Requests over TLS, by curl.

use std::path::Path;
use std::process::{Command, Stdio};

use super::server::Server;

/// A request that is being made.
pub(crate) struct Curl {
    command: Command,
}

/// What came back.
pub(crate) struct Reply {
    /// 0 when there was no answer.
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Curl {
    /// A request to a server, over TLS.
    pub(crate) fn new(server: &Server, method: &str, path: &str) -> Self {
        let mut command = Command::new("curl");
        command.args([
            "-sS",
            "-i",
            "--noproxy",
            "*",
            "--path-as-is",
            "--max-time",
            "60",
            "-H",
            "Expect:",
            "-X",
            method,
        ]);
        command.arg("--cacert").arg(&server.ca).arg(format!("{}{path}", server.url));
        Self { command }
    }

    pub(crate) fn header(mut self, text: impl AsRef<str>) -> Self {
        self.command.arg("-H").arg(text.as_ref());
        self
    }

    pub(crate) fn token(self, token: &str) -> Self {
        self.header(format!("Authorization: Bearer {}", token.trim()))
    }

    pub(crate) fn body(mut self, path: &Path) -> Self {
        self.command.arg("--data-binary").arg(format!("@{}", path.display()));
        self.header("Content-Type: application/octet-stream")
    }

    /// Any other arguments.
    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn send(mut self) -> Reply {
        let output = self.command.stdin(Stdio::null()).output().unwrap();
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Reply { status, head: head.to_owned(), body: body.to_owned() }
    }
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}\n{}", self.head, self.body))
    }
}
