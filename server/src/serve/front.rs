//! What answers the requests of the public ports.

use std::sync::Arc;

use axum::Router;
use axum::http::{Request, Response};
use hyper::body::Incoming;

use super::State;
use super::access_log::Entry;
use super::body::Logged;
use super::connection::Answer;
use super::page::PlainPort;
use super::respond;

/// Documents, which nearly all requests are for, are answered from memory at once; the router sees the rest. Every
/// answer is logged.
#[derive(Clone)]
pub(super) struct Front {
    pub(super) state: Arc<State>,
    pub(super) router: Router,
    /// Whether this is the port for plain HTTP, whose address is none for TLS.
    pub(super) is_plain_port: bool,
}

impl Answer for Front {
    type Body = Logged;

    async fn answer(&self, mut request: Request<Incoming>) -> Response<Logged> {
        let entry = Entry::of(&self.state, &request);
        let response = if let Some(response) = respond::document(&self.state, &request).await {
            response
        } else {
            if self.is_plain_port {
                request.extensions_mut().insert(PlainPort);
            }
            self.router.answer(request).await
        };
        Logged::answer(response, entry)
    }
}
