//! What is counted, in the text format of Prometheus.

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::State as StateOf;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use formats::time::Timestamp;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::State;
use super::respond::phrase;

type Label = (&'static str, &'static str);

/// The counters of a server.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<[Label; 2], Counter>,
    sent: Family<[Label; 1], Counter>,
    signing_failures: Counter,
    serial: Gauge,
    age: Gauge,
    validity_left: Gauge,
    key_left: Gauge,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("rootcellar");
        let (requests, sent) = (Family::<[Label; 2], Counter>::default(), Family::<[Label; 1], Counter>::default());
        let [serial, age, validity_left, key_left] = [(); 4].map(|()| Gauge::default());
        registry.register("requests", "Answers by family of the client and class of the status", requests.clone());
        registry.register_with_unit("sent", "Bytes of answers by family of the client", Unit::Bytes, sent.clone());
        let signing_failures = Counter::default();
        let failures_help = "Attempts to sign a new generation that failed";
        registry.register("signing_failures", failures_help, signing_failures.clone());
        registry.register("generation_serial", "Repository serial of what is served", serial.clone());
        let age_help = "Time since the publication of what is served";
        registry.register_with_unit("generation_age", age_help, Unit::Seconds, age.clone());
        let left_help = "Time until the end of the validity, negative after it";
        registry.register_with_unit("validity_left", left_help, Unit::Seconds, validity_left.clone());
        let key_help = "Time until the end of the signing subkey, and of what it signed";
        registry.register_with_unit("signing_key_left", key_help, Unit::Seconds, key_left.clone());
        Self { registry, requests, sent, signing_failures, serial, age, validity_left, key_left }
    }

    /// Counts a generation that could not be made.
    pub(super) fn count_signing_failure(&self) {
        self.signing_failures.inc();
    }

    /// Counts an answer that has ended.
    pub(super) fn count(&self, client: Client, status: StatusCode, size_bytes: u64) {
        let client = ("client", client.name());
        self.requests.get_or_create(&[client, ("status", class(status))]).inc();
        self.sent.get_or_create(&[client]).inc_by(size_bytes);
    }
}

/// `/metrics`.
pub(super) async fn show(StateOf(state): StateOf<Arc<State>>) -> Response {
    let (metrics, snapshot) = (&state.metrics, state.current.load());
    let edition = snapshot.edition;
    let now = Timestamp::from(SystemTime::now()).unix();
    metrics.serial.set(i64::try_from(edition.serial).unwrap_or(i64::MAX));
    metrics.age.set(now - edition.published.unix());
    metrics.validity_left.set(edition.expires.unix() - now);
    metrics.key_left.set(snapshot.key_ends.map_or(i64::MAX, |end| end.unix() - now));
    let mut text = String::new();
    match encode(&mut text, &metrics.registry) {
        Ok(()) => ([(header::CONTENT_TYPE, HeaderValue::from_static(OPEN_METRICS))], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "The metrics cannot be written");
            phrase(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

/// A family of clients, as far as they say what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    /// A stock template.
    Lxc,
    /// Incus.
    Incus,
    /// LXD.
    Lxd,
    /// Ours.
    Rootcellar,
    /// wget and wget2.
    Wget,
    /// curl.
    Curl,
    /// A browser.
    Browser,
    /// Anything else.
    Other,
}

impl Client {
    /// The family that a `User-Agent` belongs to.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let agent = headers.get(header::USER_AGENT).map_or(&[][..], HeaderValue::as_bytes);
        let starts =
            |start: &str| agent.get(..start.len()).is_some_and(|text| text.eq_ignore_ascii_case(start.as_bytes()));
        AGENTS.into_iter().find(|(start, _)| starts(start)).map_or(Self::Other, |(_, client)| client)
    }

    /// Its name in labels.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Lxc => "lxc",
            Self::Incus => "incus",
            Self::Lxd => "lxd",
            Self::Rootcellar => "rootcellar",
            Self::Wget => "wget",
            Self::Curl => "curl",
            Self::Browser => "browser",
            Self::Other => "other",
        }
    }
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}

/// How the names that clients give themselves start. Stock templates say `lxc/4.0.6 compat:7`.
const AGENTS: [(&str, Client); 7] = [
    ("lxc/", Client::Lxc),
    ("incus", Client::Incus),
    ("lxd", Client::Lxd),
    ("rootcellar/", Client::Rootcellar),
    ("wget", Client::Wget),
    ("curl/", Client::Curl),
    ("mozilla/", Client::Browser),
];

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_known_by_how_its_name_starts() {
        for (agent, expected) in [
            ("lxc/1:4.0.6-2+deb11u2 compat:7", "lxc"),
            ("Incus 6.0.4 (Linux; x86_64; 6.12; Debian; 13)", "incus"),
            ("LXD 5.0.2 (Linux; x86_64)", "lxd"),
            ("rootcellar/0.1.0", "rootcellar"),
            ("Wget/1.21.3", "wget"),
            ("curl/7.88.1", "curl"),
            ("Mozilla/5.0 (X11; Linux x86_64)", "browser"),
            ("notlxc/1", "other"),
            ("", "other"),
        ] {
            let headers = HeaderMap::from_iter([(header::USER_AGENT, HeaderValue::from_static(agent))]);
            assert_eq!(Client::of(&headers).name(), expected, "{agent}");
        }
        assert_eq!(Client::of(&HeaderMap::new()), Client::Other);
    }
}
