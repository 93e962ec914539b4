//! `/api/recordings/{id}/export`: all of a recording, or a span of it, as one ZIP. What is in it is a recording folder
//! again: put into the recordings folder of a server, it is listed and plays in sync.

use std::collections::VecDeque;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use reelay_signaling::{ErrorCode, RecordingId};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::App;
use super::clip::{Span, clip_of};
use super::content::Content;
use super::error::{Path, Problem, ProblemBody, Query};
use super::files::harmless;
use super::markers::standing;
use super::segment::{Admitted, Asker, Segment, Shared, on_disk};
use crate::audit::Action;
use crate::auth::{Grant, SignedQuery};
use crate::recording::captions;
use crate::recording::export::zip;
use crate::recording::levels::SLOT_MS;
use crate::recording::library::is_active;
use crate::recording::notes::Notes;
use crate::recording::shelf::{Place, Shelf};
use crate::recording::splice::Splice;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(export))
}

/// The address of an export, signed where keys are on.
pub(super) fn signed_url(app: &App, id: &RecordingId) -> String {
    app.auth.sign_url(&path(id), std::time::SystemTime::now())
}

pub(super) fn path(id: &RecordingId) -> String {
    format!("/api/recordings/{id}/export")
}

/// The archives that were laid out last, so that a broken download goes on without reading everything again.
#[derive(Debug, Default)]
pub struct Exports(Mutex<VecDeque<(String, Splice)>>);

impl Exports {
    fn find(&self, etag: &str) -> Option<Splice> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|(key, _)| key == etag).map(|(_, archive)| archive.clone())
    }

    fn keep(&self, etag: &str, archive: &Splice) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(key, _)| key != etag);
        known.push_back((etag.to_owned(), archive.clone()));
        if known.len() > KEPT {
            known.pop_front();
        }
    }
}

/// A request for an export, taken apart.
struct ExportRequest {
    id: String,
    span: Span,
    signed: SignedQuery,
    shared: String,
    asker: Asker,
}

impl FromRequestParts<App> for ExportRequest {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Path(id) = Path::from_request_parts(parts, app).await?;
        let Query(span) = Query::from_request_parts(parts, app).await?;
        let Query(signed) = Query::from_request_parts(parts, app).await?;
        let Query(shared) = Query::<Shared>::from_request_parts(parts, app).await?;
        Ok(Self { id, span, signed, shared: shared.covered(), asker: Asker::of(app, parts) })
    }
}

/// A recording as one ZIP
///
/// Manifest, what happened, markers, title and tags, captions, the chat as text, and the files with how loud they are; with `from` and `to` only that span, each file cut at the
/// keyframe before it. Nothing is encoded anew. Ranges work, so a broken download goes on where it stopped.
#[utoipa::path(
    get,
    path = "/api/recordings/{id}/export",
    tag = "recordings",
    params(
        ("id" = String, Path, description = "Recording"),
        Span,
        ("exp" = Option<u64>, Query, description = "End of a signed URL"),
        ("sig" = Option<String>, Query, description = "Signature of a signed URL"),
    ),
    responses(
        (status = 200, description = "The archive", content_type = "application/zip", body = Vec<u8>),
        (status = 206, description = "One range of it", content_type = "application/zip", body = Vec<u8>),
        (status = 304, description = "The client has this version"),
        (status = 400, description = "`bad-request`", content_type = "application/problem+json", body = ProblemBody),
        (status = 401, description = "`unauthorized`, `token-expired`", content_type = "application/problem+json", body = ProblemBody),
        (status = 403, description = "`forbidden`", content_type = "application/problem+json", body = ProblemBody),
        (status = 404, description = "`recording-not-found`; `not-found` when nothing is in this span", content_type = "application/problem+json", body = ProblemBody),
        (status = 409, description = "`recording-active`: it still runs", content_type = "application/problem+json", body = ProblemBody),
        (status = 412, description = "`precondition-failed`", content_type = "application/problem+json", body = ProblemBody),
        (status = 416, description = "`range-not-satisfiable`", content_type = "application/problem+json", body = ProblemBody),
    )
)]
async fn export(
    State(app): State<App>,
    request: ExportRequest,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let span = request.span.checked()?;
    let id: RecordingId = request.id.parse()?;
    let signed = path(&id) + &request.shared;
    let admitted = Admitted::by(&app, id, &signed, &request.signed, &request.asker, Grant::Download).await?;
    admitted.note(&app, Action::Downloaded, "export");
    if is_active(&admitted.found.state) {
        let detail = format!("the recording is '{}'; stop it first", admitted.found.state);
        return Err(Problem::new(ErrorCode::RecordingActive, detail));
    }
    let segments = admitted.segments(&app)?;
    let content = on_disk(move || {
        let texts = Texts::read(app.library.shelf(), &admitted.id);
        let mut manifest: Value = serde_json::from_str(&admitted.found.manifest).map_err(Problem::internal)?;
        let etag = etag(&admitted, &segments, &texts, span);
        let name = name(&manifest);
        let archive = match app.exports.find(&etag) {
            Some(archive) => archive,
            None => {
                let archive = lay_out(&mut manifest, &segments, &texts, span)?;
                app.exports.keep(&etag, &archive);
                archive
            }
        };
        Ok(Content {
            splice: archive,
            etag: Some(etag),
            modified: None,
            content_type: "application/zip",
            is_growing: false,
            is_signed: admitted.is_signed,
            download_name: Some(format!("{name}.zip")),
        })
    })
    .await?;
    content.answer(&method, &headers, None)
}

/// What lies beside the media of a recording.
struct Texts {
    events: String,
    /// Those that were not taken back.
    marks: String,
    notes: Notes,
    /// By language.
    captions: Vec<(String, String)>,
}

impl Texts {
    fn read(shelf: &Shelf, id: &RecordingId) -> Self {
        let marks = shelf.marks(id);
        let folder = shelf.folder(id, Place::Shown);
        let read = |language: String| {
            let text = std::fs::read_to_string(captions::path_of(&folder, &language)?).ok()?;
            Some((language, text))
        };
        Self {
            captions: captions::languages(&folder).into_iter().filter_map(read).collect(),
            events: shelf.events(id, Place::Shown),
            marks: standing(&marks).iter().map(|(_, line)| format!("{line}\n")).collect(),
            notes: Notes::read(&folder),
        }
    }
}

fn lay_out(manifest: &mut Value, segments: &[Segment], texts: &Texts, span: Span) -> Result<Splice, Problem> {
    let is_whole = span.from == 0 && span.to == u64::MAX;
    // What the disk has lost, and what has nothing in the span, is left out.
    let mut parts = Vec::new();
    for segment in segments {
        let part = if is_whole { whole(segment) } else { clipped(segment, span) };
        match part {
            Ok(part) => parts.push(part),
            Err(problem) if matches!(problem.code, ErrorCode::FileNotFound | ErrorCode::NotFound) => {}
            Err(problem) => return Err(problem),
        }
    }
    if parts.is_empty() && !is_whole {
        return Err(Problem::new(ErrorCode::NotFound, "nothing was recorded in this span"));
    }
    let read = |text: &str| -> Vec<Value> { text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect() };
    let (mut lines, mut marks) = (read(&texts.events), read(&texts.marks));
    let mut captions = texts.captions.clone();
    if !is_whole {
        let base_ms = parts.iter().map(|part| part.offset_ms).min().unwrap_or(0);
        let end_ms = parts.iter().map(|part| part.offset_ms + part.duration_ms).max().unwrap_or(0);
        move_manifest(manifest, &parts, base_ms, end_ms);
        move_lines(&mut lines, base_ms, end_ms);
        move_lines(&mut marks, base_ms, end_ms);
        captions.iter_mut().for_each(|(_, text)| *text = captions::span(text, base_ms, end_ms));
    }
    let folder = manifest["id"].as_str().unwrap_or("recording").to_owned();
    let chat: String = lines.iter().filter_map(chat_line).collect();
    let written = |lines: &[Value]| bytes(lines.iter().map(|line| format!("{line}\n")).collect());
    let notes = if texts.notes == Notes::default() { String::new() } else { json!(texts.notes).to_string() };
    let text = serde_json::to_string_pretty(manifest).map_err(Problem::internal)?;
    let mut entries = vec![
        (format!("{folder}/manifest.json"), bytes(text)),
        (format!("{folder}/events.jsonl"), written(&lines)),
        (format!("{folder}/marks.jsonl"), written(&marks)),
        (format!("{folder}/notes.json"), bytes(notes)),
        (format!("{folder}/chat.txt"), bytes(chat)),
    ];
    for (language, text) in captions {
        entries.push((format!("{folder}/{}/{language}.vtt", captions::FOLDER), bytes(text)));
    }
    for part in parts {
        let levels = std::path::Path::new(&part.file).with_extension("levels");
        entries.push((format!("{folder}/{}", levels.display()), part.levels));
        entries.push((format!("{folder}/{}", part.file), part.content));
    }
    entries.retain(|(_, content)| !content.is_empty());
    zip(&entries, ended_at(manifest)).map_err(Problem::internal)
}

/// One file of a span, in time of the recording.
pub(super) struct Part {
    pub(super) file: String,
    pub(super) offset_ms: u64,
    pub(super) duration_ms: u64,
    content: Splice,
    levels: Splice,
}

fn whole(segment: &Segment) -> Result<Part, Problem> {
    let open = segment.open()?;
    Ok(Part {
        file: segment.name.as_str().to_owned(),
        offset_ms: segment.info.offset_ms,
        duration_ms: 0,
        content: Splice::of_file(open.file, open.len),
        levels: levels(segment, 0, u64::MAX),
    })
}

pub(super) fn clipped(segment: &Segment, span: Span) -> Result<Part, Problem> {
    let clip = clip_of(segment, span)?;
    Ok(Part {
        file: segment.name.as_str().to_owned(),
        offset_ms: segment.info.offset_ms + clip.from_ms,
        duration_ms: clip.to_ms - clip.from_ms,
        content: clip.content,
        levels: levels(segment, clip.from_ms, clip.to_ms),
    })
}

/// How loud a span of a file is; nothing when that was not kept.
fn levels(segment: &Segment, from_ms: u64, to_ms: u64) -> Splice {
    let mut splice = Splice::default();
    let path = segment.path().with_extension("levels");
    if let Ok((len, file)) = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file))) {
        let from = (from_ms / SLOT_MS).min(len);
        let to = to_ms.div_ceil(SLOT_MS).min(len);
        splice.push_file(&Arc::new(file), from, to - from);
    }
    splice
}

/// Lines of a span, in its time. Who spoke as it began is said at its beginning.
pub(super) fn move_lines(lines: &mut Vec<Value>, base_ms: u64, end_ms: u64) {
    let speaking = lines.iter().rev().find(|line| line["type"] == "speaking" && time_of(line) < base_ms).cloned();
    lines.retain(|line| (base_ms..end_ms).contains(&time_of(line)));
    lines.splice(0..0, speaking);
    lines.iter_mut().for_each(|line| line["t_ms"] = time_of(line).saturating_sub(base_ms).into());
}

/// The manifest of a span: its times begin anew, and what was measured over the whole file goes.
pub(super) fn move_manifest(manifest: &mut Value, parts: &[Part], base_ms: u64, end_ms: u64) {
    if let Some(Value::Array(files)) = manifest.get_mut("files") {
        files.retain_mut(|file| {
            let Some(part) = parts.iter().find(|part| file["file"] == *part.file) else { return false };
            file["offset_ms"] = (part.offset_ms - base_ms).into();
            file["duration_ms"] = part.duration_ms.into();
            file["bytes"] = part.content.len().into();
            if let Value::Object(fields) = file {
                ["sha256", "hashed_at", "report", "gaps", "counters"].iter().for_each(|key| drop(fields.remove(*key)));
            }
            true
        });
    }
    if let Some(Value::Array(people)) = manifest.get_mut("participants") {
        for person in people {
            for key in ["joined_ms", "left_ms"] {
                if let Some(ms) = person[key].as_u64() {
                    person[key] = ms.clamp(base_ms, end_ms).saturating_sub(base_ms).into();
                }
            }
        }
    }
    manifest["duration_ms"] = (end_ms - base_ms).into();
    manifest["pauses"] = json!([]);
    let began = manifest["started_at"].as_str().and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
    if let Some(text) = began.and_then(|at| (at + std::time::Duration::from_millis(base_ms)).format(&Rfc3339).ok()) {
        manifest["started_at"] = text.into();
    }
}

fn time_of(line: &Value) -> u64 {
    line["t_ms"].as_u64().unwrap_or(0)
}

/// `0:01:05  Ada: hello`
fn chat_line(line: &Value) -> Option<String> {
    let (Some("chat"), Some(text)) = (line["type"].as_str(), line["text"].as_str()) else { return None };
    let s = time_of(line) / 1000;
    let name = line["name"].as_str().unwrap_or("");
    Some(format!("{}:{:02}:{:02}  {name}: {}\n", s / 3600, s / 60 % 60, s % 60, text.replace('\n', "\n         ")))
}

fn bytes(text: String) -> Splice {
    let mut splice = Splice::default();
    splice.push_bytes(text.into_bytes());
    splice
}

fn etag(admitted: &Admitted, segments: &[Segment], texts: &Texts, span: Span) -> String {
    let mut hasher = DefaultHasher::new();
    (&admitted.found.manifest, &texts.events, &texts.marks, &texts.captions, span.from, span.to).hash(&mut hasher);
    for segment in segments {
        segment.open().ok().and_then(|open| segment.etag(&open)).hash(&mut hasher);
    }
    format!("\"{}-{:016x}\"", admitted.id, hasher.finish())
}

// Room, day and time, and never a path.
pub(super) fn name(manifest: &Value) -> String {
    let day = manifest["started_at"].as_str().unwrap_or("").chars().take(16).collect::<String>();
    let parts =
        [manifest["room"].as_str().unwrap_or("recording"), &day.replace('T', " ").replace(':', ".")].map(harmless);
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" - ")
}

fn ended_at(manifest: &Value) -> zip::DateTime {
    let text = manifest["ended_at"].as_str().or(manifest["started_at"].as_str()).unwrap_or("");
    let at = OffsetDateTime::parse(text, &Rfc3339).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let year = u16::try_from(at.year()).unwrap_or(0);
    zip::DateTime::from_date_and_time(year, at.month().into(), at.day(), at.hour(), at.minute(), at.second())
        .unwrap_or_default()
}

const KEPT: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chat_is_written_as_people_read_it() {
        let line = json!({"type": "chat", "t_ms": 3_665_999, "name": "Ada", "text": "one\ntwo"});
        assert_eq!(chat_line(&line).unwrap(), "1:01:05  Ada: one\n         two\n");
        assert_eq!(chat_line(&json!({"type": "joined", "t_ms": 1})), None);
    }

    #[test]
    fn only_the_last_archives_are_kept() {
        let exports = Exports::default();
        (0..=KEPT).for_each(|n| exports.keep(&n.to_string(), &Splice::default()));
        assert!(exports.find("0").is_none() && exports.find(&KEPT.to_string()).is_some());
    }
}
