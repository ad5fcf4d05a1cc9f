//! A server's data and the running server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use formats::streams::StreamsIndex;
use tempfile::TempDir;
use testkit::FakeImage;

use super::http::{Answer, request};
use super::program::{Outcome, run};

/// The data of one server, and builds beside it.
pub(crate) struct World {
    directory: TempDir,
    environment: Vec<(&'static str, String)>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), environment: Vec::new() }
    }

    /// The same with a variable in the environment of every program.
    pub(crate) fn env(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.to_owned()));
        self
    }

    /// A world in which `images` were imported and published.
    pub(crate) fn publishing(images: &[FakeImage]) -> Self {
        let world = Self::new();
        for image in images {
            world.import(image);
        }
        world.run(&["publish"]).succeeds();
        world
    }

    /// The program with its data directory.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rootcellar-server"));
        command.env_remove("ROOTCELLAR_CHECKPOINT").env_remove("ROOTCELLAR_LOG");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.arg("--data").arg(self.path("data"));
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Outcome {
        run(self.command().args(args))
    }

    pub(crate) fn import(&self, image: &FakeImage) {
        run(self.command().arg("import").arg(self.build(image))).succeeds();
    }

    /// Writes the build directory of an image.
    pub(crate) fn build(&self, image: &FakeImage) -> PathBuf {
        image.write(&self.path("builds"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The top of the data directory's layout.
    pub(crate) fn data(&self) -> PathBuf {
        self.path("data/v1")
    }

    /// The directory of the current generation.
    pub(crate) fn current(&self) -> PathBuf {
        self.data().join(fs::read_link(self.data().join("current")).unwrap())
    }

    /// The products files that the streams of a channel name now, one after the other; `prefix` is where the channel is.
    pub(crate) fn products(&self, prefix: &str) -> String {
        let top = self.current().join(prefix);
        let index: StreamsIndex =
            serde_json::from_slice(&fs::read(top.join("streams/v1/index.json")).unwrap()).unwrap();
        index.index.values().map(|entry| fs::read_to_string(top.join(&entry.path)).unwrap()).collect()
    }

    /// The fingerprint of a key.
    pub(crate) fn fingerprint(&self, key: &str) -> String {
        let keys = self.run(&["keys", "show", "--format", "json"]).succeeds().stdout;
        let keys: serde_json::Value = serde_json::from_str(&keys).unwrap();
        keys[key].as_str().unwrap().to_owned()
    }

    /// Starts the server on a free port that answers TLS and plain HTTP.
    pub(crate) fn serve(&self) -> Server {
        self.serve_with(&["--allow-plain"])
    }

    /// Starts the server on a free port, with further arguments.
    pub(crate) fn serve_with(&self, args: &[&str]) -> Server {
        self.serve_by(self.command(), args)
    }

    /// Starts a server that is killed at a checkpoint.
    pub(crate) fn serve_dying_at(&self, checkpoint: &str) -> Server {
        let mut command = self.command();
        command.env("ROOTCELLAR_CHECKPOINT", checkpoint);
        self.serve_by(command, &[])
    }

    fn serve_by(&self, mut command: Command, args: &[&str]) -> Server {
        let (ready, log) = (self.path("ready"), self.path("serve.log"));
        let _ = fs::remove_file(&ready);
        let mut process = command
            .args(["serve", "--listen", "127.0.0.1:0", "--ready-file"])
            .arg(&ready)
            .args(args)
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            if let Ok(url) = fs::read_to_string(&ready) {
                let ca = self.data().join("tls/ca.pem");
                return Server { process, url: url.trim().to_owned(), ca, log };
            }
            let is_over = process.try_wait().unwrap().is_some() || Instant::now() > deadline;
            assert!(!is_over, "the server is not ready:\n{}", fs::read_to_string(&log).unwrap());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A running server. It ends with this value.
pub(crate) struct Server {
    process: Child,
    /// `https://127.0.0.1:PORT`.
    pub(crate) url: String,
    /// The authority that made its certificate.
    pub(crate) ca: PathBuf,
    log: PathBuf,
}

impl Server {
    /// `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> &str {
        self.url.trim_start_matches("https://")
    }

    /// Fetches a path over plain HTTP, which must be allowed.
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[])
    }

    /// The same with header fields.
    pub(crate) fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let headers = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect::<Vec<_>>().concat();
        let text = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
        request(self.address(), text.as_bytes())
    }

    /// Everything the server said.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// The process id, for signals.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Waits for the end of the process.
    pub(crate) fn ended(mut self) -> Option<i32> {
        self.process.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Every file below a directory, by its path from there.
pub(crate) fn files_below(directory: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut open = vec![directory.to_path_buf()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                files.push(path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    files.sort();
    files
}
