//! `/api/recordings/{id}/export` by POST and `/api/jobs/{id}`: movies and files for editors, made in the background.

use std::time::SystemTime;

use axum::Json;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::response::Response;
use reelay_signaling::{ErrorCode, RecordingId, RoomName};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::App;
use super::content::Content;
use super::error::{Json as Body, Path, Problem, ProblemBody, Query};
use super::export::name;
use super::segment::{Asker, on_disk, problem};
use crate::audit::{Action, By, To};
use crate::auth::{Caller, Grant, SignedQuery};
use crate::recording::library::is_active;
use crate::recording::parse_file_name;
use crate::recording::shelf::Place;
use crate::render::{Job, JobError, JobState, Kind, Layout, Story};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(begin)).routes(routes!(look, cancel)).routes(routes!(fetch))
}

/// What is to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Order {
    kind: OrderKind,
    /// How people are arranged in a movie.
    #[serde(default)]
    layout: OrderLayout,
}

/// `movie`: one MP4 with everybody; `editor`: sound and picture of each person, all of one length, with a timeline, as ZIP.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum OrderKind {
    Movie,
    Editor,
}

/// `grid`: everybody at one size; `speaker`: who speaks fills the picture.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum OrderLayout {
    #[default]
    Grid,
    Speaker,
}

/// How far a job is.
#[derive(Debug, Serialize, ToSchema)]
struct JobAnswer {
    id: String,
    recording: String,
    /// `waiting`, `running`, `done`, `failed` or `cancelled`.
    state: &'static str,
    /// From 0 to 1.
    progress: f64,
    /// How long it still takes, if that can be said.
    left_ms: Option<u64>,
    /// Why it failed.
    error: Option<String>,
    /// Where the result is, when it is done; signed where keys are on.
    url: Option<String>,
}

/// Make a movie, or files for editors
///
/// Needs `ffmpeg` on the server, and takes its time: ask the job at `Location`. One runs at a time, with low priority.
#[utoipa::path(
    post,
    path = "/api/recordings/{id}/export",
    tag = "recordings",
    params(("id" = String, Path, description = "Recording")),
    request_body = Order,
    responses(
        (status = 202, description = "The job; `Location` tells its address", body = JobAnswer),
        (status = 400, description = "`bad-request`", content_type = "application/problem+json", body = ProblemBody),
        (status = 401, description = "`unauthorized`, `token-expired`", content_type = "application/problem+json", body = ProblemBody),
        (status = 403, description = "`forbidden`", content_type = "application/problem+json", body = ProblemBody),
        (status = 404, description = "`recording-not-found`; `not-found` when it has no file", content_type = "application/problem+json", body = ProblemBody),
        (status = 409, description = "`recording-active`", content_type = "application/problem+json", body = ProblemBody),
        (status = 501, description = "`no-ffmpeg`: how to get it", content_type = "application/problem+json", body = ProblemBody),
        (status = 503, description = "`overloaded`: too many wait", content_type = "application/problem+json", body = ProblemBody),
    )
)]
async fn begin(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    request: Request,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<JobAnswer>), Problem> {
    let id: RecordingId = id.parse()?;
    let found = app.library.find(&id).await.map_err(problem)?;
    let room = found.room.parse::<RoomName>().ok();
    caller.require(Grant::Download, room.as_ref())?;
    let Body(order) = Body::<Order>::from_request(request, &app).await?;
    if is_active(&found.state) {
        return Err(Problem::new(ErrorCode::RecordingActive, "the recording still runs; stop it first"));
    }
    let kind = match (order.kind, order.layout) {
        (OrderKind::Editor, _) => Kind::Editor,
        (OrderKind::Movie, OrderLayout::Grid) => Kind::Movie(Layout::Grid),
        (OrderKind::Movie, OrderLayout::Speaker) => Kind::Movie(Layout::Speaker),
    };
    let (shelf, of) = (app.library.shelf().clone(), id.clone());
    let (title, story) = on_disk(move || {
        let manifest: Value = serde_json::from_str(&found.manifest).map_err(Problem::internal)?;
        let folder = shelf.folder(&of, Place::Shown);
        let path_of = |file: &str| parse_file_name(file).map(|_| folder.join(file)).filter(|path| path.is_file());
        Ok((name(&manifest), Story::read(&manifest, &shelf.events(&of, Place::Shown), path_of)))
    })
    .await?;
    let job = app.jobs.start(id, kind, &title, story).await.map_err(|error| match error {
        JobError::NoFfmpeg => Problem::new(ErrorCode::NoFfmpeg, error.to_string()),
        JobError::Full => Problem::new(ErrorCode::Overloaded, error.to_string()),
        JobError::Nothing => Problem::new(ErrorCode::NotFound, error.to_string()),
        JobError::Disk(error) => Problem::internal(error),
    })?;
    let to = To {
        room: room.map(|room| room.to_string()),
        recording: Some(job.recording.to_string()),
        what: Some("movie".into()),
    };
    app.audit.note(Action::Downloaded, By::from(&caller), to);
    let location = format!("/api/jobs/{}", job.id);
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(answer(&app, job))))
}

/// How far a job is
#[utoipa::path(
    get,
    path = "/api/jobs/{id}",
    tag = "recordings",
    params(("id" = String, Path, description = "Job")),
    responses(
        (status = 200, description = "The job", body = JobAnswer),
        (status = 401, description = "`unauthorized`, `token-expired`", content_type = "application/problem+json", body = ProblemBody),
        (status = 403, description = "`forbidden`", content_type = "application/problem+json", body = ProblemBody),
        (status = 404, description = "`not-found`: there is none, or its result is no longer kept", content_type = "application/problem+json", body = ProblemBody),
    )
)]
async fn look(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Result<Json<JobAnswer>, Problem> {
    let job = admitted(&app, &caller, &id).await?;
    Ok(Json(answer(&app, job)))
}

/// Stop a job, or throw its result away
#[utoipa::path(
    delete,
    path = "/api/jobs/{id}",
    tag = "recordings",
    params(("id" = String, Path, description = "Job")),
    responses(
        (status = 204, description = "It ends"),
        (status = 401, description = "`unauthorized`, `token-expired`", content_type = "application/problem+json", body = ProblemBody),
        (status = 403, description = "`forbidden`", content_type = "application/problem+json", body = ProblemBody),
        (status = 404, description = "`not-found`", content_type = "application/problem+json", body = ProblemBody),
    )
)]
async fn cancel(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    let job = admitted(&app, &caller, &id).await?;
    app.jobs.cancel(&job.id);
    Ok(StatusCode::NO_CONTENT)
}

/// The result of a job
#[utoipa::path(
    get,
    path = "/api/jobs/{id}/file",
    tag = "recordings",
    params(
        ("id" = String, Path, description = "Job"),
        ("exp" = Option<u64>, Query, description = "End of a signed URL"),
        ("sig" = Option<String>, Query, description = "Signature of a signed URL"),
    ),
    responses(
        (status = 200, description = "An MP4 or a ZIP", content_type = "application/octet-stream", body = Vec<u8>),
        (status = 206, description = "One range of it", content_type = "application/octet-stream", body = Vec<u8>),
        (status = 401, description = "`unauthorized`, `token-expired`", content_type = "application/problem+json", body = ProblemBody),
        (status = 403, description = "`forbidden`", content_type = "application/problem+json", body = ProblemBody),
        (status = 404, description = "`not-found`: there is none, it is not done, or no longer kept", content_type = "application/problem+json", body = ProblemBody),
        (status = 416, description = "`range-not-satisfiable`", content_type = "application/problem+json", body = ProblemBody),
    )
)]
async fn fetch(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(signed): Query<SignedQuery>,
    asker: Asker,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let is_signed = app.auth.check_url(&path(&id), &signed, SystemTime::now())? && !app.auth.is_open();
    let job = match is_signed {
        true => known(&app, &id).await?.0,
        false => admitted(&app, &asker.caller(&app)?, &id).await?,
    };
    let result = app.jobs.result(&job.id).ok_or_else(nothing)?;
    let found = app.library.find(&job.recording).await.map_err(problem)?;
    let manifest: Value = serde_json::from_str(&found.manifest).map_err(Problem::internal)?;
    let content = Content {
        etag: Some(format!("\"{}\"", job.id)),
        modified: None,
        content_type: if result.extension == "mp4" { "video/mp4" } else { "application/zip" },
        is_growing: false,
        is_signed,
        download_name: Some(format!("{}.{}", name(&manifest), result.extension)),
        splice: result.content,
    };
    content.answer(&method, &headers, None)
}

/// The job, if its recording is still there, and the room of that.
async fn known(app: &App, id: &str) -> Result<(Job, Option<RoomName>), Problem> {
    let job = app.jobs.find(id).ok_or_else(nothing)?;
    let found = app.library.find(&job.recording).await.map_err(|_| nothing())?;
    Ok((job, found.room.parse().ok()))
}

async fn admitted(app: &App, caller: &Caller, id: &str) -> Result<Job, Problem> {
    let (job, room) = known(app, id).await?;
    caller.require(Grant::Download, room.as_ref())?;
    Ok(job)
}

fn answer(app: &App, job: Job) -> JobAnswer {
    let state = match job.state {
        JobState::Waiting => "waiting",
        JobState::Running => "running",
        JobState::Done => "done",
        JobState::Failed => "failed",
        JobState::Cancelled => "cancelled",
    };
    JobAnswer {
        state,
        recording: job.recording.to_string(),
        progress: (job.progress * 1000.0).round() / 1000.0,
        left_ms: job.left_ms,
        error: job.error,
        url: (job.state == JobState::Done).then(|| app.auth.sign_url(&path(&job.id), SystemTime::now())),
        id: job.id,
    }
}

fn path(id: &str) -> String {
    format!("/api/jobs/{id}/file")
}

fn nothing() -> Problem {
    Problem::new(ErrorCode::NotFound, "there is no such job, or its result is not there")
}
