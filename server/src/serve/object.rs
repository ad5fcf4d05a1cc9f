//! Files that lie in an object store.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::BoxStream;
use http_body::{Frame, SizeHint};

use super::conditional::{Entity, Selection};
use super::document::{Cache, content_type};
use super::respond::{Answering, phrase};
use crate::store::Object;

/// Answers with a file of the object store: sends the client there, or fetches for it what it asked for. What is known
/// without the bytes is answered from here, so that every client sees the same fields whatever holds the builds.
pub(super) async fn answer(request: &Parts, entity: &Entity, object: &Object, name: &str) -> Response {
    let (method, headers) = (&request.method, &request.headers);
    let answering = Answering { method, headers, content_type: content_type(name), cache: Cache::Immutable };
    let part = match entity.select(method, headers) {
        Selection::Whole => 0..entity.size_bytes,
        Selection::Part(part) => part,
        Selection::NotModified | Selection::Unsatisfiable => return answering.with(entity, |_| Body::empty()),
    };
    if method == Method::HEAD || part.is_empty() {
        return answering.with(entity, |_| Body::empty());
    }
    let answer = async {
        // Who goes on with a download compares our entity tags, which are not those of the object store.
        let is_resumed = headers.contains_key(header::IF_RANGE);
        let url = if is_resumed { None } else { object.public_url().await? };
        if let Some(url) = url {
            return redirect(&url);
        }
        let stream = object.part(part.clone()).await?;
        let body = ObjectBody { stream, left: part.end - part.start };
        Ok(answering.with(entity, |_| Body::new(body)))
    };
    answer.await.unwrap_or_else(|error: io::Error| {
        let reason = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        tracing::error!(%error, reason, "A file of the object store cannot be served");
        phrase(StatusCode::BAD_GATEWAY)
    })
}

/// The URL is of use for a while only, so nobody may keep the answer.
fn redirect(url: &str) -> io::Result<Response> {
    let location = HeaderValue::from_str(url).map_err(io::Error::other)?;
    let fields = [(header::LOCATION, location), (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((StatusCode::TEMPORARY_REDIRECT, fields).into_response())
}

/// A part of an object, passed on as it arrives.
struct ObjectBody {
    stream: BoxStream<'static, io::Result<Bytes>>,
    left: u64,
}

impl http_body::Body for ObjectBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let piece = ready!(Pin::new(&mut self.stream).poll_next(context));
        Poll::Ready(Some(match piece {
            Some(Ok(piece)) => {
                self.left = self.left.saturating_sub(piece.len() as u64);
                Ok(Frame::data(piece))
            }
            Some(Err(error)) => Err(error),
            // The client must see that it does not have the whole.
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
