//! Every limit of the server.

use std::time::Duration;

/// What the server takes from others, and for how long it waits for them.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest `build.json` that is read.
    pub record_bytes: u64,
    /// Largest sum of the members of a `meta.tar.xz`.
    pub metadata_bytes: u64,
    /// Largest `packages.json` that is shown.
    pub packages_bytes: u64,
    /// Largest uncompressed archive between which deltas are made: twice as much is needed in memory.
    pub delta_tar_bytes: u64,
    /// A delta is offered when it is smaller than this share of the whole file.
    pub delta_percent: u32,
    /// Largest file that is read whole to be served: signatures, sums, records.
    pub small_file_bytes: u64,
    /// Largest build that can be uploaded, the sum of its files.
    pub upload_bytes: u64,
    /// Uploads of one token under way.
    pub uploads_per_token: usize,
    /// How long after its beginning an upload may be completed.
    pub upload_age: Duration,
    /// Connections served at a time; more wait to be accepted.
    pub connections: usize,
    /// Requests of one HTTP/2 connection at a time.
    pub streams_per_connection: u32,
    /// Largest head of a request, for HTTP/1 and HTTP/2.
    pub head_bytes: usize,
    /// Most header fields of an HTTP/1 request.
    pub headers: usize,
    /// How long a client may take for its TLS handshake.
    pub handshake: Duration,
    /// How long a client may take for the head of a request, and how long a connection may idle.
    pub head: Duration,
    /// How long a client may take no byte of an answer.
    pub stalled: Duration,
    /// How long answers under way may take after the server was asked to stop.
    pub shutdown: Duration,
    /// How much of a file is read at a time. More than this, for many connections, is more than a processor's cache
    /// holds, and the kernel then copies from memory what was just encrypted.
    pub read_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            record_bytes: 1 << 20,
            metadata_bytes: 4 << 20,
            packages_bytes: 8 << 20,
            delta_tar_bytes: formats::delta::TAR_MAX_BYTES,
            delta_percent: 60,
            small_file_bytes: 1 << 20,
            upload_bytes: 16 << 30,
            uploads_per_token: 16,
            upload_age: Duration::from_hours(24),
            connections: 20_000,
            streams_per_connection: 100,
            head_bytes: 16 << 10,
            headers: 64,
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(10),
            stalled: Duration::from_mins(1),
            shutdown: Duration::from_secs(10),
            read_bytes: 32 << 10,
        }
    }
}
