//! The key server protocol (draft-shaw-openpgp-hkp-00), as far as `gpg --recv-keys` speaks it.
//!
//! Stock templates before LXC 4.0.12 fetch their key from a key server named by `--keyserver`. The public ones they
//! know are gone, so this server is its own.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::{RawQuery, State as StateOf};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use formats::certificate::Certificate;

use super::State;
use super::respond::phrase;

/// `/pks/lookup?op=get|index|vindex&search=0x…`.
pub(super) async fn lookup(StateOf(state): StateOf<Arc<State>>, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let value = |name: &str| {
        query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let snapshot = state.current.load();
    let search = value("search").unwrap_or_default();
    let found: Vec<&Certificate> =
        snapshot.certificates.iter().filter(|certificate| certificate.answers_to(search)).collect();
    match value("op") {
        Some("get" | "index" | "vindex") if found.is_empty() => phrase(StatusCode::NOT_FOUND),
        Some("get") => get(&found),
        Some("index" | "vindex") => index(&found),
        _ => phrase(StatusCode::BAD_REQUEST),
    }
}

fn get(found: &[&Certificate]) -> Response {
    let armored: Result<Vec<_>, _> = found.iter().map(|certificate| certificate.to_armored()).collect();
    match armored {
        Ok(armored) => typed("application/pgp-keys", armored.concat()),
        Err(error) => {
            tracing::error!(%error, "A certificate could not be written");
            phrase(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

/// The machine-readable index: what a field does not say stays empty.
fn index(found: &[&Certificate]) -> Response {
    let mut text = format!("info:1:{}\n", found.len());
    for certificate in found {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "pub:{}:::::\nuid:rootcellar:::", certificate.fingerprint());
    }
    typed("text/plain; charset=utf-8", text.into_bytes())
}

fn typed(content_type: &'static str, body: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))], body).into_response()
}
