//! `/api/recordings/{id}/share`: a link to a page with one span of a recording and nothing else of it. Where keys are on the
//! link is signed: who has it needs no token, and sees only that span.

use std::collections::BTreeMap;
use std::time::SystemTime;

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use reelay_signaling::{ErrorCode, ParticipantId, RecordingId, RoomName};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::App;
use super::clip::Span;
use super::error::{Json as Body, Path, Problem, ProblemBody, Query};
use super::export::{self, Part, clipped, move_lines, move_manifest};
use super::segment::{Admitted, Asker, Door, Segment, covered_span, on_disk, problem};
use crate::audit::{Action, By, To};
use crate::auth::{Caller, Grant, SignedQuery};
use crate::recording::captions;
use crate::recording::library::is_active;
use crate::recording::parse_file_name;
use crate::recording::shelf::Place;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(share, shared))
}

/// Which span, and of whom.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ShareBody {
    /// Milliseconds since the recording began.
    from: u64,
    /// First moment not wanted any more.
    to: u64,
    /// A stay of one person: `id` in the manifest's `participants`. Everybody when missing.
    participant: Option<String>,
}

/// A link to give away.
#[derive(Debug, Serialize, ToSchema)]
struct ShareAnswer {
    /// The page, without the name of the server.
    url: String,
    /// RFC 3339, UTC; null where links do not end.
    expires_at: Option<String>,
}

/// One span as a page plays it. Times are milliseconds since the first picture in it.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes JSON that is handed through")]
struct ClipAnswer {
    version: u32,
    id: String,
    room: String,
    title: String,
    state: String,
    started_at: String,
    duration_ms: u64,
    /// The span itself: the files begin a little before it, at a full picture.
    from_ms: u64,
    to_ms: u64,
    participants: Vec<super::recordings::Object>,
    files: Vec<super::recordings::Object>,
    /// By name of the file: `url`, signed where keys are on.
    media: BTreeMap<String, ClipUrl>,
    /// Who speaks.
    events: Vec<super::recordings::Object>,
    /// What is said in it; of one person only what they say.
    captions: Vec<ClipCaptions>,
    /// All of it to keep; null without the right to it.
    download_url: Option<String>,
    /// Where the span is in the recording, for who may see all of it.
    whole_url: Option<String>,
}

/// What is said in a span.
#[derive(Debug, Serialize, ToSchema)]
struct ClipCaptions {
    /// As in BCP 47.
    language: String,
    /// WebVTT, in time of the answer.
    text: String,
}

/// Where the media of a file is.
#[derive(Debug, Serialize, ToSchema)]
struct ClipUrl {
    url: String,
}

/// Share a span of a recording
///
/// Gives the address of a page that plays just this span, of everybody or of one person. Where keys are on it is signed:
/// whoever has it needs no token, sees nothing else of the recording, and may save what they see. Needs the grant `download`.
#[utoipa::path(
    post,
    path = "/api/recordings/{id}/share",
    tag = "recordings",
    params(("id" = String, Path, description = "Recording")),
    request_body = ShareBody,
    responses(
        (status = 201, description = "The link", body = ShareAnswer),
        (status = "4XX", content_type = "application/problem+json", body = ProblemBody),
    )
)]
async fn share(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    request: Request,
) -> Result<(StatusCode, Json<ShareAnswer>), Problem> {
    let id: RecordingId = id.parse()?;
    let found = app.library.find(&id).await.map_err(problem)?;
    caller.require(Grant::Download, found.room.parse::<RoomName>().ok().as_ref())?;
    let Body(ShareBody { from, to, participant }) = Body::from_request(request, &app).await?;
    let span = Span { from, to }.checked()?;
    let manifest: Value = serde_json::from_str(&found.manifest).map_err(Problem::internal)?;
    let who = participant.as_deref().map(|who| stays_of(&manifest, who).map(|_| who)).transpose()?;
    let what = who.map_or_else(|| format!("{from}-{to}"), |who| format!("{from}-{to} {who}"));
    let to_whom = To { room: Some(found.room.clone()), recording: Some(id.to_string()), what: Some(what) };
    app.audit.note(Action::Shared, By::from(&caller), to_whom);
    let now = SystemTime::now();
    let signed = app.auth.sign(&covered(&id, span, who), now, app.config.auth.share_lifetime.0);
    let expires_at = signed.is_some().then(|| moment(now + app.config.auth.share_lifetime.0));
    let mut url = format!("/clip/{id}?from={from}&to={to}");
    who.iter().for_each(|who| url += &format!("&participant={who}"));
    signed.iter().for_each(|signed| url += &format!("&{signed}"));
    Ok((StatusCode::CREATED, Json(ShareAnswer { url, expires_at })))
}

/// A request for a shared span, taken apart.
struct SharedRequest {
    id: String,
    span: Span,
    who: Option<String>,
    signed: SignedQuery,
    asker: Asker,
}

impl FromRequestParts<App> for SharedRequest {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        #[derive(Deserialize)]
        struct Who {
            participant: Option<String>,
        }
        let Path(id) = Path::from_request_parts(parts, app).await?;
        let Query(span) = Query::from_request_parts(parts, app).await?;
        let Query(Who { participant }) = Query::from_request_parts(parts, app).await?;
        let Query(signed) = Query::from_request_parts(parts, app).await?;
        Ok(Self { id, span, who: participant, signed, asker: Asker::of(app, parts) })
    }
}

/// A shared span of a recording
///
/// What the page of a shared span plays, by the query of its link. Without a signature it needs the grant `replay`. Of a
/// recording that still runs too: `recording-active` until all of the span is saved, which takes a few seconds.
#[utoipa::path(
    get,
    path = "/api/recordings/{id}/share",
    tag = "recordings",
    params(
        ("id" = String, Path, description = "Recording"),
        Span,
        ("participant" = Option<String>, Query, description = "One person only: a stay of theirs"),
        ("exp" = Option<u64>, Query, description = "End of a signed URL"),
        ("sig" = Option<String>, Query, description = "Signature of a signed URL"),
    ),
    responses(
        (status = 200, description = "The span", body = ClipAnswer),
        (status = "4XX", content_type = "application/problem+json", body = ProblemBody),
    )
)]
async fn shared(State(app): State<App>, request: SharedRequest) -> Result<Json<Value>, Problem> {
    let span = request.span.checked()?;
    let id: RecordingId = request.id.parse()?;
    let who = request.who.as_deref();
    let signed = covered(&id, span, who);
    let admitted = Admitted::by(&app, id, &signed, &request.signed, &request.asker, Grant::Replay).await?;
    admitted.note(&app, Action::Opened, "clip");
    let runs = is_active(&admitted.found.state);
    let manifest: Value = serde_json::from_str(&admitted.found.manifest).map_err(Problem::internal)?;
    let stays = who.map(|who| stays_of(&manifest, who)).transpose()?;
    let mut segments = admitted.segments(&app)?;
    segments.retain(|segment| stays.as_ref().is_none_or(|stays| is_of(segment, stays)));
    let room = admitted.found.room.parse::<RoomName>().ok();
    let caller = request.asker.caller(&app).ok();
    let may = |grant| caller.as_ref().is_some_and(|caller| caller.allows(grant, room.as_ref()));
    // Who may give a span away may let it be kept.
    let may_save = admitted.is_signed || may(Grant::Download);
    let whole_url = may(Grant::Replay).then(|| {
        let seconds = |ms: u64| ms as f64 / 1000.0;
        format!("/recordings/{}?t={},{}", admitted.id, seconds(span.from), seconds(span.to))
    });
    let names = stays.as_ref().map(|stays| names_alone(&manifest, stays));
    on_disk(move || {
        let parts = parts_of(&segments, span)?;
        if runs && !is_saved(&manifest, &segments, &parts, span) {
            return Err(Problem::new(ErrorCode::RecordingActive, "this span is still being recorded; ask again soon"));
        }
        let mut answer = clip_of_all(&app, &admitted, &parts, manifest, span, names.as_deref())?;
        // What runs has no archive yet.
        let is_all = stays.is_none() && !runs;
        answer["download_url"] = may_save.then(|| download_url(&app, &admitted.id, &parts, span, is_all)).into();
        answer["whole_url"] = whole_url.into();
        Ok(Json(answer))
    })
    .await
}

/// What the files have in the span, as far as it is saved.
fn parts_of(segments: &[Segment], span: Span) -> Result<Vec<Part>, Problem> {
    let mut parts = Vec::new();
    for segment in segments {
        match clipped(segment, span) {
            Ok(part) => parts.push(part),
            Err(problem) if matches!(problem.code, ErrorCode::FileNotFound | ErrorCode::NotFound) => {}
            Err(problem) => return Err(problem),
        }
    }
    Ok(parts)
}

/// True when no file that still grows will have more of the span.
fn is_saved(manifest: &Value, segments: &[Segment], parts: &[Part], span: Span) -> bool {
    let files = manifest["files"].as_array().map(Vec::as_slice).unwrap_or_default();
    files.iter().filter(|file| file["open"] == true).all(|file| {
        let is_it = |name: &str| file["file"] == name;
        let end_ms = || parts.iter().find(|part| is_it(&part.file)).map_or(0, |part| part.offset_ms + part.duration_ms);
        let begins_later = file["offset_ms"].as_u64().is_some_and(|ms| ms >= span.to);
        !segments.iter().any(|segment| is_it(segment.name.as_str())) || begins_later || end_ms() >= span.to
    }) && !parts.is_empty()
}

/// The answer without what depends on rights.
fn clip_of_all(
    app: &App,
    admitted: &Admitted,
    parts: &[Part],
    mut manifest: Value,
    span: Span,
    names: Option<&[String]>,
) -> Result<Value, Problem> {
    if parts.is_empty() {
        return Err(Problem::new(ErrorCode::NotFound, "nothing was recorded in this span"));
    }
    let base_ms = parts.iter().map(|part| part.offset_ms).min().unwrap_or(0);
    let end_ms = parts.iter().map(|part| part.offset_ms + part.duration_ms).max().unwrap_or(0);
    move_manifest(&mut manifest, parts, base_ms, end_ms);
    // Whatever becomes of a recording that runs, its span is there as it is.
    if manifest["state"].as_str().is_some_and(is_active) {
        manifest["state"] = "complete".into();
    }
    for file in manifest["files"].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        file.remove("open");
    }
    let text = app.library.shelf().events(&admitted.id, Place::Shown);
    let mut events: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    events.retain(|line| line["type"] == "speaking");
    move_lines(&mut events, base_ms, end_ms);
    let is_there = |id: &Value| id.as_str().is_some_and(|id| parts.iter().any(|part| part.file.starts_with(id)));
    for list in events.iter_mut().filter_map(|line| line["participants"].as_array_mut()) {
        list.retain(is_there);
    }
    if let Some(people) = manifest["participants"].as_array_mut() {
        people.retain(|person| is_there(&person["id"]));
    }
    let media: BTreeMap<&str, ClipUrl> = parts
        .iter()
        .map(|part| {
            (part.file.as_str(), ClipUrl { url: media_url(app, &Door::Clip.url(&admitted.id, &part.file), span) })
        })
        .collect();
    let kept = ["version", "id", "room", "title", "state", "started_at", "duration_ms", "participants", "files"];
    let mut answer: serde_json::Map<String, Value> =
        kept.into_iter().map(|key| (key.to_owned(), manifest[key].take())).collect();
    answer.insert("media".into(), json!(media));
    answer.insert("events".into(), events.into());
    answer.insert("captions".into(), json!(captions_of(app, &admitted.id, names, base_ms, end_ms)));
    answer.insert("from_ms".into(), span.from.saturating_sub(base_ms).into());
    answer.insert("to_ms".into(), (span.to.min(end_ms).saturating_sub(base_ms)).into());
    Ok(answer.into())
}

/// What is said in a span, by these names if they are given.
fn captions_of(app: &App, id: &RecordingId, names: Option<&[String]>, from: u64, to: u64) -> Vec<ClipCaptions> {
    let folder = app.library.shelf().folder(id, Place::Shown);
    let cut = |language: String| {
        let mut text = captions::read(&folder, &language);
        if let Some(names) = names {
            text = captions::only(&text, names);
        }
        let text = captions::span(&text, from, to);
        (!text.is_empty()).then_some(ClipCaptions { language, text })
    };
    captions::languages(&folder).into_iter().filter_map(cut).collect()
}

/// The names of these stays that nobody else has: captions tell people apart by nothing but their names.
fn names_alone(manifest: &Value, stays: &[ParticipantId]) -> Vec<String> {
    let people = manifest["participants"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_one = |person: &&Value| stays.iter().any(|stay| person["id"] == stay.as_str());
    let (theirs, others): (Vec<_>, Vec<_>) = people.iter().partition(is_one);
    let names = theirs.iter().filter_map(|person| person["name"].as_str());
    names
        .filter(|name| !name.is_empty() && others.iter().all(|other| other["name"] != *name))
        .map(str::to_owned)
        .collect()
}

/// A file, or the archive of everybody; nothing for one person with several files.
fn download_url(app: &App, id: &RecordingId, parts: &[Part], span: Span, is_all: bool) -> Option<String> {
    match parts {
        [only] => Some(media_url(app, &Door::Clip.url(id, &only.file), span)),
        _ if is_all => Some(media_url(app, &export::path(id), span)),
        _ => None,
    }
}

/// An address that opens this span of what is at `path`, and no other.
fn media_url(app: &App, path: &str, Span { from, to }: Span) -> String {
    let text = format!("{path}{}", covered_span(from, to));
    let signed = app.auth.sign(&text, SystemTime::now(), app.auth.media_url_lifetime());
    let signed = signed.map_or_else(String::new, |signed| format!("&shared&{signed}"));
    format!("{path}?from={from}&to={to}{signed}")
}

/// What the signature of a link covers.
fn covered(id: &RecordingId, Span { from, to }: Span, who: Option<&str>) -> String {
    format!("/clip/{id} {from}-{to} {}", who.unwrap_or("*"))
}

/// All stays of the person of one.
fn stays_of(manifest: &Value, who: &str) -> Result<Vec<ParticipantId>, Problem> {
    let people = manifest["participants"].as_array().map(Vec::as_slice).unwrap_or_default();
    let nobody = || Problem::new(ErrorCode::ParticipantNotFound, "nobody of this id is in the recording");
    let one = people.iter().find(|person| person["id"] == who).ok_or_else(nobody)?;
    let key = one["person"].as_str().filter(|key| !key.is_empty());
    let is_same = |person: &&Value| person["id"] == who || key.is_some_and(|key| person["person"] == key);
    Ok(people.iter().filter(is_same).filter_map(|person| person["id"].as_str()?.parse().ok()).collect())
}

fn is_of(segment: &Segment, stays: &[ParticipantId]) -> bool {
    parse_file_name(segment.name.as_str()).is_some_and(|(participant, ..)| stays.contains(&participant))
}

fn moment(at: SystemTime) -> String {
    use time::format_description::well_known::Rfc3339;
    time::OffsetDateTime::from(at)
        .replace_nanosecond(0)
        .ok()
        .and_then(|at| at.format(&Rfc3339).ok())
        .unwrap_or_default()
}
