//! One line per request, and what is counted of it.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State as StateOf};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;

use super::State;
use super::body::CountedBody;
use super::metrics::Client;

/// Answers a request and logs it once its answer was sent, or cut off.
pub(super) async fn log(StateOf(state): StateOf<Arc<State>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let user_agent = user_agent(request.headers());
    let client = Client::of(request.headers());
    let response = next.run(request).await;
    let status = response.status();
    response.map(|body| {
        Body::new(CountedBody::new(body, move |size_bytes| {
            state.metrics.count(client, status, size_bytes);
            let status = status.as_u16();
            let duration_ms = started.elapsed().as_millis();
            tracing::info!(status, size_bytes, duration_ms, user_agent, "{method} {path}");
        }))
    })
}

fn user_agent(headers: &HeaderMap) -> String {
    let text = headers.get(header::USER_AGENT).map(|agent| String::from_utf8_lossy(agent.as_bytes()));
    text.unwrap_or_default().chars().take(LONGEST_AGENT).flat_map(char::escape_debug).collect()
}

const LONGEST_AGENT: usize = 200;
