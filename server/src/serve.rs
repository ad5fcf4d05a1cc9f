//! The running server.
//!
//! Documents come from an immutable copy of the current generation in memory, files of builds from the store. Nothing
//! else is reachable: a path is parsed into a [`route::Route`] or answered with a fixed phrase.

mod access_log;
mod api;
mod body;
mod conditional;
mod connection;
mod document;
mod encoding;
mod file;
mod front;
mod hkp;
mod keeper;
mod metrics;
mod object;
mod page;
mod respond;
mod route;
mod snapshot;
mod stall;
mod systemd;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use axum::Router;
use axum::routing::get;
use formats::time::Span;
use terminal::Printer;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::commands::host_name;
use crate::data::DataDir;
use crate::generation::Generation;
use crate::limits::Limits;
use crate::operations::{Operations, OperationsError};
use crate::publish::Publisher;
use crate::tls::{TlsError, TlsFiles};
use connection::{Accepting, Listener};
use file::Files;
use front::Front;
use snapshot::Snapshot;

/// What a server needs to know to run.
#[derive(Debug)]
pub struct Settings {
    /// The data directory.
    pub data: DataDir,
    /// The address for TLS.
    pub listen: String,
    /// The address for plain HTTP, if there is one.
    pub plain_listen: Option<String>,
    /// The address for metrics, if there is one.
    pub metrics_listen: Option<String>,
    /// Whether the TLS port answers plain HTTP too.
    pub allow_plain: bool,
    /// Where certificate and key are; they are read again at SIGHUP.
    pub tls: TlsFiles,
    /// The fingerprint of the repository certificate.
    pub fingerprint: String,
    /// The validity of generations this server makes.
    pub validity: Span,
    /// The address of the operations database, if it is not the one in the data directory.
    pub database: Option<String>,
    /// The limits.
    pub limits: Limits,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listening {
    /// The address for TLS.
    pub tls: SocketAddr,
    /// The address for plain HTTP.
    pub plain: Option<SocketAddr>,
    /// The address for metrics.
    pub metrics: Option<SocketAddr>,
    /// The URL that clients on this machine and, by its name, elsewhere can use.
    pub url: String,
}

/// What every request is answered from.
#[derive(Debug)]
struct State {
    current: ArcSwap<Snapshot>,
    files: Files,
    site: page::Site,
    metrics: metrics::Metrics,
    buffers: Arc<body::Buffers>,
    started: conditional::Modified,
    api: Arc<api::Api>,
    /// Whether a generation is wanted that shows what was uploaded.
    is_publish_wanted: AtomicBool,
}

impl State {
    /// Asks for a new generation, soon.
    fn publish(&self) {
        self.is_publish_wanted.store(true, Ordering::Release);
    }
}

/// Runs the server until SIGTERM or SIGINT; answers under way are finished. `ready` is called once connections are
/// accepted.
pub fn run(
    settings: Settings,
    publisher: Publisher,
    printer: &Printer,
    ready: impl FnOnce(&Listening) -> io::Result<()>,
) -> Result<(), ServeError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(serve(settings, publisher, printer, ready));
    // A publish that is under way may be cut off like by any kill.
    runtime.shutdown_background();
    result
}

async fn serve(
    settings: Settings,
    publisher: Publisher,
    printer: &Printer,
    ready: impl FnOnce(&Listening) -> io::Result<()>,
) -> Result<(), ServeError> {
    let current = Generation::current(&settings.data)?.ok_or(ServeError::NoGeneration)?;
    let operations = Operations::new(&settings.data, settings.database.as_deref())?;
    let passed = systemd::Passed::take()?;
    let (tls, tls_address) = match passed.tls {
        Some(passed) => with_address(passed)?,
        None => bind(&settings.listen).await?,
    };
    let plain = optional(passed.plain, settings.plain_listen.as_deref()).await?;
    let metrics = optional(passed.metrics, settings.metrics_listen.as_deref()).await?;
    let listening = Listening {
        tls: tls_address,
        plain: plain.as_ref().map(|(_, address)| *address),
        metrics: metrics.as_ref().map(|(_, address)| *address),
        url: format!("https://{}", reachable(tls_address)),
    };

    let state = Arc::new(State {
        current: ArcSwap::from_pointee(Snapshot::load(&current, None)?),
        files: Files::new(settings.data.clone(), settings.limits),
        site: page::Site { url: listening.url.clone(), fingerprint: settings.fingerprint.clone() },
        metrics: metrics::Metrics::new(),
        buffers: Arc::new(body::Buffers::new(settings.limits.read_bytes)),
        started: SystemTime::now().into(),
        api: Arc::new(api::Api::new(settings.data.clone(), operations, settings.limits, printer.clone())),
        is_publish_wanted: AtomicBool::new(false),
    });
    let (stop, stopped) = watch::channel(());
    let watching = Accepting::new(watchers(Arc::clone(&state)), settings.limits, stopped.clone());
    let front = Front { state: Arc::clone(&state), router: router(Arc::clone(&state)), is_plain_port: false };
    let accepting = Accepting::new(front.clone(), settings.limits, stopped);
    let on_plain_port = Front { is_plain_port: true, ..front };
    let tls_config = Arc::new(ArcSwap::new(settings.tls.server_config().map_err(ServeError::Tls)?));
    let config = Arc::clone(&tls_config);
    let listener = if settings.allow_plain { Listener::Both(config) } else { Listener::Tls(config) };
    let mut tasks = vec![tokio::spawn(accepting.clone().accept(tls, listener))];
    tasks.extend(
        plain.map(|(plain, _)| tokio::spawn(accepting.answering(on_plain_port).accept(plain, Listener::Plain))),
    );
    tasks.extend(metrics.map(|(metrics, _)| tokio::spawn(watching.accept(metrics, Listener::Plain))));
    let keeper = keeper::Keeper { data: settings.data, validity: settings.validity, printer: printer.clone() };
    tasks.push(tokio::spawn(keeper.keep(state, publisher)));

    let (mut terminated, mut interrupted) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tasks.push(tokio::spawn(reload(signal(SignalKind::hangup())?, settings.tls, tls_config)));
    ready(&listening)?;
    systemd::ready();
    tasks.push(tokio::spawn(systemd::feed_watchdog()));
    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    systemd::stopping();
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    let _ = stop.send(());
    if tokio::time::timeout(settings.limits.shutdown, stop.closed()).await.is_err() {
        tracing::warn!("Answers still under way were cut off");
    }
    Ok(())
}

/// At each SIGHUP, connections that are made from then on get the certificate that is in the files then. What is
/// unusable is not used.
async fn reload(mut hung_up: Signal, files: TlsFiles, current: Arc<ArcSwap<rustls::ServerConfig>>) {
    while hung_up.recv().await.is_some() {
        let files = files.clone();
        let read = tokio::task::spawn_blocking(move || files.server_config());
        match read.await {
            Ok(Ok(config)) => {
                current.store(config);
                tracing::info!("The TLS certificate was read again");
            }
            Ok(Err(error)) => tracing::error!(%error, "The TLS certificate stays the one before"),
            Err(_) => return,
        }
    }
}

fn router(state: Arc<State>) -> Router {
    Router::new()
        .route("/healthz", get(respond::health))
        .route("/readyz", get(respond::ready))
        .route("/pks/lookup", get(hkp::lookup))
        .merge(api::routes())
        .fallback(respond::repository)
        .with_state(state)
}

/// What the port for metrics answers. It is a port of its own because behind a proxy on the same machine every client
/// seems to be local.
fn watchers(state: Arc<State>) -> Router {
    Router::new()
        .route("/healthz", get(respond::health))
        .route("/readyz", get(respond::ready))
        .route("/metrics", get(metrics::show))
        .with_state(state)
}

/// A socket that was handed over, or else one at an address that was given, or none.
async fn optional(
    passed: Option<TcpListener>,
    address: Option<&str>,
) -> Result<Option<(TcpListener, SocketAddr)>, ServeError> {
    match (passed, address) {
        (Some(passed), _) => Ok(Some(with_address(passed)?)),
        (None, Some(address)) => bind(address).await.map(Some),
        (None, None) => Ok(None),
    }
}

fn with_address(listener: TcpListener) -> io::Result<(TcpListener, SocketAddr)> {
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// An address of IPv6 where the machine has none is taken for the one of IPv4.
async fn bind(address: &str) -> Result<(TcpListener, SocketAddr), ServeError> {
    let listen = |address: String| async move {
        let listener = TcpListener::bind(&address).await.map_err(|source| ServeError::Bind { address, source })?;
        Ok(with_address(listener)?)
    };
    match (listen(address.to_owned()).await, address.strip_prefix("[::]:")) {
        (Err(ServeError::Bind { source, .. }), Some(port))
            if source.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error()) =>
        {
            listen(format!("0.0.0.0:{port}")).await
        }
        (result, _) => result,
    }
}

/// An address that means every address is not one to connect to.
fn reachable(address: SocketAddr) -> String {
    if address.ip().is_unspecified() { format!("{}:{}", host_name(), address.port()) } else { address.to_string() }
}

/// Why the server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be used.
    #[error("cannot listen on `{address}`")]
    Bind {
        /// The address.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A name that no certificate can hold.
    #[error("`{}` is not a name for a certificate: expected a host name or an address", name.escape_debug())]
    Name {
        /// The name.
        name: String,
    },
    /// The certificate.
    #[error(transparent)]
    Tls(TlsError),
    /// The operations database.
    #[error(transparent)]
    Operations(#[from] OperationsError),
    /// Nothing was ever published.
    #[error("nothing was published yet")]
    NoGeneration,
    /// The system failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl ServeError {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Bind { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                Some("another program listens there; choose another port with `--listen ADDR:PORT`".to_owned())
            }
            Self::Bind { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("ports below 1024 need root or CAP_NET_BIND_SERVICE".to_owned())
            }
            Self::Bind { .. } => Some("an address is written `127.0.0.1:8443` or `[::]:8443`".to_owned()),
            Self::NoGeneration => Some("`rootcellar-server publish` makes the first generation".to_owned()),
            Self::Operations(error) => error.hint(),
            Self::Name { .. } | Self::Tls(_) | Self::Io(_) => None,
        }
    }

    /// Whether the input is to blame, and not the machine.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Bind { .. } | Self::Name { .. } | Self::Tls(TlsError::Unreadable { .. } | TlsError::Unusable(_)) => {
                true
            }
            Self::Operations(error) => error.is_refusal(),
            Self::Tls(TlsError::Authority(_) | TlsError::Io(_)) | Self::NoGeneration | Self::Io(_) => false,
        }
    }
}
