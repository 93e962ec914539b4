//! `/api/recordings`: the list, one manifest with the URLs of its files, delete and its undo.

use std::collections::BTreeMap;
use std::time::SystemTime;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, header};
use reelay_signaling::{ErrorCode, RecordingEvent, RecordingHappening, RecordingId, RecordingStatus, RoomName};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::App;
use super::error::{Path, Problem, ProblemBody, Query};
use super::segment::{Door, on_disk, problem};
use super::{captions, events, export};
use crate::audit::{Action, By, To};
use crate::auth::{Caller, Grant};
use crate::recording::catalog::{Cursor, Filter, Scope, Sort};
use crate::recording::library::{Deletion, UNDO};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(manifest, delete)).routes(routes!(undo))
}

/// What a list is narrowed to; everything given must hold.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// One room.
    room: Option<String>,
    /// A person's key, or a name in any case.
    person: Option<String>,
    /// `recording`, `complete`, `recovered`, …
    state: Option<String>,
    /// Begun at or after: RFC 3339, a day (`2026-11-20`), or milliseconds since 1970.
    from: Option<String>,
    /// Begun before, written in the same ways.
    to: Option<String>,
    /// Words of the title, tags, room, names, chat and captions; the beginning of a word is enough.
    text: Option<String>,
    /// `newest` first, `oldest`, `longest` or `largest`.
    #[param(default = "newest")]
    sort: Option<String>,
    /// From `next` of the page before, in the same order.
    cursor: Option<String>,
    /// How many at most: 1 to 200.
    #[param(default = 50, minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

/// A page of recordings.
#[derive(Serialize, ToSchema)]
struct ListAnswer {
    /// Manifests without their files.
    #[schema(value_type = Vec<Summary>)]
    recordings: Vec<Map<String, Value>>,
    /// For `cursor`, when there are more.
    next: Option<String>,
    /// What the disk of the recordings still takes; only for who may see all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    storage: Option<Storage>,
    /// Where an EventSource hears of changes, signed where keys are on.
    events_url: String,
}

/// Room for further recordings.
#[derive(Debug, Serialize, ToSchema)]
struct Storage {
    free_bytes: u64,
    /// How many hours of one camera fit into it.
    free_hours: u64,
    /// In how many days it is full if recording goes on as in the last two weeks.
    full_in_days: Option<u64>,
}

/// A recording in a list.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes JSON that is handed through")]
struct Summary {
    /// Of its manifest. More than 1: a later Reelay made it. It is listed as it says, and never changed.
    version: Option<u32>,
    id: String,
    room: String,
    /// `waiting`, `recording`, `paused`, `repairing`, `complete`, `recovered`, `interrupted` or `failed`.
    state: String,
    /// RFC 3339, UTC.
    started_at: String,
    ended_at: Option<String>,
    duration_ms: u64,
    participants: Vec<Object>,
    files_count: u64,
    size_bytes: u64,
    /// Empty while nobody gave one.
    title: String,
    tags: Vec<String>,
    /// Not to be deleted.
    keep: bool,
    /// How much of it is missing; null while it runs, and when there is nothing in it.
    quality: Option<Quality>,
    /// Where the `text` of the question is said; missing where no caption has it.
    said: Option<Said>,
    /// A picture of it, signed where keys are on.
    poster_url: Option<String>,
    /// The file that the picture is of, for a silent preview.
    preview_url: Option<String>,
}

/// How much of a recording is missing. What somebody switched off, or did not agree to, is not.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes JSON that is handed through")]
struct Quality {
    /// `whole`, `gaps`, or `poor`: more than 5 % of the time of its files.
    mark: String,
    /// Holes in sound and picture added up.
    missing_ms: u64,
}

/// The first caption with what was searched for.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes JSON that is handed through")]
struct Said {
    /// Since the recording began: for `?t=` of its page.
    t_ms: u64,
    /// Who says it; empty where the captions do not tell.
    who: String,
    text: String,
    /// Of these captions, as in BCP 47.
    language: String,
}

/// A manifest with the URLs of its files.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes JSON that is handed through")]
struct ManifestAnswer {
    version: u32,
    id: String,
    room: String,
    state: String,
    started_at: String,
    ended_at: Option<String>,
    duration_ms: u64,
    participants: Vec<Object>,
    files: Vec<Object>,
    title: String,
    tags: Vec<String>,
    keep: bool,
    /// All of it as one ZIP; missing without the grant `download`.
    export_url: Option<String>,
    /// Where to make links to a span of it; missing without the grant `download`.
    share_url: Option<String>,
    /// By name of the file.
    media: BTreeMap<String, MediaUrls>,
    /// Languages that there are captions in; missing when there are none.
    captions: Option<Vec<captions::Captions>>,
    /// Where to add markers, for who may.
    markers_url: Option<String>,
}

/// An object whose fields `recordings/README.md` describes.
#[derive(ToSchema)]
pub(super) struct Object {}

/// Where the media of a file is, signed where keys are on.
#[derive(Debug, Serialize, ToSchema)]
struct MediaUrls {
    /// The file itself, for a player.
    url: String,
    /// The same as a download; missing without the grant `download`.
    #[serde(skip_serializing_if = "Option::is_none")]
    download_url: Option<String>,
    /// A span of it as a file of its own: add `from` and `to`; missing without the grant `download`.
    #[serde(skip_serializing_if = "Option::is_none")]
    clip_url: Option<String>,
    /// Its clusters.
    index_url: String,
    /// Its growing end, for Media Source Extensions.
    live_url: String,
    /// A picture of it; `t` picks the moment.
    thumb_url: String,
}

/// Until when a deleted recording can be taken back.
#[derive(Debug, Serialize, ToSchema)]
struct Deleted {
    id: RecordingIdText,
    /// RFC 3339, UTC.
    undo_until: String,
}

type RecordingIdText = String;

/// List recordings
///
/// Newest first unless told otherwise; only those that the caller may replay.
#[utoipa::path(
    get,
    path = "/api/recordings",
    tag = "recordings",
    params(ListQuery),
    responses(
        (status = 200, description = "A page", body = ListAnswer),
        (status = 400, description = "`bad-request`, `bad-room-name`", content_type = "application/problem+json", body = ProblemBody),
        (status = 401, description = "`unauthorized`, `token-expired`", content_type = "application/problem+json", body = ProblemBody),
    )
)]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<([(HeaderName, HeaderValue); 1], Json<ListAnswer>), Problem> {
    let filter = filter(query, &caller)?;
    let page = app.library.catalog().list(&filter).await.map_err(Problem::internal)?;
    let mut recordings: Vec<_> =
        page.summaries.iter().map(|summary| listed(&app, summary)).collect::<Result<_, _>>()?;
    if let Some(text) = &filter.text {
        let id_of = |one: &Map<String, Value>| one.get("id")?.as_str()?.parse::<RecordingId>().ok();
        let mut said = app.library.said(recordings.iter().filter_map(id_of).collect(), text).await.map_err(problem)?;
        for one in &mut recordings {
            if let Some(said) = id_of(one).and_then(|id| said.remove(&id)) {
                one.insert("said".into(), serde_json::to_value(said).map_err(Problem::internal)?);
            }
        }
    }
    let storage = match filter.scope {
        Scope::All => storage(&app).await?,
        Scope::Rooms(_) => None,
    };
    let next = page.next.map(|Cursor { value, seq }| format!("{value:x}-{seq:x}"));
    Ok(fresh(ListAnswer { recordings, next, storage, events_url: events::url_for(&app, &caller) }))
}

/// One recording
///
/// Its manifest, with the URLs of its files under `media`.
#[utoipa::path(
    get,
    path = "/api/recordings/{id}",
    tag = "recordings",
    params(("id" = String, Path, description = "Recording")),
    responses(
        (status = 200, description = "The manifest", body = ManifestAnswer),
        (status = 401, description = "`unauthorized`, `token-expired`", content_type = "application/problem+json", body = ProblemBody),
        (status = 403, description = "`forbidden`", content_type = "application/problem+json", body = ProblemBody),
        (status = 404, description = "`recording-not-found`", content_type = "application/problem+json", body = ProblemBody),
    )
)]
async fn manifest(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<([(HeaderName, HeaderValue); 1], Json<Map<String, Value>>), Problem> {
    let id: RecordingId = id.parse()?;
    let found = app.library.find(&id).await.map_err(problem)?;
    let room = found.room.parse::<RoomName>().ok();
    caller.require(Grant::Replay, room.as_ref())?;
    app.audit.note_once(Action::Opened, By::from(&caller), to(&id, &found.room));
    let mut manifest: Map<String, Value> = serde_json::from_str(&found.manifest).map_err(Problem::internal)?;
    let names = manifest.get("files").and_then(Value::as_array).into_iter().flatten();
    let names = names.filter_map(|file| file.get("file")?.as_str());
    let may_download = caller.allows(Grant::Download, room.as_ref());
    let media: BTreeMap<&str, MediaUrls> = names.map(|name| (name, urls(&app, &id, name, may_download))).collect();
    let media = serde_json::to_value(media).map_err(Problem::internal)?;
    manifest.insert("media".into(), media);
    let captions = {
        let (app, id) = (app.clone(), id.clone());
        on_disk(move || Ok(captions::listed(&app, &id))).await?
    };
    if !captions.is_empty() {
        manifest.insert("captions".into(), serde_json::to_value(captions).map_err(Problem::internal)?);
    }
    if may_download {
        manifest.insert("export_url".into(), export::signed_url(&app, &id).into());
        manifest.insert("share_url".into(), format!("/api/recordings/{id}/share").into());
    }
    if caller.allows(Grant::Record, room.as_ref()) {
        manifest.insert("markers_url".into(), format!("/api/recordings/{id}/markers").into());
    }
    Ok(fresh(manifest))
}

/// Delete a recording
///
/// It goes into the trash and can be taken back for a minute; then it is gone. One that still runs is refused.
#[utoipa::path(
    delete,
    path = "/api/recordings/{id}",
    tag = "recordings",
    params(("id" = String, Path, description = "Recording")),
    responses(
        (status = 200, description = "Deleted, with the end of the undo", body = Deleted),
        (status = 401, description = "`unauthorized`, `token-expired`", content_type = "application/problem+json", body = ProblemBody),
        (status = 403, description = "`forbidden`", content_type = "application/problem+json", body = ProblemBody),
        (status = 404, description = "`recording-not-found`", content_type = "application/problem+json", body = ProblemBody),
        (status = 409, description = "`recording-active`, `recording-kept`", content_type = "application/problem+json", body = ProblemBody),
    )
)]
async fn delete(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Result<Json<Deleted>, Problem> {
    let id: RecordingId = id.parse()?;
    let found = app.library.find(&id).await.map_err(problem)?;
    let room = found.room.parse::<RoomName>().ok();
    caller.require(Grant::Delete, room.as_ref())?;
    let Deletion { until_ms, t_ms, at } = app.library.delete(&id).await.map_err(problem)?;
    app.jobs.forget(&id);
    app.playbacks.forget(&id);
    app.audit.note(Action::Deleted, By::from(&caller), to(&id, &found.room));
    app.hooks.on_trash("recording-deleted", id.as_str(), &found.room);
    app.events.recording("recording-deleted", &id, room.clone());
    if let Some(room) = room {
        let event = deleted(id.clone(), t_ms, at);
        app.events.happened(&room, &event);
        app.rooms.on_recording_event(&room, event);
    }
    let until =
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(until_ms) * 1_000_000).map_err(Problem::internal)?;
    let undo_until = until.format(&Rfc3339).map_err(Problem::internal)?;
    Ok(Json(Deleted { id: id.to_string(), undo_until }))
}

fn deleted(id: RecordingId, t_ms: u64, at: String) -> RecordingEvent {
    RecordingEvent {
        event: RecordingHappening::Deleted,
        id,
        t_ms,
        at,
        by: None,
        reason: None,
        participant: None,
        source: None,
        kind: None,
        from_ms: None,
        lasted_ms: None,
        state: None,
    }
}

/// Take a deleted recording back
#[utoipa::path(
    post,
    path = "/api/recordings/{id}/undo",
    tag = "recordings",
    params(("id" = String, Path, description = "Recording")),
    responses(
        (status = 204, description = "It is back"),
        (status = 401, description = "`unauthorized`, `token-expired`", content_type = "application/problem+json", body = ProblemBody),
        (status = 403, description = "`forbidden`", content_type = "application/problem+json", body = ProblemBody),
        (status = 404, description = "`recording-not-found`: it is not in the trash (any more)", content_type = "application/problem+json", body = ProblemBody),
    )
)]
async fn undo(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<axum::http::StatusCode, Problem> {
    let id: RecordingId = id.parse()?;
    let found = app.library.catalog().find(&id).await.map_err(Problem::internal)?;
    let Some(found) = found.filter(|found| found.deleted_at_ms.is_some()) else {
        let detail =
            format!("there is no such recording in the trash; deleting can be undone for {} s", UNDO.as_secs());
        return Err(Problem::new(ErrorCode::RecordingNotFound, detail));
    };
    let room = found.room.parse::<RoomName>().ok();
    caller.require(Grant::Delete, room.as_ref())?;
    app.library.undo(&id).await.map_err(problem)?;
    app.audit.note(Action::Restored, By::from(&caller), to(&id, &found.room));
    app.hooks.on_trash("recording-restored", id.as_str(), &found.room);
    app.events.recording("recording-restored", &id, room);
    Ok(axum::http::StatusCode::NO_CONTENT)
}

fn to(id: &RecordingId, room: &str) -> To {
    To { room: Some(room.to_owned()), recording: Some(id.to_string()), what: None }
}

fn filter(query: ListQuery, caller: &Caller) -> Result<Filter, Problem> {
    let bad = |detail: &str| Problem::new(ErrorCode::BadRequest, detail);
    let scope = match caller.only_room() {
        Some(room) if caller.allows(Grant::Replay, Some(room)) => Scope::Rooms(vec![room.clone()]),
        None if caller.allows(Grant::Replay, None) => Scope::All,
        _ => Scope::Rooms(Vec::new()),
    };
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(bad("limit is between 1 and 200"));
    }
    let sort = match query.sort.as_deref() {
        None | Some("newest") => Sort::Newest,
        Some("oldest") => Sort::Oldest,
        Some("longest") => Sort::Longest,
        Some("largest") => Sort::Largest,
        Some(_) => return Err(bad("there is no such order")),
    };
    let cursor = query.cursor.as_deref().map(|text| cursor(text).ok_or_else(|| bad("the cursor is not one of ours")));
    let state = match query.state {
        Some(state) => Some(state_name(&state).ok_or_else(|| bad("there is no such state"))?),
        None => None,
    };
    for text in [&query.text, &query.person].into_iter().flatten() {
        if text.chars().count() > MAX_TEXT_CHARS {
            return Err(bad("text and person have at most 200 letters"));
        }
    }
    Ok(Filter {
        scope,
        room: query.room.filter(|room| !room.is_empty()).map(|room| room.parse()).transpose()?,
        person: query.person.filter(|person| !person.is_empty()),
        state,
        from_ms: query.from.as_deref().map(moment).transpose()?,
        to_ms: query.to.as_deref().map(moment).transpose()?,
        text: query.text,
        sort,
        cursor: cursor.transpose()?,
        limit,
    })
}

fn cursor(text: &str) -> Option<Cursor> {
    let (value, seq) = text.split_once('-')?;
    Some(Cursor { value: i64::from_str_radix(value, 16).ok()?, seq: i64::from_str_radix(seq, 16).ok()? })
}

async fn storage(app: &App) -> Result<Option<Storage>, Problem> {
    let Some((free_bytes, free_hours)) = app.recorder.free() else { return Ok(None) };
    let now_ms = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
    let written = app.library.catalog().bytes_since(now_ms - PACE_DAYS * 86_400_000).await;
    let written = u64::try_from(written.map_err(Problem::internal)?).unwrap_or(0);
    let full_in_days = (written > 0).then(|| free_bytes.saturating_mul(PACE_DAYS as u64) / written);
    Ok(Some(Storage { free_bytes, free_hours, full_in_days }))
}

// Addresses of the poster go out with the list, so that a page of cards is one request.
fn listed(app: &App, summary: &str) -> Result<Map<String, Value>, Problem> {
    let mut summary: Map<String, Value> = serde_json::from_str(summary).map_err(Problem::internal)?;
    let id = summary.get("id").and_then(Value::as_str).and_then(|id| id.parse::<RecordingId>().ok());
    let poster = summary.get("poster").and_then(|poster| Some((poster["file"].as_str()?, poster["t_ms"].as_u64()?)));
    if let (Some(id), Some((file, t_ms))) = (id, poster) {
        let now = SystemTime::now();
        let thumb = Door::Thumb.signed_url(app, &id, file, now);
        let separator = if thumb.contains('?') { '&' } else { '?' };
        let play = Door::Play.signed_url(app, &id, file, now);
        summary.insert("poster_url".into(), format!("{thumb}{separator}t={t_ms}").into());
        summary.insert("preview_url".into(), play.into());
    }
    Ok(summary)
}

fn state_name(raw: &str) -> Option<String> {
    let state: RecordingStatus = serde_json::from_value(raw.into()).ok()?;
    serde_json::to_value(state).ok()?.as_str().map(str::to_owned)
}

fn moment(raw: &str) -> Result<i64, Problem> {
    let rfc3339 = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
    if let Ok(ms) = raw.parse::<i64>() {
        return Ok(ms);
    }
    // A plus sign of a time zone arrives as a space when somebody forgot to escape it.
    let time = rfc3339(&raw.replace(' ', "+")).or_else(|| rfc3339(&format!("{raw}T00:00:00Z")));
    let time = time.ok_or_else(|| {
        Problem::new(ErrorCode::BadRequest, "a time is written 2026-11-20, 2026-11-20T10:00:00Z, or in milliseconds")
    })?;
    Ok((time.unix_timestamp_nanos() / 1_000_000) as i64)
}

fn urls(app: &App, id: &RecordingId, name: &str, may_download: bool) -> MediaUrls {
    let now = SystemTime::now();
    let url = |door: Door| door.signed_url(app, id, name, now);
    MediaUrls {
        url: url(Door::Play),
        download_url: may_download.then(|| url(Door::Download)),
        clip_url: may_download.then(|| url(Door::Clip)),
        index_url: url(Door::Index),
        live_url: url(Door::Live),
        thumb_url: url(Door::Thumb),
    }
}

// Signed URLs and states grow old.
fn fresh<T>(answer: T) -> ([(HeaderName, HeaderValue); 1], Json<T>) {
    ([(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(answer))
}

const PACE_DAYS: i64 = 14;
const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 200;
const MAX_TEXT_CHARS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_every_way_that_people_write_them() {
        for text in ["2026-11-20", "2026-11-20T00:00:00Z", "2026-11-20T01:00:00 01:00", "1795132800000"] {
            assert_eq!(moment(text).unwrap(), 1_795_132_800_000, "{text}");
        }
        for text in ["", "yesterday", "2026-13-01", "20:00"] {
            assert!(moment(text).is_err(), "{text}");
        }
    }
}
