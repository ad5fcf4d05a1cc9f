//! The API for builders: a build is announced by its record, its files are sent in as many pieces as it takes, and a
//! commit brings it into the store by the same door as `import`.

use std::collections::HashSet;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, Request, State as StateOf};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use bytes::Bytes;
use formats::name::Name;
use formats::record::{BuildFile, BuildRecord};
use formats::time::Timestamp;
use http_body::Body as _;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{IntoParams, Modify, OpenApi, ToSchema};

use super::State;
use super::connection::Unencrypted;
use crate::channel::Channel;
use crate::checkpoint::checkpoint;
use crate::data::DataDir;
use crate::import::{ImportError, Imported, import};
use crate::keys::Keys;
use crate::limits::Limits;
use crate::lint::lint;
use crate::operations::{Operations, OperationsError};
use crate::store::{BuildId, Store};
use crate::token::{Secret, Token};
use crate::upload::{Upload, UploadError, Uploads};

/// What the API works with.
#[derive(Debug)]
pub(super) struct Api {
    data: DataDir,
    operations: Operations,
    uploads: Uploads,
    limits: Limits,
    /// Uploads that a request is writing to.
    busy: Mutex<HashSet<String>>,
    beginning: tokio::sync::Mutex<()>,
    printer: terminal::Printer,
}

impl Api {
    pub(super) fn new(data: DataDir, operations: Operations, limits: Limits, printer: terminal::Printer) -> Self {
        let uploads = Uploads::new(&data, limits);
        let (busy, beginning) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { data, operations, uploads, limits, busy, beginning, printer }
    }

    /// One request at a time writes to an upload.
    fn occupy(self: &Arc<Self>, id: &str) -> Result<Busy, Refusal> {
        let is_free = self.busy.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned());
        let busy = Busy { api: Arc::clone(self), id: id.to_owned() };
        if is_free {
            return Ok(busy);
        }
        std::mem::forget(busy);
        Err(Refusal::new(StatusCode::CONFLICT, "another request is writing to this upload"))
    }
}

struct Busy {
    api: Arc<Api>,
    id: String,
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.api.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

/// The routes, below `/api/v1`.
pub(super) fn routes() -> Router<Arc<State>> {
    Router::new()
        .route("/api/v1/openapi.json", get(document))
        .route("/api/v1/uploads", post(begin))
        .route("/api/v1/uploads/{id}", get(show).delete(end))
        .route("/api/v1/uploads/{id}/commit", post(commit))
        .route("/api/v1/uploads/{id}/files/{file}", patch(append))
}

/// The document that describes this API.
#[derive(OpenApi)]
#[openapi(
    info(title = "rootcellar-server", description = "Uploading builds. Tokens are made by `rootcellar-server token create`, and are taken over TLS only."),
    paths(begin, show, append, commit, end),
    components(schemas(UploadState, FileState, Committed, Problem)),
    modifiers(&Bearer)
)]
struct Description;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        document.components.get_or_insert_default().add_security_scheme("token", scheme);
    }
}

/// What has arrived of a build.
#[derive(Serialize, ToSchema)]
struct UploadState {
    /// The name of the upload.
    id: String,
    /// The build, `debian/trixie/amd64/default@20261123_0522`.
    build: String,
    /// The channel it will be offered in.
    channel: String,
    /// The files that the record names.
    files: Vec<FileState>,
}

/// One file of an upload.
#[derive(Serialize, ToSchema)]
struct FileState {
    /// `rootfs.tar.xz`
    name: String,
    /// Its size in bytes.
    size: u64,
    /// How many of them have arrived: where to go on.
    received: u64,
}

/// A build that is in the store.
#[derive(Serialize, ToSchema)]
struct Committed {
    /// The build.
    build: String,
    /// False when the very same build was there already.
    new: bool,
}

/// Why a request was refused.
#[derive(Serialize, ToSchema)]
struct Problem {
    /// In words.
    error: String,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct BeginQuery {
    /// The channel to offer the build in; by default the token's.
    channel: Option<String>,
}

async fn document() -> Response {
    let json = serde_json::to_vec_pretty(&Description::openapi()).unwrap_or_default();
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], json).into_response()
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
async fn begin(
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
async fn show(
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
async fn append(
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

/// Bring a complete upload into the store.
///
/// Every file is checked against the record. The build is then offered in the channel, and visible within seconds.
#[utoipa::path(post, path = "/api/v1/uploads/{id}/commit", security(("token" = [])),
    params(("id" = String, Path, description = "The name of the upload")),
    responses(
        (status = 201, description = "The build is in the store", body = Committed),
        (status = 401, description = "No valid token", body = Problem),
        (status = 404, description = "This token has no such upload", body = Problem),
        (status = 409, description = "Files are missing, or another build of this name is in the store", body = Problem),
        (status = 422, description = "A file is not the one its record names, and has to be sent again; or the build is unusable", body = Problem)))]
async fn commit(
    StateOf(state): StateOf<Arc<State>>,
    Path(id): Path<String>,
    request: Parts,
) -> Result<Response, Refusal> {
    let api = &state.api;
    find(api, &id, &request).await?;
    let busy = api.occupy(&id)?;
    let upload = find(api, &id, &request).await?;
    if !upload.is_complete() {
        return Err(Refusal::new(StatusCode::CONFLICT, "not every file has arrived"));
    }
    let work = tokio::task::spawn_blocking({
        let api = Arc::clone(api);
        move || {
            // It goes on when the client has gone away, and so does the hold on the upload.
            let _busy = busy;
            import_upload(&api, &upload)
        }
    });
    let imported = work.await.map_err(|_| Refusal::failed(&"a commit was cut off"))??;
    state.publish();
    let (Imported::New(build) | Imported::Known(build)) = &imported;
    tokio::task::spawn_blocking({
        let (state, build) = (Arc::clone(&state), build.clone());
        move || make_deltas(&state, &build)
    });
    let new = matches!(imported, Imported::New(_));
    Ok(json_answer(StatusCode::CREATED, &Committed { build: build.to_string(), new }))
}

/// End an upload and throw away what has arrived.
#[utoipa::path(delete, path = "/api/v1/uploads/{id}", security(("token" = [])),
    params(("id" = String, Path, description = "The name of the upload")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 401, description = "No valid token", body = Problem),
        (status = 404, description = "This token has no such upload", body = Problem)))]
async fn end(StateOf(state): StateOf<Arc<State>>, Path(id): Path<String>, request: Parts) -> Result<Response, Refusal> {
    let upload = find(&state.api, &id, &request).await?;
    let _busy = state.api.occupy(&id)?;
    let api = Arc::clone(&state.api);
    blocking(move || Ok(api.uploads.remove(&upload)?)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Writes what arrives of a body behind what is there, and returns where it ends.
async fn receive(
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

async fn read_record(body: &mut Body, limits: &Limits) -> Result<Vec<u8>, Refusal> {
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
async fn drained(limits: &Limits, mut body: Body, result: Result<Response, Refusal>) -> Result<Response, Refusal> {
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

fn import_upload(api: &Api, upload: &Upload) -> Result<Imported, Refusal> {
    let failed = |error: &dyn std::fmt::Display| Refusal::failed(error);
    let writer = api.data.write(&api.printer).map_err(|error| failed(&error))?;
    let keys = Keys::existing(&writer).map_err(|error| failed(&error))?;
    let imported = match import(&writer, &keys, upload.directory(), now()) {
        Ok(imported) => imported,
        Err(error) => {
            if let ImportError::Altered { file, .. } = &error {
                upload.discard(*file).map_err(|error| failed(&error))?;
            }
            let status = match &error {
                ImportError::Different { .. } => StatusCode::CONFLICT,
                _ if error.is_refusal() => StatusCode::UNPROCESSABLE_ENTITY,
                _ => return Err(failed(&error)),
            };
            return Err(Refusal::new(status, error.to_string()));
        }
    };
    let (Imported::New(build) | Imported::Known(build)) = &imported;
    Channel::offer(&writer, &upload.channel, build).map_err(|error| failed(&error))?;
    tracing::info!(%build, channel = %upload.channel, token = %upload.token, "A build was uploaded");
    api.uploads.remove(upload).map_err(|error| failed(&error))?;
    Ok(imported)
}

/// Makes the deltas that lead to a build, and lists them.
fn make_deltas(state: &State, build: &BuildId) {
    let api = &state.api;
    let result = crate::delta::make::make_for(&api.data, build, api.limits, &api.printer);
    match result {
        Ok(true) => state.publish(),
        Ok(false) => {}
        Err(error) => tracing::error!(%build, %error, "There is no delta for a build that was uploaded"),
    }
}

/// The valid token of a request.
async fn authorise(api: &Api, request: &Parts) -> Result<Token, Refusal> {
    if request.extensions.get::<Unencrypted>().is_some() {
        return Err(Refusal::new(StatusCode::FORBIDDEN, "tokens are taken over TLS only"));
    }
    let refused = || Refusal::new(StatusCode::UNAUTHORIZED, "a valid token is needed");
    let value = request.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let secret: Secret = value.and_then(|value| value.strip_prefix("Bearer ")?.parse().ok()).ok_or_else(refused)?;
    let token = api.operations.token(&secret).await.map_err(unavailable)?;
    token.filter(|token| token.is_valid(now())).ok_or_else(refused)
}

/// The upload of a request, if it belongs to its token.
async fn find(api: &Arc<Api>, id: &str, request: &Parts) -> Result<Upload, Refusal> {
    let token = authorise(api, request).await?;
    let upload = blocking({
        let (api, id) = (Arc::clone(api), id.to_owned());
        move || Ok(api.uploads.get(&id)?)
    });
    let upload = upload.await?.filter(|upload| upload.token == token.name);
    upload.ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, "there is no such upload"))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Refusal> + Send + 'static) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Refusal::failed(&"a request was cut off"))?
}

fn describe(upload: &Upload) -> UploadState {
    let file = |(file, (digest, received)): (&BuildFile, &(formats::digest::FileDigest, u64))| FileState {
        name: file.to_string(),
        size: digest.size_bytes,
        received: *received,
    };
    let files = upload.files.iter().map(file).collect();
    UploadState { id: upload.id.clone(), build: upload.build().to_string(), channel: upload.channel.to_string(), files }
}

fn offset(headers: &HeaderMap) -> Option<u64> {
    headers.get(OFFSET)?.to_str().ok()?.parse().ok()
}

fn json_answer(status: StatusCode, value: &impl Serialize) -> Response {
    let json = serde_json::to_vec(value).unwrap_or_default();
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, headers, json).into_response()
}

#[allow(clippy::needless_pass_by_value, reason = "the form that map_err takes")]
fn unavailable(error: OperationsError) -> Refusal {
    let reason = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    tracing::error!(%error, reason, "A token could not be looked up");
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "tokens cannot be looked up at the moment")
}

fn now() -> Timestamp {
    SystemTime::now().into()
}

/// Why a request was refused, as it is answered.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    error: String,
    offset: Option<u64>,
}

impl Refusal {
    fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into(), offset: None }
    }

    /// Our own failure: the log says what it is, and the client only that it is.
    fn failed(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "An upload failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the server failed")
    }

    fn at(self, offset: u64) -> Self {
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

const OFFSET: HeaderName = HeaderName::from_static("upload-offset");
#[allow(clippy::cast_possible_wrap, reason = "a flag of one bit")]
const NOFOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
