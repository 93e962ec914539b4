//! Who asks: the token of the `Authorization` header as an extractor for every route.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

use super::app::App;
use super::error::Problem;
use crate::auth::Caller;

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        Ok(app.auth.caller(bearer_of(&parts.headers))?)
    }
}

/// The token of `Authorization: Bearer …`.
pub(super) fn bearer_of(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// A digest of that token, to know it again without keeping it; nothing where tokens mean nothing.
pub(super) fn digest_of(app: &App, headers: &HeaderMap) -> Option<[u8; 32]> {
    if app.auth.is_open() {
        return None;
    }
    let digest = ring::digest::digest(&ring::digest::SHA256, bearer_of(headers)?.as_bytes());
    digest.as_ref().try_into().ok()
}

/// The token of a request whose head was taken apart.
pub(super) fn bearer(parts: &Parts) -> Option<&str> {
    bearer_of(&parts.headers)
}
