//! The end of an upload: the build enters the store.

use std::sync::Arc;

use axum::extract::{Path, State as StateOf};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;

use super::super::State;
use super::answer::{Committed, Problem, json_answer};
use super::caller::find;
use super::refusal::Refusal;
use super::{Api, now};
use crate::channel::Channel;
use crate::import::{ImportError, Imported, import};
use crate::keys::Keys;
use crate::store::BuildId;
use crate::upload::Upload;

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
pub(super) async fn commit(
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
