//! The API for builders: a build is announced by its record, its files are sent in as many pieces as it takes, and a
//! commit brings it into the store by the same door as `import`.
//!
//! | module | what it holds |
//! |---|---|
//! | [`upload`], [`commit`] | the requests |
//! | [`caller`], [`body`] | who makes them, and what they bring |
//! | [`answer`], [`refusal`] | what is answered |

mod answer;
mod body;
mod caller;
mod commit;
mod refusal;
mod upload;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use axum::Router;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use formats::time::Timestamp;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::State;
use crate::data::DataDir;
use crate::limits::Limits;
use crate::operations::Operations;
use crate::upload::Uploads;
use refusal::Refusal;

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
        .route("/api/v1/uploads", post(upload::begin))
        .route("/api/v1/uploads/{id}", get(upload::show).delete(upload::end))
        .route("/api/v1/uploads/{id}/commit", post(commit::commit))
        .route("/api/v1/uploads/{id}/files/{file}", patch(upload::append))
}

/// The document that describes this API.
#[derive(OpenApi)]
#[openapi(
    info(title = "rootcellar-server", description = "Uploading builds. Tokens are made by `rootcellar-server token create`, and are taken over TLS only."),
    paths(upload::begin, upload::show, upload::append, commit::commit, upload::end),
    components(schemas(answer::UploadState, answer::FileState, answer::Committed, answer::Problem)),
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

async fn document() -> Response {
    let json = serde_json::to_vec_pretty(&Description::openapi()).unwrap_or_default();
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], json).into_response()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Refusal> + Send + 'static) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Refusal::failed(&"a request was cut off"))?
}

fn now() -> Timestamp {
    SystemTime::now().into()
}
