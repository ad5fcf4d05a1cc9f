//! What systemd hands to a service, and what it wants to hear from it. Without systemd nothing of this does anything.

use std::io;
use std::net::TcpListener as StdListener;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::time::sleep;

/// Sockets that are listening already (socket activation, `sd_listen_fds(3)`).
#[derive(Debug, Default)]
pub(super) struct Passed {
    /// The one for TLS: any that is named otherwise than the other two.
    pub(super) tls: Option<TcpListener>,
    /// The one named `plain`.
    pub(super) plain: Option<TcpListener>,
    /// The one named `metrics`.
    pub(super) metrics: Option<TcpListener>,
}

impl Passed {
    /// Takes what was handed over; to be called once.
    pub(super) fn take() -> io::Result<Self> {
        let mut passed = Self::default();
        for (descriptor, name) in sd_notify::listen_fds_with_names()? {
            let listener = own(descriptor);
            listener.set_nonblocking(true)?;
            let place = match name.as_str() {
                "plain" => &mut passed.plain,
                "metrics" => &mut passed.metrics,
                _ => &mut passed.tls,
            };
            if place.replace(TcpListener::from_std(listener)?).is_some() {
                let reason = "systemd handed over two sockets for one purpose; name them `tls`, `plain` and `metrics`";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
            }
        }
        Ok(passed)
    }
}

/// Says that connections are accepted.
pub(super) fn ready() {
    notify(NotifyState::Ready);
}

/// Says that no more connections are accepted.
pub(super) fn stopping() {
    notify(NotifyState::Stopping);
}

/// Says twice in each period of the watchdog that tasks still run; returns at once when there is no watchdog.
pub(super) async fn feed_watchdog() {
    let Some(period) = sd_notify::watchdog_enabled() else { return };
    loop {
        notify(NotifyState::Watchdog);
        sleep(period / 2).await;
    }
}

fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "The service manager cannot be told");
    }
}

#[allow(unsafe_code, reason = "a descriptor that another process left open has only its number")]
fn own(descriptor: RawFd) -> StdListener {
    // SAFETY: systemd opened the descriptor for this process alone, and nothing else here knows its number.
    unsafe { OwnedFd::from_raw_fd(descriptor) }.into()
}
