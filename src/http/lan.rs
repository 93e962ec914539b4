//! `/lan`: how another device of this network learns to trust the server, and the certificate for it.

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use reelay_signaling::ErrorCode;

use super::app::App;
use super::error::Problem;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/lan", get(steps)).route(CA_PATH, get(certificate))
}

async fn steps(State(app): State<App>) -> Result<Html<String>, Problem> {
    let lan = app.server.lan.as_ref().ok_or_else(not_here)?;
    Ok(Html(include_str!("lan.html").replace("{fingerprint}", &lan.config.fingerprint)))
}

async fn certificate(State(app): State<App>) -> Result<Response, Problem> {
    let lan = app.server.lan.as_ref().ok_or_else(not_here)?;
    let headers = [
        (header::CONTENT_TYPE, "application/x-x509-ca-cert"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"reelay-ca.crt\""),
    ];
    Ok((headers, lan.ca.clone()).into_response())
}

fn not_here() -> Problem {
    Problem::new(ErrorCode::NotFound, "this server does not run with --lan")
}

/// Where the authority's certificate is.
pub const CA_PATH: &str = "/lan/ca.crt";
