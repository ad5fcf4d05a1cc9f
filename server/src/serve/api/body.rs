//! What builders send.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use formats::record::BuildFile;
use http_body::Body as _;
use tokio::io::AsyncWriteExt;

use super::refusal::Refusal;
use crate::checkpoint::checkpoint;
use crate::limits::Limits;
use crate::upload::Upload;

/// Writes what arrives of a body behind what is there, and returns where it ends.
pub(super) async fn receive(
    body: &mut Body,
    upload: &Upload,
    file: BuildFile,
    mut end: u64,
    size: u64,
    patience: Duration,
) -> Result<u64, Refusal> {
    let mut options = tokio::fs::OpenOptions::new();
    options.create(true).append(true).mode(0o600).custom_flags(NOFOLLOW);
    let mut target = options.open(upload.path(file)).await?;
    let outcome = loop {
        let bytes = match piece(body, patience).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => break Ok(()),
            Err(refusal) => break Err(refusal.at(end)),
        };
        if bytes.len() as u64 > size - end {
            break Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, format!("this file has {size} bytes")).at(end));
        }
        if let Err(error) = target.write_all(&bytes).await.and(target.flush().await) {
            break Err(error.into());
        }
        end += bytes.len() as u64;
        checkpoint("upload:piece");
    };
    target.sync_data().await?;
    outcome.map(|()| end)
}

/// The next piece of a body.
async fn piece(body: &mut Body, patience: Duration) -> Result<Option<Bytes>, Refusal> {
    let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context));
    match tokio::time::timeout(patience, frame).await {
        Err(_) => Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "nothing arrived for too long")),
        Ok(None) => Ok(None),
        Ok(Some(Err(_))) => Err(Refusal::new(StatusCode::BAD_REQUEST, "the body was cut off")),
        Ok(Some(Ok(frame))) => Ok(Some(frame.into_data().unwrap_or_default())),
    }
}

pub(super) async fn read_record(body: &mut Body, limits: &Limits) -> Result<Vec<u8>, Refusal> {
    let mut json = Vec::new();
    while let Some(bytes) = piece(body, limits.stalled).await? {
        json.extend_from_slice(&bytes);
        if json.len() as u64 > limits.record_bytes {
            let error = format!("a build record has at most {} bytes", limits.record_bytes);
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, error));
        }
    }
    Ok(json)
}

/// Takes what is left of the body of a refused request, if it is not much: many clients read no answer before they have
/// sent everything.
pub(super) async fn drained(
    limits: &Limits,
    mut body: Body,
    result: Result<Response, Refusal>,
) -> Result<Response, Refusal> {
    if result.is_err() {
        let drain = async {
            let mut left = limits.record_bytes;
            while let Ok(Some(bytes)) = piece(&mut body, limits.stalled).await {
                left = left.saturating_sub(bytes.len() as u64);
                if left == 0 {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(limits.head, drain).await;
    }
    result
}

#[allow(clippy::cast_possible_wrap, reason = "a flag of one bit")]
const NOFOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
