//! A publisher of root file systems, on loopback.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command as Program;
use std::sync::{Arc, Mutex};
use std::thread;

use assert_cmd::Command;
use formats::certificate::SigningKey;
use formats::checksum::{Algorithm, ChecksumHasher};
use formats::signature::{CompatKey, Encoding, RepositoryKey, SignDetached, SignInline};
use formats::time::{Span, Timestamp};

use crate::common::builder;

/// A web server with pages about its directories.
pub(super) struct Site {
    state: Arc<Mutex<State>>,
    /// `http://127.0.0.1:PORT`, or https.
    pub(super) url: String,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    /// Method, path and range of every request.
    requests: Vec<String>,
    /// What pages list and the server does not have.
    gone: BTreeSet<String>,
    /// How many answers are cut in half from now on.
    cuts: usize,
}

impl Site {
    /// A site without files.
    pub(super) fn new() -> Self {
        Self::start(None)
    }

    /// The same behind TLS.
    pub(super) fn with_tls(tls: rustls::ServerConfig) -> Self {
        Self::start(Some(Arc::new(tls)))
    }

    fn start(tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        // The thread ends with the process; a test that is over asks it for nothing.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (state, tls) = (Arc::clone(&shared), tls.clone());
                thread::spawn(move || match tls {
                    None => answer(stream, &state),
                    Some(tls) => {
                        let connection = rustls::ServerConnection::new(tls).unwrap();
                        answer(rustls::StreamOwned::new(connection, stream), &state);
                    }
                });
            }
        });
        Self { state, url }
    }

    pub(super) fn put(&self, path: &str, content: impl Into<Vec<u8>>) {
        self.state.lock().unwrap().files.insert(path.to_owned(), content.into());
    }

    pub(super) fn get(&self, path: &str) -> Vec<u8> {
        self.state.lock().unwrap().files.get(path).unwrap_or_else(|| panic!("no `{path}`")).clone()
    }

    pub(super) fn remove(&self, path: &str) {
        self.state.lock().unwrap().files.remove(path).unwrap();
    }

    /// Loses a file that pages go on to list.
    pub(super) fn lose(&self, path: &str) {
        self.state.lock().unwrap().gone.insert(path.to_owned());
    }

    /// Changes the last byte of a file.
    pub(super) fn tamper(&self, path: &str) {
        let mut content = self.get(path);
        *content.last_mut().unwrap() ^= 1;
        self.put(path, content);
    }

    /// All files as they are.
    pub(super) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.state.lock().unwrap().files.clone()
    }

    /// Puts all files back.
    pub(super) fn restore(&self, files: &BTreeMap<String, Vec<u8>>) {
        let mut state = self.state.lock().unwrap();
        state.files.clone_from(files);
        state.gone.clear();
    }

    /// The next `count` files come only by half.
    pub(super) fn cut(&self, count: usize) {
        self.state.lock().unwrap().cuts = count;
    }

    /// What was asked since the last time.
    pub(super) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }
}

fn answer(mut stream: impl Read + Write, state: &Mutex<State>) {
    let mut lines = BufReader::new(&mut stream).lines().map_while(Result::ok);
    let request = lines.next().unwrap_or_default();
    let head: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    drop(lines);
    let mut words = request.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default().trim_start_matches('/'));
    let range =
        head.iter().find_map(|line| line.strip_prefix("range: bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    let mut state = state.lock().unwrap();
    state.requests.push(format!("{method} {path} {}", range.map_or(String::new(), |start| start.to_string())));
    let body = state.files.get(path).filter(|_| !state.gone.contains(path)).cloned();
    let body = body.or_else(|| page(&state.files, path));
    let status = match (&body, range) {
        (None, _) => "404 Not Found",
        (Some(_), None) => "200 OK",
        (Some(_), Some(_)) => "206 Partial Content",
    };
    let body = body.unwrap_or_default();
    let start = range.unwrap_or_default().min(body.len());
    let mut answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n", body.len() - start);
    if range.is_some() {
        let _ = write!(answer, "Content-Range: bytes {start}-{}/{}\r\n", body.len() - 1, body.len());
    }
    answer.push_str("\r\n");
    let mut sent = &body[start..];
    if method == "HEAD" {
        sent = &[];
    } else if state.cuts > 0 && sent.len() > 1000 {
        state.cuts -= 1;
        sent = &sent[..sent.len() / 2];
    }
    drop(state);
    let _ = stream.write_all(answer.as_bytes()).and_then(|()| stream.write_all(sent)).and_then(|()| stream.flush());
}

/// A page about a directory, as the usual servers write it.
fn page(files: &BTreeMap<String, Vec<u8>>, path: &str) -> Option<Vec<u8>> {
    let inside =
        files.keys().filter_map(|name| name.strip_prefix(path)).filter(|_| path.is_empty() || path.ends_with('/'));
    let mut names: Vec<String> = inside
        .map(|name| name.split_once('/').map_or(name.to_owned(), |(directory, _)| format!("{directory}/")))
        .collect();
    names.dedup();
    let mut html = "<html><body><h1>Index of /</h1><a href=\"?C=N;O=D\">Name</a><a href=\"../\">../</a>\n".to_owned();
    for name in &names {
        let _ = writeln!(html, "<a href=\"{name}\">{name}</a>    24-Nov-2026 10:00    -");
    }
    (!names.is_empty()).then(|| html.into_bytes())
}

/// Somebody who signs what is published.
pub(super) struct Publisher {
    key: SigningKey,
}

impl Publisher {
    pub(super) fn new() -> Self {
        // A day ago, so that no clock in this test is too early for the key.
        let made = Timestamp::from(std::time::SystemTime::now() - std::time::Duration::from_hours(24));
        Self { key: SigningKey::generate_repository("publisher", made, Span::from_days(9)).unwrap() }
    }

    /// The certificate, as a value of `source.keys`.
    pub(super) fn certificate(&self) -> String {
        String::from_utf8(self.key.certificate().to_armored().unwrap()).unwrap()
    }

    /// A signature beside `content`.
    pub(super) fn detached(&self, content: &[u8]) -> Vec<u8> {
        CompatKey(self.key.clone()).sign_detached(&mut &*content, now(), None, Encoding::Armored).unwrap()
    }

    /// `content` with a signature around it.
    pub(super) fn inline(&self, content: &str) -> Vec<u8> {
        RepositoryKey(self.key.clone()).sign_inline(content.as_bytes(), now(), now() + Span::from_days(2)).unwrap()
    }
}

fn now() -> Timestamp {
    Timestamp::from(std::time::SystemTime::now())
}

/// `DIGITS  NAME`.
pub(super) fn line(algorithm: Algorithm, content: &[u8], name: &str) -> String {
    let mut hasher = ChecksumHasher::new(algorithm);
    hasher.write_all(content).unwrap();
    format!("{}  {name}\n", hasher.finish().digits())
}

pub(super) fn sha256(content: &[u8], name: &str) -> String {
    line(Algorithm::Sha256, content, name)
}

/// A root file system of a few files, the only one with `marker` in it; below `prefix` in the archive.
pub(super) fn rootfs(prefix: &str, marker: &str) -> Vec<u8> {
    tar(&[
        (&format!("{prefix}/etc/os-release"), "ID=test\nVERSION_ID=1\n"),
        (&format!("{prefix}/etc/marker"), marker),
        (&format!("{prefix}/usr/share/filler"), &"a root file system of a few files\n".repeat(2000)),
    ])
}

/// An archive of files, below a directory `.`.
pub(super) fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = directory.path().join("root").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let options = ["--sort=name", "--owner=0", "--group=0", "--mtime=@1600000000", "-C", "root", "-cf", "-", "."];
    let made = Program::new("tar").args(options).current_dir(&directory).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    made.stdout
}

pub(super) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn bzip2(content: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn xz(content: &[u8]) -> Vec<u8> {
    let options = archive::xz::XzOptions { level: 0, ..archive::xz::XzOptions::default() };
    let mut encoder = archive::xz::Encoder::new(Vec::new(), &options).unwrap();
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn zstd(content: &[u8]) -> Vec<u8> {
    zstd::encode_all(content, 1).unwrap()
}

/// A spec that is nothing but its source. `image` and `source` are keys in YAML's short form.
pub(super) fn spec(image: &str, source: &str, keys: &[&str]) -> String {
    let mut spec = format!(
        "image: {{distribution: test, {image}}}\n\
         targets: {{lxc: {{config: [{{type: all, content: lxc.include = x}}]}}}}\n\
         packages: {{custom_manager: {{clean: {{cmd: true}}, install: {{cmd: true}}, remove: {{cmd: true}}, \
         refresh: {{cmd: true}}, update: {{cmd: true}}}}}}\n\
         source:\n"
    );
    for pair in source.split(", ") {
        let _ = writeln!(spec, "  {pair}");
    }
    if !keys.is_empty() {
        spec.push_str("  keys:\n");
    }
    for key in keys {
        spec.push_str("  - |-\n");
        for line in key.lines() {
            let _ = writeln!(spec, "    {line}");
        }
    }
    spec
}

/// A place for builds of such specs.
pub(super) struct Place {
    pub(super) directory: tempfile::TempDir,
    builds: std::cell::Cell<u32>,
}

impl Place {
    pub(super) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), builds: std::cell::Cell::new(0) }
    }

    /// `build` with a serial of its own, and the cache of this place.
    pub(super) fn build(&self, spec: &str) -> Command {
        let path = self.directory.path().join("spec.yaml");
        fs::write(&path, spec).unwrap();
        let number = self.builds.get() + 1;
        self.builds.set(number);
        let mut command = builder();
        command.arg("build").arg(path).args(["--formats", "lxc", "--xz-level", "0"]);
        command.arg("--output").arg(self.directory.path().join("out"));
        command.arg("--cache").arg(self.directory.path().join("cache"));
        command.args(["--serial", &format!("20261123_{number:04}")]).env("SOURCE_DATE_EPOCH", "1500000000");
        for proxy in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env_remove(proxy);
        }
        command
    }
}

/// A file of a build's root file system.
pub(super) fn file_in(build: &str, path: &str) -> String {
    let archive = Path::new(build).join("rootfs.tar.xz");
    let read = Program::new("tar").arg("-xJOf").arg(archive).arg(format!("./{path}")).output().unwrap();
    assert!(read.status.success(), "{path}: {read:?}");
    String::from_utf8(read.stdout).unwrap()
}
