//! Answers.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Body;
use axum::extract::{Request, State as StateOf};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use formats::digest::Sha256;
use formats::time::Timestamp;

use super::State;
use super::body::FileBody;
use super::conditional::{Entity, Modified, Selection};
use super::document::{Cache, Document, content_type, etag};
use super::file::{Content, Opened};
use super::object;
use super::page;
use super::route::Route;
use crate::publish::RENEW;
use crate::store::ObjectsError;

/// `/healthz`: the server answers.
pub(super) async fn health() -> &'static str {
    "ok\n"
}

/// `/readyz`: whether what is published can be used. That the key which signs it ends soon is said besides.
pub(super) async fn ready(StateOf(state): StateOf<Arc<State>>) -> Response {
    let (snapshot, now) = (state.current.load(), Timestamp::from(SystemTime::now()));
    if now > snapshot.edition.expires {
        return phrase(StatusCode::SERVICE_UNAVAILABLE);
    }
    let warning = snapshot.key_ends_soon(now).map(|end| format!("warning: the signing subkey ends {end}; {RENEW}\n"));
    (StatusCode::OK, format!("ok\n{}", warning.unwrap_or_default())).into_response()
}

/// A document that a request asks for by its plain name; `None` when something else is asked for.
pub(super) async fn document<B>(state: &State, request: &axum::http::Request<B>) -> Option<Response> {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return None;
    }
    let snapshot = state.current.load_full();
    let document = snapshot.document(request.uri().path().strip_prefix('/')?).await?;
    Some(answer_document(request.method(), request.headers(), document, snapshot.modified()).await)
}

/// Everything of the repository.
pub(super) async fn repository(StateOf(state): StateOf<Arc<State>>, request: Request) -> Response {
    let (request, _) = request.into_parts();
    if ![Method::GET, Method::HEAD].contains(&request.method) {
        let allow = [(header::ALLOW, HeaderValue::from_static("GET, HEAD"))];
        return (allow, phrase(StatusCode::METHOD_NOT_ALLOWED)).into_response();
    }
    match Route::parse(request.uri.path()) {
        Err(_) => phrase(StatusCode::BAD_REQUEST),
        Ok(Route::Document(path)) => {
            let snapshot = state.current.load_full();
            match snapshot.document(&path).await {
                Some(document) => {
                    answer_document(&request.method, &request.headers, document, snapshot.modified()).await
                }
                None => phrase(StatusCode::NOT_FOUND),
            }
        }
        Ok(Route::Page(page)) => page::show(&state, &request, page).await,
        Ok(Route::File { channel, build, file }) => {
            if channel.is_some_and(|channel| !state.current.load().has_channel(&channel)) {
                return phrase(StatusCode::NOT_FOUND);
            }
            let opened = tokio::task::spawn_blocking({
                let (state, build) = (Arc::clone(&state), build.clone());
                let file = file.clone();
                move || state.files.open(&build, &file)
            });
            match opened.await.map_err(io::Error::other).flatten() {
                Ok(Some(Opened { entity, content: Content::Object(object) })) => {
                    object::answer(&request, &entity, &object, &file.name()).await
                }
                Ok(Some(opened)) => answer_file(&request, &state, opened, &file.name()),
                Ok(None) => phrase(StatusCode::NOT_FOUND),
                Err(error) => {
                    tracing::error!(%build, file = %file.name(), %error, "A file of the store cannot be served");
                    let is_elsewhere = ObjectsError::is_cause_of(&error);
                    phrase(if is_elsewhere { StatusCode::BAD_GATEWAY } else { StatusCode::INTERNAL_SERVER_ERROR })
                }
            }
        }
    }
}

/// An answer that says its status and nothing else.
pub(super) fn phrase(status: StatusCode) -> Response {
    let text = status.canonical_reason().unwrap_or("Error").to_lowercase();
    let cache = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    let mut response = (status, cache, format!("{text}\n")).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
    }
    response
}

async fn answer_document(method: &Method, headers: &HeaderMap, document: &Document, modified: &Modified) -> Response {
    let encoded = document.encoding(headers).await;
    let (content, etag) =
        encoded.map_or((&document.content, &document.etag), |encoded| (&encoded.content, &encoded.etag));
    let entity = Entity { size_bytes: content.size_bytes, etag: etag.clone(), modified: modified.clone() };
    let answer = Answering { method, headers, content_type: document.content_type, cache: document.cache };
    let mut response = answer.with(&entity, |part| content.slice(part));
    if document.has_encodings() {
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    if let Some(encoded) = encoded.filter(|_| response.status() != StatusCode::NOT_MODIFIED) {
        let coding = HeaderValue::from_static(encoded.coding.name());
        response.headers_mut().insert(header::CONTENT_ENCODING, coding);
    }
    response
}

/// Answers with bytes that were made for this request.
pub(super) fn answer_bytes(
    request: &Parts,
    bytes: &Bytes,
    content_type: &'static str,
    modified: &Modified,
) -> Response {
    let entity = Entity { size_bytes: bytes.len() as u64, etag: etag(&Sha256::of(bytes)), modified: modified.clone() };
    let (method, headers) = (&request.method, &request.headers);
    Answering { method, headers, content_type, cache: Cache::Revalidate }.with(&entity, |part| slice(bytes, part))
}

fn slice(bytes: &Bytes, part: Range<u64>) -> Body {
    let [start, end] = [part.start, part.end].map(|place| usize::try_from(place).unwrap_or(usize::MAX));
    Body::from(bytes.slice(start..end))
}

fn answer_file(request: &Parts, state: &State, opened: Opened, name: &str) -> Response {
    let (method, headers) = (&request.method, &request.headers);
    let answering = Answering { method, headers, content_type: content_type(name), cache: Cache::Immutable };
    answering.with(&opened.entity, |part| match opened.content {
        Content::Bytes(bytes) => slice(&bytes, part),
        Content::File(file) => Body::new(FileBody::new(file, part, &state.buffers)),
        Content::Object(_) => Body::empty(),
    })
}

/// What an answer is made for, and what is said of every part of it.
pub(super) struct Answering<'a> {
    pub(super) method: &'a Method,
    pub(super) headers: &'a HeaderMap,
    pub(super) content_type: &'static str,
    pub(super) cache: Cache,
}

impl Answering<'_> {
    /// Answers with the part of an entity that was asked for. `body` makes the body of a part that lies within it.
    pub(super) fn with(self, entity: &Entity, body: impl FnOnce(Range<u64>) -> Body) -> Response {
        let size = entity.size_bytes;
        let (status, part) = match entity.select(self.method, self.headers) {
            Selection::Whole => (StatusCode::OK, Some(0..size)),
            Selection::Part(part) => (StatusCode::PARTIAL_CONTENT, Some(part)),
            Selection::NotModified => (StatusCode::NOT_MODIFIED, None),
            Selection::Unsatisfiable => {
                let all = HeaderValue::from_str(&format!("bytes */{size}"));
                let range = all.map(|all| [(header::CONTENT_RANGE, all)]);
                return match range {
                    Ok(range) => (range, phrase(StatusCode::RANGE_NOT_SATISFIABLE)).into_response(),
                    Err(_) => phrase(StatusCode::RANGE_NOT_SATISFIABLE),
                };
            }
        };
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.reserve(MOST_FIELDS);
        headers.insert(header::ETAG, entity.etag.clone());
        headers.insert(header::CACHE_CONTROL, self.cache.header());
        headers.insert(header::LAST_MODIFIED, entity.modified.header.clone());
        let Some(part) = part else { return response };
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(part.end - part.start));
        if status == StatusCode::PARTIAL_CONTENT
            && let Ok(range) =
                HeaderValue::from_str(&format!("bytes {}-{}/{size}", part.start, part.end.saturating_sub(1)))
        {
            headers.insert(header::CONTENT_RANGE, range);
        }
        if self.method == Method::GET {
            *response.body_mut() = body(part);
        }
        response
    }
}

/// When to ask again while nothing valid is published: signing afresh is tried twice a minute.
const RETRY_AFTER_SECONDS: &str = "60";

/// The fields of an answer of this module, and those that HTTP itself adds.
const MOST_FIELDS: usize = 12;
