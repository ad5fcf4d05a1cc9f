//! The body of a response, guarded against servers that are silent or slow.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Response;
use tokio::time::{Instant, timeout};

use crate::address::Address;
use crate::error::{Cause, TransferError};
use crate::limits::Limits;

/// Reads a body in chunks. Decoded bytes count, so an endless compressed nothing is slow, too.
pub(crate) struct Body<'a> {
    response: Response,
    address: &'a Address,
    limits: &'a Limits,
    received: u64,
    /// Time spent waiting, and bytes received, in the present window.
    window_waited: Duration,
    window_received: u64,
}

impl<'a> Body<'a> {
    pub(crate) fn new(response: Response, address: &'a Address, limits: &'a Limits) -> Self {
        Self { response, address, limits, received: 0, window_waited: Duration::ZERO, window_received: 0 }
    }

    /// The next bytes, or `None` at the end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, TransferError> {
        let mut silent = Duration::ZERO;
        loop {
            self.check_rate()?;
            let silence_left = self.limits.read_timeout.saturating_sub(silent);
            let window_left = self.limits.rate_window.saturating_sub(self.window_waited);
            let began = Instant::now();
            let outcome = timeout(silence_left.min(window_left), self.response.chunk()).await;
            silent += began.elapsed();
            self.window_waited += began.elapsed();
            match outcome {
                Ok(Ok(None)) => return Ok(None),
                Ok(Ok(Some(chunk))) => {
                    self.received += chunk.len() as u64;
                    self.window_received += chunk.len() as u64;
                    return Ok(Some(chunk));
                }
                Ok(Err(error)) => return Err(self.interrupted(Cause::root_of(&error))),
                Err(_) if silent >= self.limits.read_timeout => return Err(self.timed_out()),
                Err(_) => {}
            }
        }
    }

    /// The error for a body that ended, or broke, too early.
    pub(crate) fn interrupted(&self, source: Cause) -> TransferError {
        TransferError::Interrupted { url: self.address.shown(), received: self.received, source }
    }

    fn timed_out(&self) -> TransferError {
        TransferError::TimedOut { url: self.address.shown(), after: self.limits.read_timeout }
    }

    /// At the end of a window, refuses a slow server and opens the next window.
    fn check_rate(&mut self) -> Result<(), TransferError> {
        if self.window_waited < self.limits.rate_window {
            return Ok(());
        }
        let milliseconds = u64::try_from(self.window_waited.as_millis()).unwrap_or(u64::MAX).max(1);
        let found = self.window_received.saturating_mul(1000) / milliseconds;
        if found < self.limits.minimum_rate {
            let minimum_rate = self.limits.minimum_rate;
            return Err(TransferError::TooSlow { url: self.address.shown(), minimum_rate, found });
        }
        (self.window_waited, self.window_received) = (Duration::ZERO, 0);
        Ok(())
    }
}
