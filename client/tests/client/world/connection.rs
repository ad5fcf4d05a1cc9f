//! One connection to the server: HTTP with ranges, and whatever goes wrong on the way.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What all connections to a server share.
#[derive(Clone, Default)]
pub(crate) struct Shared {
    pub(crate) files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    pub(crate) requests: Arc<Mutex<Vec<Request>>>,
    pub(crate) fault: Arc<Mutex<Option<Fault>>>,
    /// What a request must say of who asks: the value of its `Authorization`.
    pub(crate) login: Arc<Mutex<Option<&'static str>>>,
}

/// What was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) path: String,
    /// From which byte on.
    pub(crate) from: Option<usize>,
    /// Who asks.
    pub(crate) login: Option<String>,
}

/// What the server does wrong, for files whose path ends like this.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// It sends so many bytes of the file and then nothing, while the connection stays.
    Stalls { end: &'static str, after: usize },
    /// It sends so many bytes of the file, and from then on answers nobody.
    GoesAway { end: &'static str, after: usize },
    /// It answers nobody.
    Gone,
}

/// Answers the requests of one connection until it ends.
pub(crate) fn answer(stream: impl Read + Write, shared: &Shared) {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader) {
        if matches!(*shared.fault.lock().unwrap(), Some(Fault::Gone)) {
            return;
        }
        shared.requests.lock().unwrap().push(request.clone());
        let content = shared.files.lock().unwrap().get(&request.path).cloned();
        let is_known = shared.login.lock().unwrap().is_none_or(|login| request.login.as_deref() == Some(login));
        let (status, content) = match (content, request.from) {
            _ if !is_known => ("401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"".to_owned(), Vec::new()),
            (None, _) => ("404 Not Found".to_owned(), Vec::new()),
            (Some(content), Some(from)) if from < content.len() => {
                let range = format!("bytes {from}-{}/{}", content.len() - 1, content.len());
                (format!("206 Partial Content\r\nContent-Range: {range}"), content[from..].to_vec())
            }
            (Some(content), _) => ("200 OK".to_owned(), content),
        };
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", content.len());
        let fault = shared.fault.lock().unwrap().clone();
        let cut = match fault {
            Some(Fault::Stalls { end, after } | Fault::GoesAway { end, after }) if request.path.ends_with(end) => after,
            _ => content.len(),
        };
        let sent = content.get(..cut).unwrap_or(&content);
        let stream = reader.get_mut();
        let written = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(sent));
        if written.and_then(|()| stream.flush()).is_err() {
            return;
        }
        if sent.len() < content.len() {
            if matches!(fault, Some(Fault::GoesAway { .. })) {
                *shared.fault.lock().unwrap() = Some(Fault::Gone);
                return;
            }
            while matches!(*shared.fault.lock().unwrap(), Some(Fault::Stalls { .. })) {
                std::thread::sleep(Duration::from_millis(10));
            }
            return;
        }
    }
}

fn read(reader: &mut BufReader<impl Read>) -> Option<Request> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return None;
        }
        match line.trim() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let path = lines.first()?.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').to_owned();
    let value = |name: &str| {
        let mut fields = lines.iter().filter_map(|line| line.split_once(": "));
        fields.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    };
    let from = value("range").and_then(|range| range.strip_prefix("bytes=")?.trim_end_matches('-').parse().ok());
    Some(Request { path, from, login: value("authorization") })
}
