//! Who takes a document.

/// Takes the bytes of a document as they arrive.
pub trait Sink {
    /// The document begins, with this many bytes if its server says so: what was taken before does not count, as the
    /// attempt failed.
    fn begin(&mut self, announced_bytes: Option<u64>);

    /// The next bytes.
    fn take(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    fn begin(&mut self, announced_bytes: Option<u64>) {
        self.clear();
        self.reserve_exact(announced_bytes.and_then(|bytes| bytes.try_into().ok()).unwrap_or_default());
    }

    fn take(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}
