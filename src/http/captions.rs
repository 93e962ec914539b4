//! `/api/recordings/{id}/captions/{language}`: what was said, as WebVTT.

use std::fs::File;
use std::time::SystemTime;

use axum::extract::{Path as AxumPath, State};
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use reelay_signaling::{ErrorCode, RecordingId};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::App;
use super::content::Content;
use super::error::{Problem, ProblemBody, Query};
use super::segment::{Admitted, Asker, on_disk};
use crate::auth::{Grant, SignedQuery};
use crate::recording::captions::{languages, path_of};
use crate::recording::shelf::Place;
use crate::recording::splice::Splice;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(captions))
}

/// Captions that a recording has.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Captions {
    /// As in BCP 47.
    language: String,
    /// WebVTT, signed where keys are on.
    url: String,
}

/// The captions of a recording, with their addresses. Looks at the disk.
pub(super) fn listed(app: &App, id: &RecordingId) -> Vec<Captions> {
    let found = languages(&app.library.shelf().folder(id, Place::Shown));
    let url = |language: &str| app.auth.sign_url(&path(id, language), SystemTime::now());
    found.into_iter().map(|language| Captions { url: url(&language), language }).collect()
}

fn path(id: &RecordingId, language: &str) -> String {
    format!("/api/recordings/{id}/captions/{language}")
}

/// The captions of a recording
///
/// WebVTT in the time of the recording, `<v Name>` says who speaks. The manifest lists the languages.
#[utoipa::path(
    get,
    path = "/api/recordings/{id}/captions/{language}",
    tag = "recordings",
    params(
        ("id" = String, Path, description = "Recording"),
        ("language" = String, Path, description = "As in BCP 47"),
        ("exp" = Option<u64>, Query, description = "End of a signed URL"),
        ("sig" = Option<String>, Query, description = "Signature of a signed URL"),
    ),
    responses(
        (status = 200, description = "The captions", content_type = "text/vtt", body = String),
        (status = 206, description = "One range of them", content_type = "text/vtt", body = String),
        (status = 304, description = "The client has this version"),
        (status = "4XX", content_type = "application/problem+json", body = ProblemBody),
    )
)]
async fn captions(
    State(app): State<App>,
    AxumPath((id, language)): AxumPath<(String, String)>,
    Query(signed): Query<SignedQuery>,
    asker: Asker,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id: RecordingId = id.parse()?;
    let none = || Problem::new(ErrorCode::NotFound, "the recording has no captions in this language");
    let admitted = Admitted::by(&app, id.clone(), &path(&id, &language), &signed, &asker, Grant::Replay).await?;
    let path = path_of(&app.library.shelf().folder(&id, Place::Shown), &language).ok_or_else(none)?;
    let is_signed = admitted.is_signed;
    let content = on_disk(move || {
        let file = File::open(path).map_err(|_| none())?;
        let about = file.metadata().map_err(Problem::internal)?;
        Ok(Content {
            splice: Splice::of_file(file, about.len()),
            etag: None,
            modified: about.modified().ok(),
            content_type: "text/vtt; charset=utf-8",
            // They may be made anew at any time, so a browser asks.
            is_growing: true,
            is_signed,
            download_name: None,
        })
    })
    .await?;
    content.answer(&method, &headers, None)
}
