//! One line per request, and what is counted of it.

use std::sync::Arc;
use std::time::Instant;

use axum::http::{HeaderValue, Method, Request, StatusCode, Uri, header};

use super::State;
use super::metrics::Client;

/// What is known of a request until its answer was sent, or cut off. Taking it copies nothing.
#[derive(Debug)]
pub(super) struct Entry {
    state: Arc<State>,
    started: Instant,
    method: Method,
    uri: Uri,
    user_agent: Option<HeaderValue>,
    client: Client,
}

impl Entry {
    pub(super) fn of<B>(state: &Arc<State>, request: &Request<B>) -> Self {
        Self {
            state: Arc::clone(state),
            started: Instant::now(),
            method: request.method().clone(),
            uri: request.uri().clone(),
            user_agent: request.headers().get(header::USER_AGENT).cloned(),
            client: Client::of(request.headers()),
        }
    }

    /// Counts the answer and logs it.
    pub(super) fn end(&self, status: StatusCode, size_bytes: u64) {
        self.state.metrics.count(self.client, status, size_bytes);
        let status = status.as_u16();
        let duration_ms = self.started.elapsed().as_millis();
        let user_agent = self.user_agent.as_ref().map_or_else(String::new, printable);
        let (method, path) = (&self.method, self.uri.path());
        tracing::info!(status, size_bytes, duration_ms, user_agent, "{method} {path}");
    }
}

fn printable(agent: &HeaderValue) -> String {
    let agent = String::from_utf8_lossy(agent.as_bytes());
    if agent.len() <= LONGEST_AGENT
        && agent.bytes().all(|byte| byte == b' ' || byte.is_ascii_alphanumeric() || b"/.-_:;,()+".contains(&byte))
    {
        return agent.into_owned();
    }
    agent.chars().take(LONGEST_AGENT).flat_map(char::escape_debug).collect()
}

const LONGEST_AGENT: usize = 200;
