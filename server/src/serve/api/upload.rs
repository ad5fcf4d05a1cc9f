//! An upload: beginning it, sending its files, ending it.

use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, Request, State as StateOf};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use formats::name::Name;
use formats::record::{BuildFile, BuildRecord};
use serde::Deserialize;
use utoipa::IntoParams;

use super::super::State;
use super::answer::{Committed, Problem, UploadState, describe, json_answer};
use super::body::{drained, read_record, receive};
use super::caller::{authorise, find};
use super::refusal::{OFFSET, Refusal, unavailable};
use super::{Api, blocking, now};
use crate::channel::Channel;
use crate::lint::lint;
use crate::store::{BuildId, Store};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct BeginQuery {
    /// The channel to offer the build in; by default the token's.
    channel: Option<String>,
}

/// Begin an upload.
///
/// The body is the build record, `build.json`. The same record again goes on with the upload under way and says what
/// has arrived of it.
#[utoipa::path(post, path = "/api/v1/uploads", params(BeginQuery), security(("token" = [])),
    request_body(content = String, content_type = "application/json", description = "build.json"),
    responses(
        (status = 201, description = "The upload began, or goes on", body = UploadState, headers(("Location" = String))),
        (status = 200, description = "This very build is in the store, and is now offered in the channel", body = Committed),
        (status = 401, description = "No valid token", body = Problem),
        (status = 403, description = "The token does not cover this image or channel, or the request came without TLS", body = Problem),
        (status = 409, description = "Another build of this name is in the store", body = Problem),
        (status = 413, description = "The record, or the build it describes, is too large", body = Problem),
        (status = 422, description = "The body is no record that could enter the store", body = Problem),
        (status = 429, description = "The token has too many uploads under way", body = Problem)))]
pub(super) async fn begin(
    StateOf(state): StateOf<Arc<State>>,
    Query(query): Query<BeginQuery>,
    request: Request,
) -> Result<Response, Refusal> {
    let (request, mut body) = request.into_parts();
    let result = begin_with(&state, query, &request, &mut body).await;
    drained(&state.api.limits, body, result).await
}

async fn begin_with(state: &State, query: BeginQuery, request: &Parts, body: &mut Body) -> Result<Response, Refusal> {
    let api = &state.api;
    let token = authorise(api, request).await?;
    let json = read_record(body, &api.limits).await?;
    let record = BuildRecord::from_json(&json)
        .map_err(|error| Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, format!("not a build record: {error}")))?;
    let channel: Name = match query.channel {
        Some(channel) => channel
            .parse()
            .map_err(|_| Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "this is no name of a channel"))?,
        None => token.scope.channel.clone(),
    };
    if !token.scope.covers(&record.image, &channel) {
        let what = format!("this token is for {} in channel {}", token.scope.images, token.scope.channel);
        return Err(Refusal::new(StatusCode::FORBIDDEN, what));
    }
    lint(&record).map_err(|error| Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()))?;
    let now = now();
    api.operations.note_used(&token.name, now).await.map_err(unavailable)?;
    let build = BuildId::of(&record);
    let there = blocking({
        let (api, build) = (Arc::clone(api), build.clone());
        move || Ok(Store::new(&api.data).record(&build).map_err(io::Error::other)?)
    });
    match there.await? {
        Some(there) if there == record => {
            let is_new = blocking({
                let (api, build, channel) = (Arc::clone(api), build.clone(), channel.clone());
                move || {
                    let writer = api.data.write(&api.printer)?;
                    Ok(Channel::offer(&writer, &channel, &build).map_err(io::Error::other)?)
                }
            });
            if is_new.await? {
                state.publish();
            }
            return Ok(json_answer(StatusCode::OK, &Committed { build: build.to_string(), new: false }));
        }
        Some(_) => return Err(Refusal::new(StatusCode::CONFLICT, format!("the store has another {build}"))),
        None => {}
    }
    // Two requests with one record must not make two uploads.
    let _one_at_a_time = api.beginning.lock().await;
    let upload = blocking({
        let api = Arc::clone(api);
        move || Ok(api.uploads.begin(&record, &json, &token.name, &channel, now)?)
    })
    .await?;
    let mut response = json_answer(StatusCode::CREATED, &describe(&upload));
    if let Ok(location) = HeaderValue::from_str(&format!("/api/v1/uploads/{}", upload.id)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// What has arrived of an upload.
#[utoipa::path(get, path = "/api/v1/uploads/{id}", security(("token" = [])),
    params(("id" = String, Path, description = "The name of the upload")),
    responses(
        (status = 200, description = "The upload", body = UploadState),
        (status = 401, description = "No valid token", body = Problem),
        (status = 404, description = "This token has no such upload", body = Problem)))]
pub(super) async fn show(
    StateOf(state): StateOf<Arc<State>>,
    Path(id): Path<String>,
    request: Parts,
) -> Result<Response, Refusal> {
    let upload = find(&state.api, &id, &request).await?;
    Ok(json_answer(StatusCode::OK, &describe(&upload)))
}

/// Send a piece of a file.
///
/// `Upload-Offset` says where the piece begins, which must be what has arrived. What arrives before a connection breaks
/// is kept.
#[utoipa::path(patch, path = "/api/v1/uploads/{id}/files/{file}", security(("token" = [])),
    params(("id" = String, Path, description = "The name of the upload"),
        ("file" = String, Path, description = "A file that the record names"),
        ("Upload-Offset" = u64, Header, description = "Where the piece begins")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 204, description = "The piece is there", headers(("Upload-Offset" = u64))),
        (status = 400, description = "No usable Upload-Offset", body = Problem),
        (status = 401, description = "No valid token", body = Problem),
        (status = 404, description = "No such upload, or no such file", body = Problem),
        (status = 408, description = "Nothing arrived for too long", body = Problem),
        (status = 409, description = "The piece does not begin where the last one ended: the answer's Upload-Offset says where", body = Problem),
        (status = 413, description = "More than the record says", body = Problem),
        (status = 507, description = "The server has no room", body = Problem)))]
pub(super) async fn append(
    StateOf(state): StateOf<Arc<State>>,
    Path((id, name)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Refusal> {
    let (request, mut body) = request.into_parts();
    let result = append_with(&state.api, &id, &name, &request, &mut body).await;
    drained(&state.api.limits, body, result).await
}

async fn append_with(
    api: &Arc<Api>,
    id: &str,
    name: &str,
    request: &Parts,
    body: &mut Body,
) -> Result<Response, Refusal> {
    find(api, id, request).await?;
    let _busy = api.occupy(id)?;
    // Once more, now that nobody else writes.
    let upload = find(api, id, request).await?;
    let file = BuildFile::ALL.into_iter().find(|file| file.name() == name);
    let found = file.and_then(|file| Some((file, *upload.files.get(&file)?)));
    let Some((file, (digest, received))) = found else {
        return Err(Refusal::new(StatusCode::NOT_FOUND, "the record names no such file"));
    };
    let offset = offset(&request.headers)
        .ok_or_else(|| Refusal::new(StatusCode::BAD_REQUEST, "`Upload-Offset` must say where the piece begins"))?;
    if offset != received {
        let refusal = Refusal::new(StatusCode::CONFLICT, format!("{received} bytes of this file have arrived"));
        return Err(refusal.at(received));
    }
    let end = receive(body, &upload, file, received, digest.size_bytes, api.limits.stalled).await?;
    Ok((StatusCode::NO_CONTENT, [(OFFSET, HeaderValue::from(end))]).into_response())
}

/// End an upload and throw away what has arrived.
#[utoipa::path(delete, path = "/api/v1/uploads/{id}", security(("token" = [])),
    params(("id" = String, Path, description = "The name of the upload")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 401, description = "No valid token", body = Problem),
        (status = 404, description = "This token has no such upload", body = Problem)))]
pub(super) async fn end(
    StateOf(state): StateOf<Arc<State>>,
    Path(id): Path<String>,
    request: Parts,
) -> Result<Response, Refusal> {
    let upload = find(&state.api, &id, &request).await?;
    let _busy = state.api.occupy(&id)?;
    let api = Arc::clone(&state.api);
    blocking(move || Ok(api.uploads.remove(&upload)?)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn offset(headers: &HeaderMap) -> Option<u64> {
    headers.get(OFFSET)?.to_str().ok()?.parse().ok()
}
