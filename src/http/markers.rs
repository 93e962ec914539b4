//! `/api/recordings/{id}/markers`: moments that people mark. They are lines of a file of their own, because the recorder
//! alone writes `events.jsonl`; taking one back is a line too, so nothing in the file ever changes.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use reelay_signaling::{ErrorCode, RecordingId, RoomName};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::App;
use super::error::{Json as Body, Path, Problem, ProblemBody};
use super::segment::{on_disk, problem};
use crate::auth::{Caller, Grant};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(mark)).routes(routes!(unmark))
}

/// A moment, and why it matters.
#[derive(Debug, Deserialize, ToSchema)]
struct MarkBody {
    /// Milliseconds since the recording began.
    t_ms: u64,
    /// 1 to 200 letters.
    text: String,
}

/// A marker that was made.
#[derive(Debug, Serialize, ToSchema)]
struct Mark {
    /// For taking it back.
    mark: String,
    t_ms: u64,
    text: String,
}

/// Mark a moment
///
/// It shows in the timeline of everybody who replays the recording. Needs the grants `replay` and `record`.
#[utoipa::path(
    post,
    path = "/api/recordings/{id}/markers",
    tag = "recordings",
    params(("id" = String, Path, description = "Recording")),
    request_body = MarkBody,
    responses(
        (status = 201, description = "Marked", body = Mark),
        (status = "4XX", content_type = "application/problem+json", body = ProblemBody),
        (status = 503, description = "`limit-reached`: as many markers as a recording has", content_type = "application/problem+json", body = ProblemBody),
    )
)]
async fn mark(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    body: Result<Body<MarkBody>, Problem>,
) -> Result<(StatusCode, Json<Mark>), Problem> {
    let (id, length_ms) = admit(&app, &caller, &id).await?;
    let Body(MarkBody { t_ms, text }) = body?;
    let text = text.trim().to_owned();
    if text.is_empty() || text.chars().count() > MAX_TEXT_CHARS || text.chars().any(char::is_control) {
        let detail = format!("the text of a marker has 1 to {MAX_TEXT_CHARS} letters on one line");
        return Err(Problem::new(ErrorCode::BadRequest, detail));
    }
    if length_ms.is_some_and(|length| t_ms > length) {
        return Err(Problem::new(ErrorCode::BadRequest, "t_ms is behind the end of the recording"));
    }
    let mark = uuid::Uuid::new_v4().simple().to_string();
    // The person's key, so that it can be found when somebody is erased.
    let (person, name) = (caller.subject.as_deref(), caller.name.as_deref());
    let line = json!({ "type": "mark", "t_ms": t_ms, "mark": mark, "person": person, "name": name, "text": text });
    append(&app, id, line, |marks| {
        if standing(marks).len() < MAX_MARKS {
            return Ok(());
        }
        let detail = format!("a recording has at most {MAX_MARKS} markers");
        Err(Problem::new(ErrorCode::LimitReached, detail))
    })
    .await?;
    Ok((StatusCode::CREATED, Json(Mark { mark, t_ms, text })))
}

/// Take a marker back
#[utoipa::path(
    delete,
    path = "/api/recordings/{id}/markers/{mark}",
    tag = "recordings",
    params(("id" = String, Path, description = "Recording"), ("mark" = String, Path, description = "From the answer that made it, or the event")),
    responses(
        (status = 204, description = "It is gone"),
        (status = "4XX", content_type = "application/problem+json", body = ProblemBody),
    )
)]
async fn unmark(
    State(app): State<App>,
    caller: Caller,
    Path((id, mark)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let (id, _) = admit(&app, &caller, &id).await?;
    let line = json!({ "type": "unmark", "mark": mark });
    append(&app, id, line, move |marks| {
        if standing(marks).iter().any(|(known, _)| *known == mark) {
            return Ok(());
        }
        Err(Problem::new(ErrorCode::NotFound, "there is no such marker"))
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who may record may mark. Gives the length of a recording that has an end.
async fn admit(app: &App, caller: &Caller, id: &str) -> Result<(RecordingId, Option<u64>), Problem> {
    let id: RecordingId = id.parse()?;
    let found = app.library.find(&id).await.map_err(problem)?;
    let room = found.room.parse::<RoomName>().ok();
    caller.require(Grant::Replay, room.as_ref())?;
    caller.require(Grant::Record, room.as_ref())?;
    let manifest: Value = serde_json::from_str(&found.manifest).map_err(Problem::internal)?;
    let has_ended = manifest.get("ended_at").is_some_and(|at| !at.is_null());
    Ok((id, manifest["duration_ms"].as_u64().filter(|_| has_ended)))
}

async fn append(
    app: &App,
    id: RecordingId,
    mut line: Value,
    check: impl FnOnce(&str) -> Result<(), Problem> + Send + 'static,
) -> Result<(), Problem> {
    line["at"] = OffsetDateTime::now_utc().format(&Rfc3339).map_err(Problem::internal)?.into();
    let shelf = app.library.shelf().clone();
    on_disk(move || {
        check(&shelf.marks(&id))?;
        shelf.append_mark(&id, &line.to_string()).map_err(Problem::internal)
    })
    .await
}

/// The markers that still stand: id, and line.
pub(super) fn standing(marks: &str) -> Vec<(String, &str)> {
    #[derive(Deserialize)]
    struct Line {
        #[serde(rename = "type")]
        kind: String,
        mark: String,
    }
    let mut found: Vec<(String, &str)> = Vec::new();
    for line in marks.lines() {
        match serde_json::from_str::<Line>(line) {
            Ok(Line { kind, mark }) if kind == "mark" => found.push((mark, line)),
            Ok(Line { kind, mark }) if kind == "unmark" => found.retain(|(known, _)| *known != mark),
            _ => (),
        }
    }
    found
}

const MAX_TEXT_CHARS: usize = 200;
const MAX_MARKS: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_that_were_taken_back_do_not_count() {
        let marks = "{\"type\":\"mark\",\"mark\":\"a\"}\n{oops\n{\"type\":\"mark\",\"mark\":\"b\"}\n{\"type\":\"unmark\",\"mark\":\"a\"}\n";
        assert_eq!(standing(marks), [("b".to_owned(), "{\"type\":\"mark\",\"mark\":\"b\"}")]);
        assert!(standing("").is_empty());
    }
}
