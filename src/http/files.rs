//! `/api/recordings/{id}/files/{file}`: a file of a recording, whole or in part, closed or still growing.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::SystemTime;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::Response;
use futures_util::stream;
use reelay_signaling::ErrorCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::App;
use super::error::{Problem, ProblemBody};
use super::range::{Validators, Verdict, Wanted, wanted};
use super::segment::{Door, MediaRequest, OpenSegment, Segment, has_flag, on_disk};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(file))
}

/// A file of a recording
///
/// The WebM of one participant and source. One range is answered with 206 and always in full, several at once with the
/// whole file. While the recording runs, what is on disk so far is the file, without an ETag.
#[utoipa::path(
    get,
    path = "/api/recordings/{id}/files/{file}",
    tag = "recordings",
    params(
        ("id" = String, Path, description = "Recording"),
        ("file" = String, Path, description = "`<participant>-<source>-<n>.webm`"),
        ("download" = Option<bool>, Query, description = "Answer as a download with a readable name; needs the grant `download`"),
        ("part" = Option<bool>, Query, description = "Cap a 206 at 2 MiB: for a `<video>` that holds its connection open"),
        ("exp" = Option<u64>, Query, description = "End of a signed URL"),
        ("sig" = Option<String>, Query, description = "Signature of a signed URL"),
    ),
    responses(
        (status = 200, description = "The whole file", content_type = "video/webm", body = Vec<u8>),
        (status = 206, description = "One range of it", content_type = "video/webm", body = Vec<u8>),
        (status = 304, description = "The client has this version"),
        (status = 401, description = "`unauthorized`, `token-expired`", content_type = "application/problem+json", body = ProblemBody),
        (status = 403, description = "`forbidden`", content_type = "application/problem+json", body = ProblemBody),
        (status = 404, description = "`recording-not-found`, `file-not-found`", content_type = "application/problem+json", body = ProblemBody),
        (status = 412, description = "`precondition-failed`", content_type = "application/problem+json", body = ProblemBody),
        (status = 416, description = "`range-not-satisfiable`", content_type = "application/problem+json", body = ProblemBody),
    )
)]
async fn file(
    State(app): State<App>,
    request: MediaRequest,
    uri: Uri,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let door = if has_flag(&uri, "download") { Door::Download } else { Door::Play };
    let segment = Segment::admit(&app, &request, door).await?;
    let (segment, open) = on_disk(move || segment.open().map(|open| (segment, open))).await?;
    let cap = has_flag(&uri, "part").then_some(PART_BYTES);
    let mut response = answer(&segment, open, &method, &headers, cap)?;
    if door == Door::Download {
        let name = download_name(&segment);
        response.headers_mut().insert(header::CONTENT_DISPOSITION, attachment(&name));
    }
    Ok(response)
}

fn answer(
    segment: &Segment,
    open: OpenSegment,
    method: &Method,
    headers: &HeaderMap,
    cap: Option<u64>,
) -> Result<Response, Problem> {
    let validators = Validators { etag: segment.etag(&open), modified: open.modified };
    let mut response = Response::new(Body::empty());
    describe(response.headers_mut(), segment, &open, &validators);
    match validators.verdict(headers) {
        Verdict::Failed => {
            return Err(Problem::new(ErrorCode::PreconditionFailed, "the file is not the one that you have"));
        }
        Verdict::NotModified => {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return Ok(response);
        }
        Verdict::Go => {}
    }
    let range = headers.get(header::RANGE).and_then(|range| range.to_str().ok());
    // A range has a meaning for GET only (RFC 9110 §14.2).
    let range = range.filter(|_| method == Method::GET && validators.range_holds(headers, SystemTime::now()));
    let (start, end) = match range.map_or(Wanted::Whole, |range| wanted(range, open.len)) {
        Wanted::Whole => (0, open.len),
        Wanted::Part(start, end) => {
            let end = cap.map_or(end, |cap| end.min(start.saturating_add(cap)));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            // The length so far also while the file grows: with `*` ffmpeg takes the file for empty.
            let content_range = format!("bytes {start}-{}/{}", end - 1, open.len);
            response.headers_mut().insert(header::CONTENT_RANGE, ascii(&content_range));
            (start, end)
        }
        Wanted::Unsatisfiable => {
            let detail = format!("the file has {} bytes", open.len);
            let problem = Problem::new(ErrorCode::RangeNotSatisfiable, detail);
            return Err(problem.with_header(header::CONTENT_RANGE, &format!("bytes */{}", open.len)));
        }
    };
    response.headers_mut().insert(header::CONTENT_LENGTH, (end - start).into());
    if method == Method::GET {
        *response.body_mut() = bytes_of(open.file, start, end);
    }
    Ok(response)
}

fn describe(headers: &mut HeaderMap, segment: &Segment, open: &OpenSegment, validators: &Validators) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(segment.content_type()));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let cache = if open.is_growing { "no-store" } else { "private, max-age=3600" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    if let Some(etag) = &validators.etag {
        headers.insert(header::ETAG, ascii(etag));
    }
    if let Some(modified) = validators.modified {
        headers.insert(header::LAST_MODIFIED, ascii(&httpdate::fmt_http_date(modified)));
    }
    segment.allow_origin(headers);
}

/// A body that reads `start..end` of a file as the client takes it.
pub(super) fn bytes_of(file: File, start: u64, end: u64) -> Body {
    let file = Arc::new(file);
    Body::from_stream(stream::try_unfold(start, move |at| {
        let file = file.clone();
        async move {
            if at >= end {
                return Ok::<_, io::Error>(None);
            }
            let len = (end - at).min(PIECE_BYTES);
            let bytes = read_at(file, at, len).await?;
            if bytes.is_empty() {
                // The length was promised; a shorter body must break the connection.
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let next = at + bytes.len() as u64;
            Ok(Some((bytes, next)))
        }
    }))
}

/// Reads up to `len` bytes at a place; fewer only at the end of the file.
pub(super) async fn read_at(file: Arc<File>, at: u64, len: u64) -> io::Result<Bytes> {
    let read = move || {
        let mut bytes = vec![0; len as usize];
        let mut filled = 0;
        while filled < bytes.len() {
            match file.read_at(&mut bytes[filled..], at + filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        Ok(Bytes::from(bytes))
    };
    tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
}

// Room, person, day and time, as somebody would name the file who looks for it later.
fn download_name(segment: &Segment) -> String {
    let day: String = segment.started_at.chars().take(16).collect::<String>().replace('T', " ").replace(':', ".");
    let source = if segment.info.source == "camera" { "" } else { segment.info.source.as_str() };
    let parts = [segment.room.as_str(), segment.info.name.as_str(), source, day.as_str()];
    let parts: Vec<String> = parts.into_iter().map(harmless).filter(|part| !part.is_empty()).collect();
    format!("{}.webm", parts.join(" - "))
}

// What a file system or a shell could take for something else does not go into a name.
fn harmless(text: &str) -> String {
    let is_bad = |c: char| {
        c.is_control()
            || matches!(c, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' | '%')
            || matches!(u32::from(c), 0x200B..=0x200F | 0x202A..=0x202E | 0x2066..=0x2069 | 0xFEFF)
    };
    let text: String = text.chars().map(|c| if is_bad(c) { '_' } else { c }).take(60).collect();
    text.trim_matches(|c: char| c == '.' || c.is_whitespace()).to_owned()
}

// The plain name for old clients, the real one as RFC 5987 writes it.
fn attachment(name: &str) -> HeaderValue {
    let plain: String = name.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '_' }).collect();
    let mut encoded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    ascii(&format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"))
}

fn ascii(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

const PART_BYTES: u64 = 2 * 1024 * 1024;
const PIECE_BYTES: u64 = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn download_names_are_readable_and_harmless() {
        assert_eq!(harmless("../../a/b\0\u{202e}x"), "_.._a_b__x");
        assert_eq!(harmless(" . "), "");
        let header = attachment("会议 - Ada.webm");
        assert_eq!(
            header.to_str().unwrap(),
            "attachment; filename=\"__ - Ada.webm\"; filename*=UTF-8''%E4%BC%9A%E8%AE%AE%20-%20Ada.webm"
        );
    }
}
