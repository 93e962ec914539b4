//! `/api/recordings/{id}/events`: what happened while it was recorded, as replay shows it beside the pictures.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, header};
use reelay_signaling::{RecordingId, RoomName};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::App;
use super::error::{Path, Problem, ProblemBody, Query};
use super::markers;
use super::segment::{on_disk, problem};
use crate::auth::{Caller, Grant};
use crate::recording::shelf::Place;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(happened))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct HappenedQuery {
    /// Leave out this many lines, which the client has.
    #[param(default = 0)]
    after: Option<usize>,
}

/// Lines of `events.jsonl`, oldest first.
#[derive(Serialize, ToSchema)]
struct Happened {
    /// `{"t_ms", "at", "type", …}` each; `recordings/README.md` lists the types.
    #[schema(value_type = Vec<HappenedLine>)]
    events: Vec<Box<RawValue>>,
    /// For `after`, the next time.
    next: usize,
    /// Moments that people marked, and have not taken back: always all of them.
    #[schema(value_type = Vec<HappenedLine>)]
    markers: Vec<Box<RawValue>>,
}

/// One thing that happened.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes JSON that is handed through")]
struct HappenedLine {
    t_ms: u64,
    at: String,
    r#type: String,
}

/// What happened during a recording
///
/// Who came and went, spoke, wrote, shared a screen. While it runs, ask again with `after`.
#[utoipa::path(
    get,
    path = "/api/recordings/{id}/events",
    tag = "recordings",
    params(("id" = String, Path, description = "Recording"), HappenedQuery),
    responses(
        (status = 200, description = "Lines, oldest first", body = Happened),
        (status = 401, description = "`unauthorized`, `token-expired`", content_type = "application/problem+json", body = ProblemBody),
        (status = 403, description = "`forbidden`", content_type = "application/problem+json", body = ProblemBody),
        (status = 404, description = "`recording-not-found`", content_type = "application/problem+json", body = ProblemBody),
    )
)]
async fn happened(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<HappenedQuery>,
) -> Result<([(HeaderName, HeaderValue); 1], Json<Happened>), Problem> {
    let id: RecordingId = id.parse()?;
    let room = app.library.find(&id).await.map_err(problem)?.room.parse::<RoomName>().ok();
    caller.require(Grant::Replay, room.as_ref())?;
    let shelf = app.library.shelf().clone();
    let (text, marks) = on_disk(move || Ok((shelf.events(&id, Place::Shown), shelf.marks(&id)))).await?;
    let markers = markers::standing(&marks).into_iter().filter_map(|(_, line)| serde_json::from_str(line).ok());
    let answer = Happened { markers: markers.collect(), ..read(&text, query.after.unwrap_or(0)) };
    Ok(([(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(answer)))
}

/// Whole lines only: the last one may still be written. A line that is no JSON object is left out, and counted.
fn read(text: &str, after: usize) -> Happened {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let lines = || whole.lines();
    let events =
        lines().skip(after).filter(|line| line.starts_with('{')).filter_map(|line| serde_json::from_str(line).ok());
    Happened { events: events.collect(), next: lines().count(), markers: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, after: usize, expected: (&[&str], usize)) {
        let found = read(text, after);
        let events: Vec<&str> = found.events.iter().map(|line| line.get()).collect();
        assert_eq!((events.as_slice(), found.next), expected, "{text:?} after {after}");
    }

    #[test]
    fn half_a_line_waits_and_a_broken_one_is_left_out() {
        check("", 0, (&[], 0));
        check("{\"t_ms\":1}\n{\"t_ms\":2", 0, (&["{\"t_ms\":1}"], 1));
        check("{\"t_ms\":1}\n[]\n{oops\n{\"t_ms\":4}\n", 0, (&["{\"t_ms\":1}", "{\"t_ms\":4}"], 4));
        check("{\"t_ms\":1}\n{\"t_ms\":2}\n", 1, (&["{\"t_ms\":2}"], 2));
        check("{\"t_ms\":1}\n", 9, (&[], 1));
    }
}
