//! `/api/recordings/{id}/clip/{file}`: a span of one file as a file of its own, without re-encoding.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, Method, Uri};
use axum::response::Response;
use reelay_signaling::ErrorCode;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::App;
use super::content::Content;
use super::error::{Problem, ProblemBody, Query};
use super::files::{download_name, part_bytes};
use super::segment::{Door, MediaRequest, Segment, has_flag, on_disk};
use crate::recording::clip::{Clip, ClipError, cut};
use crate::recording::clusters::Clusters;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(clip))
}

/// A part of a recording, in milliseconds since it began.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Span {
    /// First moment wanted; the beginning when missing.
    #[serde(default)]
    pub(super) from: u64,
    /// First moment not wanted any more; the end when missing.
    #[serde(default = "forever")]
    pub(super) to: u64,
}

fn forever() -> u64 {
    u64::MAX
}

impl Span {
    /// The span itself, unless it is none.
    pub(super) fn checked(self) -> Result<Self, Problem> {
        if self.from < self.to {
            return Ok(self);
        }
        Err(Problem::new(ErrorCode::BadRequest, "a span ends after it begins: 'from' has to be less than 'to'"))
    }
}

/// A clip of a file
///
/// The span of one participant as a WebM of its own, cut without re-encoding: it begins at the keyframe at or before
/// `from`. Ranges and conditions work as for the whole file. Of a file that still grows: as far as its clusters are
/// finished, which is up to the last keyframe but one.
#[utoipa::path(
    get,
    path = "/api/recordings/{id}/clip/{file}",
    tag = "recordings",
    params(
        ("id" = String, Path, description = "Recording"),
        ("file" = String, Path, description = "`<participant>-<source>-<n>.webm`"),
        Span,
        ("exp" = Option<u64>, Query, description = "End of a signed URL"),
        ("sig" = Option<String>, Query, description = "Signature of a signed URL"),
    ),
    responses(
        (status = 200, description = "The whole clip", content_type = "video/webm", body = Vec<u8>),
        (status = 206, description = "One range of it", content_type = "video/webm", body = Vec<u8>),
        (status = 304, description = "The client has this version"),
        (status = 400, description = "`bad-request`", content_type = "application/problem+json", body = ProblemBody),
        (status = 401, description = "`unauthorized`, `token-expired`", content_type = "application/problem+json", body = ProblemBody),
        (status = 403, description = "`forbidden`", content_type = "application/problem+json", body = ProblemBody),
        (status = 404, description = "`recording-not-found`, `file-not-found`; `not-found` when the file has nothing in this span", content_type = "application/problem+json", body = ProblemBody),
        (status = 412, description = "`precondition-failed`", content_type = "application/problem+json", body = ProblemBody),
        (status = 416, description = "`range-not-satisfiable`", content_type = "application/problem+json", body = ProblemBody),
    )
)]
async fn clip(
    State(app): State<App>,
    request: MediaRequest,
    Query(span): Query<Span>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let span = span.checked()?;
    let cap = has_flag(&uri, "part").then_some(part_bytes as fn(u64) -> u64);
    let segment = Segment::admit(&app, &request, Door::Clip).await?;
    let content = on_disk(move || {
        let open = segment.open()?;
        let clip = clip_of(&segment, span)?;
        // Finished clusters never change, so the length names what there is of a file that grows.
        let grown = || format!("\"{}-{}-{:x}\"", segment.id, segment.name.as_str(), clip.content.len());
        let whole = segment.etag(&open).unwrap_or_else(grown);
        let etag = format!("{}+{}-{}\"", whole.trim_end_matches('"'), span.from, span.to);
        let name = format!(
            "{} - {}",
            download_name(&segment, "").trim_end_matches('.'),
            minutes(segment.info.offset_ms + clip.from_ms)
        );
        Ok(Content {
            splice: clip.content,
            etag: Some(etag),
            modified: open.modified,
            content_type: segment.content_type(),
            is_growing: open.is_growing,
            is_signed: segment.is_signed,
            download_name: Some(format!("{name}.webm")),
        })
    })
    .await?;
    content.answer(&method, &headers, cap)
}

/// Cuts a span of the recording out of one of its files.
pub(super) fn clip_of(segment: &Segment, span: Span) -> Result<Clip, Problem> {
    let open = segment.open()?;
    let clusters = Clusters::read(&open.file, open.len, &segment.index_path()).map_err(Problem::internal)?;
    let in_file = |ms: u64| ms.saturating_sub(segment.info.offset_ms);
    cut(&Arc::new(open.file), &clusters, in_file(span.from), in_file(span.to)).map_err(|error| match error {
        ClipError::Empty => Problem::new(ErrorCode::NotFound, "the file has nothing in this span"),
        error => Problem::internal(error),
    })
}

// `1.23.45`, as a file name can hold it.
fn minutes(ms: u64) -> String {
    let s = ms / 1000;
    format!("{}.{:02}.{:02}", s / 3600, s / 60 % 60, s % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_checked() {
        let span = |from, to| Span { from, to }.checked().is_ok();
        assert!(span(0, 1) && span(5, u64::MAX));
        assert!(!span(1, 1) && !span(2, 1));
        assert_eq!(minutes(3_725_999), "1.02.05");
    }
}
