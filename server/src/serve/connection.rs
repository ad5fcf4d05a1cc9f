//! Connections: accepting them, TLS, and HTTP on top.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::http::{Request, Response, Uri};
use bytes::Bytes;
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::stall::Impatient;
use crate::limits::Limits;

/// What a port speaks.
#[derive(Clone)]
pub(super) enum Listener {
    /// TLS only.
    Tls(TlsConfig),
    /// Plain HTTP only.
    Plain,
    /// Both: the first byte tells. Stock templates of the GPG era fall back to plain HTTP on the same port.
    Both(TlsConfig),
}

/// The certificate and protocols of connections that are made now.
type TlsConfig = Arc<ArcSwap<rustls::ServerConfig>>;

/// What answers the requests of a port.
pub(super) trait Answer: Clone + Send + Sync + 'static {
    /// The body of an answer.
    type Body: Body<Data = Bytes, Error = axum::Error> + Send + 'static;

    /// Answers a request, whose path has no runs of slashes.
    fn answer(&self, request: Request<Incoming>) -> impl Future<Output = Response<Self::Body>> + Send;
}

impl Answer for Router {
    type Body = axum::body::Body;

    async fn answer(&self, request: Request<Incoming>) -> Response<Self::Body> {
        let Ok(response) = TowerToHyperService::new(self.clone()).call(request).await;
        response
    }
}

/// The request came without TLS.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unencrypted;

/// Accepts connections and serves them.
#[derive(Clone)]
pub(super) struct Accepting<A> {
    answer: A,
    limits: Limits,
    slots: Arc<Semaphore>,
    /// Changes once when connections should finish what they do; dropped by each when it has.
    stop: watch::Receiver<()>,
}

impl<A: Answer> Accepting<A> {
    pub(super) fn new(answer: A, limits: Limits, stop: watch::Receiver<()>) -> Self {
        Self { answer, limits, slots: Arc::new(Semaphore::new(limits.connections)), stop }
    }

    /// The same for a port that is answered otherwise; the limits are those of both together.
    pub(super) fn answering(self, answer: A) -> Self {
        Self { answer, ..self }
    }

    /// Serves the connections of one port. Beyond the limit they wait in the kernel's queue.
    pub(super) async fn accept(self, socket: TcpListener, listener: Listener) {
        loop {
            let Ok(slot) = Arc::clone(&self.slots).acquire_owned().await else { return };
            match socket.accept().await {
                Ok((stream, _)) => {
                    let (this, listener) = (self.clone(), listener.clone());
                    tokio::spawn(async move {
                        if let Err(error) = this.serve(stream, listener).await {
                            tracing::debug!(%error, "A connection ended");
                        }
                        drop(slot);
                    });
                }
                Err(error) => {
                    // Out of file descriptors, or the peer is gone already: neither is a reason to stop.
                    tracing::warn!(%error, "A connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn serve(self, stream: TcpStream, listener: Listener) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let config = match listener {
            Listener::Plain => None,
            Listener::Tls(config) => Some(config),
            Listener::Both(config) => {
                let mut first = [0];
                let count = timeout(self.limits.handshake, stream.peek(&mut first)).await??;
                (count == 0 || first == [TLS_HANDSHAKE]).then_some(config)
            }
        };
        let stream = Impatient::new(stream, self.limits.stalled);
        let Some(config) = config else { return self.speak(stream, false, false).await };
        // Idle connections are many: what is needed only for the handshake is given back, and what stays is moved by its
        // address, because each function here would keep room of its own for it.
        let acceptor = TlsAcceptor::from(config.load_full());
        let stream = Box::new(Box::pin(timeout(self.limits.handshake, acceptor.accept(stream))).await??);
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        self.speak(stream, is_http2, true).await
    }

    /// HTTP over an established stream. The version is known beforehand, so no client can linger over its first bytes.
    async fn speak<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        self,
        stream: S,
        is_http2: bool,
        is_encrypted: bool,
    ) -> io::Result<()> {
        let Self { answer, limits, stop, .. } = self;
        let stream = TokioIo::new(stream);
        let service = service_fn(move |request| {
            let answer = answer.clone();
            let mut request = normalised(request);
            if !is_encrypted {
                request.extensions_mut().insert(Unencrypted);
            }
            async move { Ok::<_, Infallible>(answer.answer(request).await) }
        });
        if is_http2 {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder
                .timer(TokioTimer::new())
                .keep_alive_interval(limits.head)
                .keep_alive_timeout(limits.head)
                .max_concurrent_streams(limits.streams_per_connection)
                .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX));
            Box::pin(until_stopped(builder.serve_connection(stream, service), stop)).await
        } else {
            let mut builder = http1::Builder::new();
            builder
                .timer(TokioTimer::new())
                .header_read_timeout(limits.head)
                .max_headers(limits.headers)
                .max_buf_size(limits.head_bytes);
            Box::pin(until_stopped(builder.serve_connection(stream, service), stop)).await
        }
    }
}

/// Serves a connection to its end, or until what it does is finished when the server stops.
async fn until_stopped<C>(connection: C, mut stop: watch::Receiver<()>) -> io::Result<()>
where
    C: GracefulConnection<Error = hyper::Error>,
{
    let mut connection = pin!(connection);
    let result = tokio::select! {
        biased;
        result = connection.as_mut() => result,
        _ = stop.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    result.map_err(io::Error::other)
}

/// Runs of slashes count as one, before anything is routed: stock templates write `//meta/1.0/…`.
fn normalised(mut request: Request<Incoming>) -> Request<Incoming> {
    let uri = request.uri();
    if !uri.path().contains("//") {
        return request;
    }
    let mut path = String::with_capacity(uri.path().len());
    for segment in uri.path().split('/').filter(|segment| !segment.is_empty()) {
        path.push('/');
        path.push_str(segment);
    }
    if let Some(query) = uri.query() {
        path.push('?');
        path.push_str(query);
    }
    if let Ok(uri) = Uri::try_from(if path.is_empty() { "/" } else { &path }) {
        *request.uri_mut() = uri;
    }
    request
}

/// The content type of a TLS handshake record (RFC 8446 section 5.1). No method of HTTP starts with it.
const TLS_HANDSHAKE: u8 = 0x16;

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

    /// A server that says `yes`, its address, and what stops it.
    async fn serving(limits: Limits) -> (std::net::SocketAddr, watch::Sender<()>) {
        let (stop, stopped) = watch::channel(());
        let router = Router::new().fallback(|| async { "yes" });
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(Accepting::new(router, limits, stopped).accept(socket, Listener::Plain));
        (address, stop)
    }

    async fn is_answered(stream: &mut TcpStream) -> bool {
        stream.write_all(REQUEST).await.unwrap();
        let mut answer = [0; 4096];
        let count = timeout(Duration::from_millis(300), stream.read(&mut answer)).await;
        count.is_ok_and(|count| count.unwrap() > 0)
    }

    #[tokio::test]
    async fn a_connection_beyond_the_limit_is_served_when_another_has_ended() {
        let (address, _stop) = serving(Limits { connections: 1, ..Limits::default() }).await;
        let mut first = TcpStream::connect(address).await.unwrap();
        assert!(is_answered(&mut first).await);
        let mut second = TcpStream::connect(address).await.unwrap();
        assert!(!is_answered(&mut second).await);
        drop(first);
        let mut answer = [0; 4096];
        let count = timeout(Duration::from_secs(10), second.read(&mut answer)).await.unwrap().unwrap();
        assert!(answer[..count].starts_with(b"HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn a_connection_that_idles_is_closed() {
        let limits = Limits { head: Duration::from_millis(200), ..Limits::default() };
        let (address, _stop) = serving(limits).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        assert!(is_answered(&mut stream).await);
        let mut rest = Vec::new();
        timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await.unwrap().unwrap();
        assert_eq!(rest, b"");
    }
}
