//! Every limit of a transfer.

use std::time::Duration;

/// What a server may cost us. A server that is broken, slow or hostile runs into one of these; each has an error of
/// its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a products file. The largest known, that of images.linuxcontainers.org, has 2 MiB.
    pub document_bytes: u64,
    /// Bytes of the signed root document, which is read before anything vouches for it. It takes about 40 for each
    /// image, so this is enough for four hundred thousand.
    pub root_document_bytes: u64,
    /// Bytes of a certificate.
    pub certificate_bytes: u64,
    /// Bytes of a file, whatever its parent document announces.
    pub file_bytes: u64,
    /// How long a connection, with its TLS handshake, may take.
    pub connect_timeout: Duration,
    /// How long a server may be silent. There is no limit on the whole: a large file may take hours.
    pub read_timeout: Duration,
    /// Bytes per second below which a server is too slow. A server that sends one byte per `read_timeout` would hold
    /// us for years.
    pub minimum_rate: u64,
    /// The time over which the rate is measured. Only waiting for the server counts, not writing to a slow disk.
    pub rate_window: Duration,
    /// How often a failed request is repeated. A download that got further by a mebibyte starts counting anew.
    pub retries: usize,
    /// The wait before the first repetition. It doubles each time, and is jittered.
    pub retry_delay: Duration,
    /// The longest wait before a repetition, also when the server asks for a longer one.
    pub retry_delay_max: Duration,
    /// How many redirects are followed. From https to http none is.
    pub redirects: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            document_bytes: 64 * MIB,
            root_document_bytes: 16 * MIB,
            certificate_bytes: MIB,
            file_bytes: 16 * 1024 * MIB,
            connect_timeout: Duration::from_secs(15),
            read_timeout: Duration::from_secs(30),
            minimum_rate: 1024,
            rate_window: Duration::from_secs(30),
            retries: 4,
            retry_delay: Duration::from_millis(500),
            retry_delay_max: Duration::from_secs(30),
            redirects: 5,
        }
    }
}

const MIB: u64 = 1024 * 1024;
