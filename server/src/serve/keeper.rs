//! Keeping what is served current: generations of other processes are picked up, and new ones are made in time.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use formats::time::{Span, Timestamp};
use terminal::Printer;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::State;
use super::snapshot::Snapshot;
use crate::data::DataDir;
use crate::error::Error;
use crate::generation::Generation;
use crate::keys::Keys;
use crate::publish::{Publisher, RENEW};

/// Looks after the current generation as long as the server runs.
pub(super) struct Keeper {
    pub(super) data: DataDir,
    pub(super) validity: Span,
    pub(super) printer: Printer,
}

impl Keeper {
    pub(super) async fn keep(self, state: Arc<State>, publisher: Publisher) {
        let this = Arc::new(self);
        let mut idle = Some(publisher);
        let mut publishing: Option<JoinHandle<(Publisher, Result<(), Error>)>> = None;
        let mut not_before = Instant::now();
        loop {
            sleep(PERIOD).await;
            if let Err(error) = this.pick_up(&state).await {
                tracing::error!(%error, "The current generation cannot be read; the one before is still served");
                sleep(PAUSE).await;
            }
            if publishing.as_ref().is_some_and(JoinHandle::is_finished)
                && let Some(done) = publishing.take()
            {
                let (publisher, result) = done.await.unwrap_or_else(|_| (Publisher::new(&this.data), Ok(())));
                idle = Some(publisher);
                if let Err(error) = result {
                    let expires = state.current.load().edition.expires;
                    let reason = describe(&error);
                    state.metrics.count_signing_failure();
                    tracing::error!(reason, "Signing afresh failed; what is served can be used until {expires}");
                    not_before = Instant::now() + PAUSE;
                }
            }
            let is_due = state.current.load().edition.is_due(now()) && Instant::now() >= not_before;
            if idle.is_none() {
                continue;
            }
            let is_wanted = state.is_publish_wanted.swap(false, Ordering::AcqRel);
            if (is_due || is_wanted)
                && let Some(publisher) = idle.take()
            {
                let this = Arc::clone(&this);
                publishing = Some(tokio::task::spawn_blocking(move || this.publish(publisher, is_wanted)));
            }
        }
    }

    /// Serves the current generation, if it is another one and the last flip is over.
    async fn pick_up(self: &Arc<Self>, state: &State) -> io::Result<()> {
        let served = state.current.load_full();
        if !served.is_settled() {
            return Ok(());
        }
        let (data, previous) = (self.data.clone(), Arc::clone(&served));
        let read = tokio::task::spawn_blocking(move || {
            let current = Generation::current(&data)?.filter(|current| current.serial != previous.edition.serial);
            current.map(|current| Snapshot::load(&current, Some(&previous))).transpose()
        });
        let Some(next) = read.await.map_err(io::Error::other).flatten()? else { return Ok(()) };
        let (edition, key_ends) = (next.edition, next.key_ends_soon(now()));
        state.current.store(Arc::new(next.after(&served)));
        tracing::info!(serial = edition.serial, "Serving a new generation, valid until {}", edition.expires);
        if let Some(end) = key_ends {
            tracing::warn!("The signing subkey ends {end}; {RENEW}");
        }
        Ok(())
    }

    /// Makes a new generation; unless it is wanted for what it shows, not if another process did while this one waited
    /// for its turn. The keys are read each
    /// time: they may have been renewed.
    fn publish(&self, mut publisher: Publisher, is_wanted: bool) -> (Publisher, Result<(), Error>) {
        let result = (|| {
            let writer = self.data.write(&self.printer)?;
            let edition = Generation::current(&writer)?.map(|current| current.edition()).transpose()?;
            if is_wanted || edition.is_none_or(|edition| edition.is_due(now())) {
                let keys = Keys::existing(&writer)?;
                publisher.publish(&writer, &keys, now(), self.validity, &self.printer)?;
            }
            Ok(())
        })();
        (publisher, result)
    }
}

fn now() -> Timestamp {
    SystemTime::now().into()
}

/// An error with its causes, in one line.
fn describe(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// How often the link to the current generation is looked at.
const PERIOD: Duration = Duration::from_millis(250);

/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_secs(30);
