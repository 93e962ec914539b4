//! `/api/recordings/{id}/export`: all of a recording, or a span of it, as one ZIP. What is in it is a recording folder
//! again: put into the recordings folder of a server, it is listed and plays in sync.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};

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
use super::segment::{Admitted, Asker, Segment, on_disk};
use crate::audit::Action;
use crate::auth::{Grant, SignedQuery};
use crate::recording::export::zip;
use crate::recording::library::is_active;
use crate::recording::shelf::Place;
use crate::recording::splice::Splice;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(export))
}

/// The address of an export, signed where keys are on.
pub(super) fn signed_url(app: &App, id: &RecordingId) -> String {
    app.auth.sign_url(&path(id), std::time::SystemTime::now())
}

fn path(id: &RecordingId) -> String {
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
    asker: Asker,
}

impl FromRequestParts<App> for ExportRequest {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Path(id) = Path::from_request_parts(parts, app).await?;
        let Query(span) = Query::from_request_parts(parts, app).await?;
        let Query(signed) = Query::from_request_parts(parts, app).await?;
        Ok(Self { id, span, signed, asker: Asker::of(app, parts) })
    }
}

/// A recording as one ZIP
///
/// Manifest, what happened, the chat as text, and the files; with `from` and `to` only that span, each file cut at the
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
    let signed = path(&id);
    let admitted = Admitted::by(&app, id, &signed, &request.signed, &request.asker, Grant::Download).await?;
    admitted.note(&app, Action::Downloaded, "export");
    if is_active(&admitted.found.state) {
        let detail = format!("the recording is '{}'; stop it first", admitted.found.state);
        return Err(Problem::new(ErrorCode::RecordingActive, detail));
    }
    let segments = admitted.segments(&app)?;
    let content = on_disk(move || {
        let events = app.library.shelf().events(&admitted.id, Place::Shown);
        let mut manifest: Value = serde_json::from_str(&admitted.found.manifest).map_err(Problem::internal)?;
        let etag = etag(&admitted, &segments, &events, span);
        let name = name(&manifest);
        let archive = match app.exports.find(&etag) {
            Some(archive) => archive,
            None => {
                let archive = lay_out(&mut manifest, &segments, &events, span)?;
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

fn lay_out(manifest: &mut Value, segments: &[Segment], events: &str, span: Span) -> Result<Splice, Problem> {
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
    let mut lines: Vec<Value> = events.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    if !is_whole {
        let base_ms = parts.iter().map(|part| part.offset_ms).min().unwrap_or(0);
        let end_ms = parts.iter().map(|part| part.offset_ms + part.duration_ms).max().unwrap_or(0);
        move_manifest(manifest, &parts, base_ms, end_ms);
        lines.retain(|line| (base_ms..end_ms).contains(&time_of(line)));
        lines.iter_mut().for_each(|line| line["t_ms"] = (time_of(line) - base_ms).into());
    }
    let folder = manifest["id"].as_str().unwrap_or("recording").to_owned();
    let chat: String = lines.iter().filter_map(chat_line).collect();
    let events: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let text = serde_json::to_string_pretty(manifest).map_err(Problem::internal)?;
    let mut entries = vec![
        (format!("{folder}/manifest.json"), bytes(text)),
        (format!("{folder}/events.jsonl"), bytes(events)),
        (format!("{folder}/chat.txt"), bytes(chat)),
    ];
    entries.retain(|(_, content)| !content.is_empty());
    entries.extend(parts.into_iter().map(|part| (format!("{folder}/{}", part.file), part.content)));
    zip(&entries, ended_at(manifest)).map_err(Problem::internal)
}

/// One file of the archive, in time of the recording.
struct Part {
    file: String,
    offset_ms: u64,
    duration_ms: u64,
    content: Splice,
}

fn whole(segment: &Segment) -> Result<Part, Problem> {
    let open = segment.open()?;
    let file = segment.name.as_str().to_owned();
    Ok(Part { file, offset_ms: segment.info.offset_ms, duration_ms: 0, content: Splice::of_file(open.file, open.len) })
}

fn clipped(segment: &Segment, span: Span) -> Result<Part, Problem> {
    let clip = clip_of(segment, span)?;
    Ok(Part {
        file: segment.name.as_str().to_owned(),
        offset_ms: segment.info.offset_ms + clip.from_ms,
        duration_ms: clip.to_ms - clip.from_ms,
        content: clip.content,
    })
}

/// The manifest of a span: its times begin anew, and what was measured over the whole file goes.
fn move_manifest(manifest: &mut Value, parts: &[Part], base_ms: u64, end_ms: u64) {
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

fn etag(admitted: &Admitted, segments: &[Segment], events: &str, span: Span) -> String {
    let mut hasher = DefaultHasher::new();
    (&admitted.found.manifest, events, span.from, span.to).hash(&mut hasher);
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
