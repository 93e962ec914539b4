//! What people change about a recording afterwards: title, tags, that it is to be kept, and who is not in it any more.

use axum::Json;
use axum::extract::{FromRequest, Request, State};
use reelay_signaling::{ErrorCode, ParticipantId, RecordingId, RoomName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::App;
use super::error::{Json as Body, Path, Problem, ProblemBody};
use super::segment::problem;
use crate::audit::{Action, By, To};
use crate::auth::{Caller, Grant};
use crate::recording::library::LibraryError;
use crate::recording::notes::Notes;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(annotate)).routes(routes!(erase))
}

/// What is to change; what is missing stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NotesChange {
    /// At most 200 letters; empty takes it away.
    title: Option<String>,
    /// All of them, at most 20 of at most 50 letters.
    tags: Option<Vec<String>>,
    /// Nobody and no rule deletes it until this is false again. Needs the grant `delete`.
    keep: Option<bool>,
}

/// What people say about a recording.
#[derive(Debug, Serialize, ToSchema)]
struct NotesAnswer {
    title: String,
    tags: Vec<String>,
    keep: bool,
}

/// Name, tag or keep a recording
///
/// Title and tags are found by the search. Needs the grant `record`, for `keep` the grant `delete`.
#[utoipa::path(
    patch,
    path = "/api/recordings/{id}",
    tag = "recordings",
    params(("id" = String, Path, description = "Recording")),
    request_body = NotesChange,
    responses(
        (status = 200, description = "As it is now", body = NotesAnswer),
        (status = 400, description = "`bad-request`: too long, too many, or not of this shape", content_type = "application/problem+json", body = ProblemBody),
        (status = 401, description = "`unauthorized`, `token-expired`", content_type = "application/problem+json", body = ProblemBody),
        (status = 403, description = "`forbidden`", content_type = "application/problem+json", body = ProblemBody),
        (status = 404, description = "`recording-not-found`", content_type = "application/problem+json", body = ProblemBody),
    )
)]
async fn annotate(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<NotesAnswer>, Problem> {
    let id: RecordingId = id.parse()?;
    let room = app.library.find(&id).await.map_err(problem)?.room.parse::<RoomName>().ok();
    // Asked before the body is looked at: who may change nothing learns nothing from it.
    if !caller.allows(Grant::Delete, room.as_ref()) {
        caller.require(Grant::Record, room.as_ref())?;
    }
    let Body(change) = Body::<NotesChange>::from_request(request, &app).await?;
    if change.keep.is_some() {
        caller.require(Grant::Delete, room.as_ref())?;
    }
    if change.keep.is_none() || change.title.is_some() || change.tags.is_some() {
        caller.require(Grant::Record, room.as_ref())?;
    }
    let (Notes { title, tags, keep }, entry) = app
        .library
        .annotate(&id, |notes| Notes {
            title: change.title.unwrap_or(notes.title),
            tags: change.tags.unwrap_or(notes.tags),
            keep: change.keep.unwrap_or(notes.keep),
        })
        .await
        .map_err(|error| match error {
            LibraryError::Notes(error) => Problem::new(ErrorCode::BadRequest, error.to_string()),
            error => problem(error),
        })?;
    if let Some(keep) = change.keep {
        app.audit.note(
            if keep { Action::Kept } else { Action::Released },
            By::from(&caller),
            to(&id, &entry.room, None),
        );
    }
    app.events.manifest(room, &entry.summary);
    Ok(Json(NotesAnswer { title, tags, keep }))
}

/// What an erasure did.
#[derive(Debug, Serialize, ToSchema)]
struct ErasedAnswer {
    /// Files that are gone.
    files: usize,
}

/// Erase one person from a recording
///
/// All their files, what they wrote and marked, and their name, in all their stays; for good, without undo. The others play on in
/// sync. Refused while the recording runs or is to be kept.
#[utoipa::path(
    delete,
    path = "/api/recordings/{id}/participants/{participant}",
    tag = "recordings",
    params(
        ("id" = String, Path, description = "Recording"),
        ("participant" = String, Path, description = "A stay of that person: `id` in the manifest's `participants`"),
    ),
    responses(
        (status = 200, description = "They are gone", body = ErasedAnswer),
        (status = 401, description = "`unauthorized`, `token-expired`", content_type = "application/problem+json", body = ProblemBody),
        (status = 403, description = "`forbidden`", content_type = "application/problem+json", body = ProblemBody),
        (status = 404, description = "`recording-not-found`, `participant-not-found`", content_type = "application/problem+json", body = ProblemBody),
        (status = 409, description = "`recording-active`, `recording-kept`", content_type = "application/problem+json", body = ProblemBody),
    )
)]
async fn erase(
    State(app): State<App>,
    caller: Caller,
    Path((id, participant)): Path<(String, String)>,
) -> Result<Json<ErasedAnswer>, Problem> {
    let id: RecordingId = id.parse()?;
    let room = app.library.find(&id).await.map_err(problem)?.room.parse::<RoomName>().ok();
    caller.require(Grant::Delete, room.as_ref())?;
    let nobody = || Problem::new(ErrorCode::ParticipantNotFound, "nobody of this id is in the recording");
    let participant: ParticipantId = participant.parse().map_err(|_| nobody())?;
    let (files, entry) = app.library.erase(&id, &participant).await.map_err(|error| match error {
        LibraryError::NotFound => nobody(),
        error => problem(error),
    })?;
    app.audit.note(Action::Erased, By::from(&caller), to(&id, &entry.room, Some(participant.to_string())));
    app.jobs.forget(&id);
    app.playbacks.forget(&id);
    app.events.manifest(room, &entry.summary);
    Ok(Json(ErasedAnswer { files }))
}

fn to(id: &RecordingId, room: &str, what: Option<String>) -> To {
    To { room: Some(room.to_owned()), recording: Some(id.to_string()), what }
}
