//! How failed requests are repeated.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use crate::error::TransferError;
use crate::limits::Limits;

/// The repetitions left to one document or file.
pub(crate) struct Patience {
    policy: ExponentialBuilder,
    delays: ExponentialBackoff,
    longest: Duration,
}

impl Patience {
    pub(crate) fn new(limits: &Limits) -> Self {
        let policy = ExponentialBuilder::default()
            .with_min_delay(limits.retry_delay)
            .with_max_delay(limits.retry_delay_max)
            .with_max_times(limits.retries)
            .with_jitter();
        Self { policy, delays: policy.build(), longest: limits.retry_delay_max }
    }

    /// Starts counting anew.
    pub(crate) fn renew(&mut self) {
        self.delays = self.policy.build();
    }

    /// Waits until the next attempt, or gives back an error that there is no use or no patience left to repeat.
    pub(crate) async fn after(&mut self, error: TransferError) -> Result<(), TransferError> {
        if !error.is_retryable() {
            return Err(error);
        }
        let Some(delay) = self.delays.next() else { return Err(error) };
        let asked = match error {
            TransferError::Unavailable { retry_after: Some(asked), .. } => asked,
            _ => Duration::ZERO,
        };
        let delay = delay.max(asked).min(self.longest);
        tracing::warn!(delay_ms = delay.as_millis(), "{error}; trying again");
        tokio::time::sleep(delay).await;
        Ok(())
    }
}
