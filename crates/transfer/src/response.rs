//! What the head of a response means.

use std::time::Duration;

use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderName, RETRY_AFTER};
use reqwest::{Response, StatusCode};

use crate::address::Address;
use crate::error::TransferError;

/// Passes on the answers that carry a body we can use, and 416, which says something about ranges.
pub(crate) fn check(address: &Address, response: Response) -> Result<Response, TransferError> {
    let url = address.shown();
    let status = response.status();
    match status {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => Ok(response),
        StatusCode::NOT_FOUND | StatusCode::GONE => Err(TransferError::NotFound { url }),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Err(unavailable(url, &response)),
        _ if status.is_server_error() => Err(unavailable(url, &response)),
        _ if status.is_client_error() => Err(TransferError::Refused { url, status: status.as_u16() }),
        _ => Err(unusable(address, &response, "status 200")),
    }
}

/// The answer is not one of those the request allows.
pub(crate) fn unusable(address: &Address, response: &Response, expected: &'static str) -> TransferError {
    let found = format!("status {}", response.status().as_u16());
    TransferError::BadResponse { url: address.shown(), expected, found }
}

fn unavailable(url: String, response: &Response) -> TransferError {
    let seconds = header(response, &RETRY_AFTER).and_then(|value| value.parse().ok());
    let retry_after = seconds.map(Duration::from_secs);
    TransferError::Unavailable { url, status: response.status().as_u16(), retry_after }
}

/// `Content-Length`, also where no body follows.
pub(crate) fn length(response: &Response) -> Option<u64> {
    header(response, &CONTENT_LENGTH)?.parse().ok()
}

/// `Content-Range: bytes START-END/TOTAL`, or `bytes */TOTAL` (RFC 9110, 14.4). What is missing or malformed is absent.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ContentRange {
    pub(crate) start: Option<u64>,
    pub(crate) total: Option<u64>,
}

impl ContentRange {
    pub(crate) fn of(response: &Response) -> Self {
        header(response, &CONTENT_RANGE).map(Self::parse).unwrap_or_default()
    }

    fn parse(value: &str) -> Self {
        let Some((range, total)) = value.strip_prefix("bytes ").and_then(|rest| rest.split_once('/')) else {
            return Self::default();
        };
        let start = range.split_once('-').and_then(|(start, _)| start.parse().ok());
        Self { start, total: total.parse().ok() }
    }
}

fn header<'a>(response: &'a Response, name: &HeaderName) -> Option<&'a str> {
    response.headers().get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read_and_malformed_ones_say_nothing() {
        let read = |value| {
            let ContentRange { start, total } = ContentRange::parse(value);
            (start, total)
        };
        assert_eq!(read("bytes 5-9/10"), (Some(5), Some(10)));
        assert_eq!(read("bytes 5-9/*"), (Some(5), None));
        assert_eq!(read("bytes */10"), (None, Some(10)));
        for malformed in ["", "bytes", "items 5-9/10", "bytes 5-9", "bytes x-9/y", "bytes -5-9/99999999999999999999"] {
            assert_eq!(read(malformed), (None, None), "{malformed}");
        }
    }
}
