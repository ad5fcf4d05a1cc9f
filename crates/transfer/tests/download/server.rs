//! A server that does what a test tells it to.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_RANGE, LOCATION, RANGE};
use axum::http::{HeaderMap, HeaderName, Response, StatusCode};
use axum_server::tls_rustls::RustlsConfig;
use futures_util::stream;
use tokio::task::JoinHandle;

/// A request, and how many came before it.
pub(crate) struct Ask {
    pub(crate) number: usize,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
}

impl Ask {
    /// The first byte of the range asked for.
    pub(crate) fn from(&self) -> Option<usize> {
        let range = self.headers.get(RANGE)?.to_str().unwrap();
        Some(range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().unwrap())
    }
}

/// An answer.
#[derive(Clone)]
pub(crate) struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    /// The connection breaks after so many bytes of the body.
    cut_after: Option<usize>,
    /// The pause after each chunk of the body.
    pause: Duration,
    /// The pause before the connection breaks. It lets what was sent before reach the client.
    stall: Duration,
    endless: bool,
}

impl Reply {
    pub(crate) fn status(status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap();
        Self {
            status,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            cut_after: None,
            pause: Duration::ZERO,
            stall: Duration::from_millis(10),
            endless: false,
        }
    }

    /// 200 with `content` and its length.
    pub(crate) fn whole(content: &[u8]) -> Self {
        Self { body: Bytes::copy_from_slice(content), ..Self::status(200) }
            .header(CONTENT_LENGTH, &content.len().to_string())
    }

    /// 200 with `content` of unknown length.
    pub(crate) fn unannounced(content: &[u8]) -> Self {
        Self { body: Bytes::copy_from_slice(content), ..Self::status(200) }
    }

    /// What a server that knows ranges answers.
    pub(crate) fn ranged(ask: &Ask, content: &[u8]) -> Self {
        match ask.from() {
            None => Self::whole(content),
            Some(from) if from >= content.len() => {
                Self::status(416).header(CONTENT_RANGE, &format!("bytes */{}", content.len()))
            }
            Some(from) => {
                let range = format!("bytes {from}-{}/{}", content.len() - 1, content.len());
                Self { status: StatusCode::PARTIAL_CONTENT, ..Self::whole(&content[from..]) }
                    .header(CONTENT_RANGE, &range)
            }
        }
    }

    pub(crate) fn redirect(to: &str) -> Self {
        Self::status(302).header(LOCATION, to)
    }

    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.insert(name, value.parse().unwrap());
        self
    }

    pub(crate) fn cut_after(self, bytes: usize) -> Self {
        Self { cut_after: Some(bytes), ..self }
    }

    /// Falls silent after `bytes` instead of breaking the connection.
    pub(crate) fn stalling_after(self, bytes: usize) -> Self {
        Self { stall: Duration::from_mins(1), ..self.cut_after(bytes) }
    }

    pub(crate) fn pausing(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }

    pub(crate) fn endless(self) -> Self {
        Self { endless: true, ..self }
    }

    fn into_response(self, sent: &Arc<AtomicU64>) -> Response<Body> {
        let (status, headers) = (self.status, self.headers.clone());
        let mut response = Response::new(Body::from_stream(self.into_stream(Arc::clone(sent))));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }

    fn into_stream(self, sent: Arc<AtomicU64>) -> impl futures_util::Stream<Item = io::Result<Bytes>> {
        let end = self.cut_after.unwrap_or(self.body.len()).min(self.body.len());
        stream::unfold(0, move |at| {
            let (reply, sent) = (self.clone(), Arc::clone(&sent));
            async move {
                if at > 0 {
                    tokio::time::sleep(reply.pause).await;
                }
                let at = if at >= end && reply.endless { 0 } else { at };
                if at >= end {
                    reply.cut_after?;
                    tokio::time::sleep(reply.stall).await;
                    return Some((Err(io::ErrorKind::ConnectionReset.into()), at));
                }
                let chunk = reply.body.slice(at..end.min(at + CHUNK_BYTES));
                sent.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                let next = at + chunk.len();
                Some((Ok(chunk), next))
            }
        })
    }
}

/// A running server; it stops when dropped.
pub(crate) struct Server {
    origin: String,
    asked: Arc<Mutex<Vec<Option<usize>>>>,
    sent: Arc<AtomicU64>,
    task: JoinHandle<io::Result<()>>,
}

impl Server {
    pub(crate) fn start(answer: impl Fn(&Ask) -> Reply + Send + Sync + 'static) -> Self {
        Self::launch(answer, None)
    }

    /// A server that speaks TLS, reached as `localhost`.
    pub(crate) fn start_tls(
        config: rustls::ServerConfig,
        answer: impl Fn(&Ask) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::launch(answer, Some(config))
    }

    /// A server with one file, which knows ranges.
    pub(crate) fn of_file(content: Vec<u8>) -> Self {
        Self::start(move |ask| Reply::ranged(ask, &content))
    }

    fn launch(answer: impl Fn(&Ask) -> Reply + Send + Sync + 'static, tls: Option<rustls::ServerConfig>) -> Self {
        let (asked, sent) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU64::new(0)));
        let answer = Arc::new(answer);
        let router = Router::new().fallback({
            let (asked, sent) = (Arc::clone(&asked), Arc::clone(&sent));
            move |request: Request| {
                let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
                let path = request.uri().path().to_owned();
                let ask = Ask { number: asked.len(), path, headers: request.headers().clone() };
                asked.push(ask.from());
                let response = answer(&ask).into_response(&sent);
                async { Ok::<_, Infallible>(response) }
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let service = router.into_make_service();
        let (origin, task) = match tls {
            None => {
                let server = axum_server::from_tcp(listener).unwrap();
                (format!("http://127.0.0.1:{port}"), tokio::spawn(server.serve(service)))
            }
            Some(config) => {
                let config = RustlsConfig::from_config(Arc::new(config));
                let server = axum_server::from_tcp_rustls(listener, config).unwrap();
                (format!("https://localhost:{port}"), tokio::spawn(server.serve(service)))
            }
        };
        Self { origin, asked, sent, task }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// The first byte of the range asked for by each request so far.
    pub(crate) fn asked(&self) -> Vec<Option<usize>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many bytes of bodies were sent.
    pub(crate) fn sent_bytes(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

const CHUNK_BYTES: usize = 10_000;
