//! A mirror that lies: the files of a real server, some of them changed on the way.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use super::server::TestServer;

/// A static site over plain HTTP with everything a server publishes. A mirror holds no key, so whatever it changes
/// must be noticed by the client.
pub(crate) struct Mirror {
    files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    /// `http://127.0.0.1:PORT`.
    pub(crate) url: String,
}

impl Mirror {
    /// A faithful copy of what `server` publishes now.
    pub(crate) fn of(server: &TestServer) -> Self {
        let files = Arc::new(Mutex::new(published(server)));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let content = Arc::clone(&files);
        // The thread ends with the process; a test that is over asks it for nothing.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let content = Arc::clone(&content);
                thread::spawn(move || answer(stream, &content));
            }
        });
        Self { files, url }
    }

    /// The paths of its files.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.files.lock().unwrap().keys().cloned().collect()
    }

    /// Changes one file.
    pub(crate) fn alter(&self, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
        change(self.files.lock().unwrap().get_mut(path).unwrap_or_else(|| panic!("no `{path}` in {:?}", self.paths())));
    }

    /// The content of one file.
    pub(crate) fn file(&self, path: &str) -> Vec<u8> {
        self.files.lock().unwrap()[path].clone()
    }

    /// Serves what another mirror kept.
    pub(crate) fn replay(&self, kept: &Self) {
        let kept = kept.files.lock().unwrap().clone();
        *self.files.lock().unwrap() = kept;
    }

    /// Takes over what `server` publishes now.
    pub(crate) fn follow(&self, server: &TestServer) {
        *self.files.lock().unwrap() = published(server);
    }
}

/// Every file of the repository tree, by its path on the server.
fn published(server: &TestServer) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    read_below(&server.documents(), "", &mut files);
    read_below(&server.images(), "images/", &mut files);
    files
}

fn read_below(directory: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display())) {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            read_below(&entry.path(), &format!("{prefix}{name}/"), files);
        } else {
            files.insert(format!("{prefix}{name}"), std::fs::read(entry.path()).unwrap());
        }
    }
}

fn answer(mut stream: TcpStream, files: &Mutex<BTreeMap<String, Vec<u8>>>) {
    let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
    let request = lines.next().unwrap_or_default();
    // The rest of the head must be read, or closing the connection would reset it.
    lines.find(String::is_empty);
    let path = request.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
    let body = files.lock().unwrap().get(&path).cloned();
    let status = if body.is_some() { "200 OK" } else { "404 Not Found" };
    let body = body.unwrap_or_default();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
}
