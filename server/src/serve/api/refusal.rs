//! Requests that are refused.

use std::io;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::answer::{Problem, json_answer};
use crate::operations::OperationsError;
use crate::upload::UploadError;

/// Why a request was refused, as it is answered.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    error: String,
    offset: Option<u64>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into(), offset: None }
    }

    /// Our own failure: the log says what it is, and the client only that it is.
    pub(super) fn failed(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "An upload failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the server failed")
    }

    pub(super) fn at(self, offset: u64) -> Self {
        Self { offset: Some(offset), ..self }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                tracing::error!(%error, "There is no room for an upload");
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "the server has no room")
            }
            _ => Self::failed(&error),
        }
    }
}

impl From<UploadError> for Refusal {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::TooLarge { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
            UploadError::TooMany { .. } => Self::new(StatusCode::TOO_MANY_REQUESTS, error.to_string()),
            UploadError::Damaged { .. } => Self::failed(&error),
            UploadError::Io(error) => error.into(),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = json_answer(self.status, &Problem { error: self.error });
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(offset) = self.offset {
            response.headers_mut().insert(OFFSET, HeaderValue::from(offset));
        }
        response
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the form that map_err takes")]
pub(super) fn unavailable(error: OperationsError) -> Refusal {
    let reason = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    tracing::error!(%error, reason, "A token could not be looked up");
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "tokens cannot be looked up at the moment")
}

/// Where a piece of a file begins, and where the next one does.
pub(super) const OFFSET: HeaderName = HeaderName::from_static("upload-offset");
