//! Who is told how far a download is.

/// Follows one download. Calls come from the task that downloads.
pub trait Reporter: Send + Sync {
    /// The download of `total` bytes begins, `resumed_from` of which are there already. Called again with 0 when it
    /// has to start over.
    fn started(&self, total: u64, resumed_from: u64);

    /// `bytes` more arrived.
    fn advanced(&self, bytes: u64);

    /// The file is complete, verified and in its place.
    fn finished(&self);
}

/// Nobody is told.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoReporter;

impl Reporter for NoReporter {
    fn started(&self, _: u64, _: u64) {}
    fn advanced(&self, _: u64) {}
    fn finished(&self) {}
}
