//! What the API says.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use formats::record::BuildFile;
use serde::Serialize;
use utoipa::ToSchema;

use crate::upload::Upload;

/// What has arrived of a build.
#[derive(Serialize, ToSchema)]
pub(super) struct UploadState {
    /// The name of the upload.
    pub(super) id: String,
    /// The build, `debian/trixie/amd64/default@20261123_0522`.
    pub(super) build: String,
    /// The channel it will be offered in.
    pub(super) channel: String,
    /// The files that the record names.
    pub(super) files: Vec<FileState>,
}

/// One file of an upload.
#[derive(Serialize, ToSchema)]
pub(super) struct FileState {
    /// `rootfs.tar.xz`
    pub(super) name: String,
    /// Its size in bytes.
    pub(super) size: u64,
    /// How many of them have arrived: where to go on.
    pub(super) received: u64,
}

/// A build that is in the store.
#[derive(Serialize, ToSchema)]
pub(super) struct Committed {
    /// The build.
    pub(super) build: String,
    /// False when the very same build was there already.
    pub(super) new: bool,
}

/// Why a request was refused.
#[derive(Serialize, ToSchema)]
pub(super) struct Problem {
    /// In words.
    pub(super) error: String,
}

pub(super) fn describe(upload: &Upload) -> UploadState {
    let file = |(file, (digest, received)): (&BuildFile, &(formats::digest::FileDigest, u64))| FileState {
        name: file.to_string(),
        size: digest.size_bytes,
        received: *received,
    };
    let files = upload.files.iter().map(file).collect();
    UploadState { id: upload.id.clone(), build: upload.build().to_string(), channel: upload.channel.to_string(), files }
}

pub(super) fn json_answer(status: StatusCode, value: &impl Serialize) -> Response {
    let json = serde_json::to_vec(value).unwrap_or_default();
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, headers, json).into_response()
}
