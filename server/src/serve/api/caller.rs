//! Who makes a request, and what is theirs.

use std::sync::Arc;

use axum::http::request::Parts;
use axum::http::{StatusCode, header};

use super::super::connection::Unencrypted;
use super::refusal::{Refusal, unavailable};
use super::{Api, blocking, now};
use crate::token::{Secret, Token};
use crate::upload::Upload;

/// The valid token of a request.
pub(super) async fn authorise(api: &Api, request: &Parts) -> Result<Token, Refusal> {
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
pub(super) async fn find(api: &Arc<Api>, id: &str, request: &Parts) -> Result<Upload, Refusal> {
    let token = authorise(api, request).await?;
    let upload = blocking({
        let (api, id) = (Arc::clone(api), id.to_owned());
        move || Ok(api.uploads.get(&id)?)
    });
    let upload = upload.await?.filter(|upload| upload.token == token.name);
    upload.ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, "there is no such upload"))
}
