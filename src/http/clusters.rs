//! `/api/recordings/{id}/index/{file}` and `/live/{file}`: what Media Source Extensions need to play a file that may
//! still grow. The file is the buffer: a slow viewer reads later, nothing is queued for anybody.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, body};
use futures_util::stream;
use reelay_signaling::ErrorCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::{App, Phase, Shutdown};
use super::error::{Problem, ProblemBody, Query};
use super::files::read_at;
use super::segment::{Door, MediaRequest, OpenSegment, Segment, on_disk};
use crate::recording::clusters::{Clusters, codec_ids};
use crate::webm::index::Row;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(index)).routes(routes!(live))
}

/// Where things are in a file.
#[derive(Debug, Serialize, ToSchema)]
struct IndexAnswer {
    /// Begin and length of the initialisation segment.
    init: [u64; 2],
    /// For `addSourceBuffer`.
    mime: String,
    /// How many clusters were left out because of `after`.
    first: usize,
    /// Finished clusters: `[t_ms, offset, len, key_offset, key_len]`; `key_len` is 0 without a keyframe.
    clusters: Vec<[u64; 5]>,
    /// The cluster that grows, as far as it is there; null when there is none.
    open: Option<[u64; 5]>,
    /// True while more may come.
    growing: bool,
}

#[derive(Debug, Deserialize)]
struct IndexQuery {
    #[serde(default)]
    after: usize,
}

/// The clusters of a file
#[utoipa::path(
    get,
    path = "/api/recordings/{id}/index/{file}",
    tag = "recordings",
    params(
        ("id" = String, Path, description = "Recording"),
        ("file" = String, Path, description = "`<participant>-<source>-<n>.webm`"),
        ("after" = Option<usize>, Query, description = "Leave out this many clusters, which the client has"),
        ("exp" = Option<u64>, Query, description = "End of a signed URL"),
        ("sig" = Option<String>, Query, description = "Signature of a signed URL"),
    ),
    responses(
        (status = 200, description = "Where things are", body = IndexAnswer),
        (status = 401, description = "`unauthorized`, `token-expired`", content_type = "application/problem+json", body = ProblemBody),
        (status = 403, description = "`forbidden`", content_type = "application/problem+json", body = ProblemBody),
        (status = 404, description = "`recording-not-found`, `file-not-found`", content_type = "application/problem+json", body = ProblemBody),
    )
)]
async fn index(
    State(app): State<App>,
    request: MediaRequest,
    Query(query): Query<IndexQuery>,
) -> Result<Response, Problem> {
    let segment = Segment::admit(&app, &request, Door::Index).await?;
    let (segment, open, clusters, mime) = look(segment).await?;
    let rows = clusters.rows.get(query.after..).unwrap_or_default();
    let answer = IndexAnswer {
        init: [0, clusters.init_len],
        mime,
        first: query.after.min(clusters.rows.len()),
        clusters: rows.iter().map(numbers).collect(),
        open: clusters.open.as_ref().map(numbers),
        growing: open.is_growing,
    };
    let mut response = Json(answer).into_response();
    let cache = if open.is_growing { "no-store" } else { "private, max-age=3600" };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    segment.allow_origin(response.headers_mut());
    Ok(response)
}

fn numbers(row: &Row) -> [u64; 5] {
    [row.t_ms, row.offset, row.len.into(), row.key_offset, row.key_len.into()]
}

#[derive(Debug, Deserialize)]
struct LiveQuery {
    from: Option<u64>,
}

/// The growing end of a file
///
/// The initialisation segment, then clusters from one with a keyframe on, then what is recorded, in pieces of about
/// 120 ms until the file is closed.
#[utoipa::path(
    get,
    path = "/api/recordings/{id}/live/{file}",
    tag = "recordings",
    params(
        ("id" = String, Path, description = "Recording"),
        ("file" = String, Path, description = "`<participant>-<source>-<n>.webm`"),
        ("from" = Option<u64>, Query, description = "Milliseconds in the file: begins with the cluster that shows them; without it with the newest"),
        ("exp" = Option<u64>, Query, description = "End of a signed URL"),
        ("sig" = Option<String>, Query, description = "Signature of a signed URL"),
    ),
    responses(
        (status = 200, description = "WebM until the file is closed", content_type = "video/webm", body = Vec<u8>),
        (status = 401, description = "`unauthorized`, `token-expired`", content_type = "application/problem+json", body = ProblemBody),
        (status = 403, description = "`forbidden`", content_type = "application/problem+json", body = ProblemBody),
        (status = 404, description = "`recording-not-found`, `file-not-found`", content_type = "application/problem+json", body = ProblemBody),
        (status = 503, description = "`limit-reached`", content_type = "application/problem+json", body = ProblemBody),
    )
)]
async fn live(
    State(app): State<App>,
    request: MediaRequest,
    Query(query): Query<LiveQuery>,
) -> Result<Response, Problem> {
    let segment = Segment::admit(&app, &request, Door::Live).await?;
    let viewer = Viewer::new()?;
    let (segment, open, clusters, mime) = look(segment).await?;
    let tail = Tail {
        growing_path: segment.growing_path(),
        init_left: 0..clusters.init_len,
        at: clusters.start(query.from).map_or(clusters.init_len, |row| row.offset),
        is_growing: open.is_growing,
        file: Arc::new(open.file),
        ends: segment.expires,
        shutdown: app.shutdown.clone(),
        _viewer: viewer,
    };
    let body = body::Body::from_stream(stream::try_unfold(tail, Tail::next));
    let mut response = Response::new(body);
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(&mime).map_err(Problem::internal)?);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    segment.allow_origin(headers);
    Ok(response)
}

async fn look(segment: Segment) -> Result<(Segment, OpenSegment, Clusters, String), Problem> {
    on_disk(move || {
        let open = segment.open()?;
        let read = |file: &File| Ok((Clusters::read(file, open.len, &segment.index_path())?, codec_ids(file)?));
        let (clusters, ids) = read(&open.file).map_err(|error: io::Error| Problem::internal(error))?;
        let mime = segment.mime(&ids);
        Ok((segment, open, clusters, mime))
    })
    .await
}

// A place in a file that moves with its end.
struct Tail {
    file: Arc<File>,
    growing_path: PathBuf,
    init_left: std::ops::Range<u64>,
    at: u64,
    is_growing: bool,
    ends: Option<SystemTime>,
    shutdown: Shutdown,
    _viewer: Viewer,
}

impl Tail {
    async fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        if !self.init_left.is_empty() {
            let bytes =
                read_at(self.file.clone(), self.init_left.start, self.init_left.end - self.init_left.start).await?;
            self.init_left = 0..0;
            return Ok(Some((bytes, self)));
        }
        loop {
            if self.ends.is_some_and(|ends| SystemTime::now() > ends) {
                return Ok(None);
            }
            // Asked before reading: what is written until then is read, and after that nothing comes.
            let was_growing = self.is_growing;
            if was_growing {
                self.is_growing = tokio::fs::try_exists(&self.growing_path).await.unwrap_or(false);
            }
            let bytes = read_at(self.file.clone(), self.at, PIECE_BYTES).await?;
            if !bytes.is_empty() {
                self.at += bytes.len() as u64;
                return Ok(Some((bytes, self)));
            }
            if !self.is_growing {
                return Ok(None);
            }
            tokio::select! {
                () = tokio::time::sleep(PIECE_EVERY) => {}
                () = self.shutdown.reached(Phase::Stopping) => self.is_growing = false,
            }
        }
    }
}

// Counts one reader for as long as it lives.
struct Viewer;

impl Viewer {
    fn new() -> Result<Self, Problem> {
        let viewer = Self;
        if VIEWERS.fetch_add(1, Ordering::Relaxed) >= MAX_VIEWERS {
            return Err(Problem::new(ErrorCode::LimitReached, "too many follow recordings live already"));
        }
        Ok(viewer)
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        VIEWERS.fetch_sub(1, Ordering::Relaxed);
    }
}

static VIEWERS: AtomicUsize = AtomicUsize::new(0);
const MAX_VIEWERS: usize = 1000;
const PIECE_EVERY: Duration = Duration::from_millis(120);
const PIECE_BYTES: u64 = 256 * 1024;
