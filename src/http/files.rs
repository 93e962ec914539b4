//! `/api/recordings/{id}/files/{file}`: a file of a recording, whole or in part, closed or still growing.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Uri};
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::App;
use super::content::Content;
use super::error::{Problem, ProblemBody};
use super::segment::{Door, MediaRequest, Segment, has_flag, on_disk};
use crate::recording::splice::Splice;

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
        ("part" = Option<bool>, Query, description = "Answer a range with its beginning only: for the `<video>`s of a page that share few connections"),
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
    let cap = has_flag(&uri, "part").then_some(part_bytes as fn(u64) -> u64);
    let content = Content {
        etag: segment.etag(&open),
        modified: open.modified,
        content_type: segment.content_type(),
        is_growing: open.is_growing,
        is_signed: segment.is_signed,
        download_name: (door == Door::Download).then(|| download_name(&segment, "webm")),
        splice: Splice::of_file(open.file, open.len),
    };
    content.answer(&method, &headers, cap)
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
pub(super) fn download_name(segment: &Segment, extension: &str) -> String {
    let day: String = segment.started_at.chars().take(16).collect::<String>().replace('T', " ").replace(':', ".");
    let source = if segment.info.source == "camera" { "" } else { segment.info.source.as_str() };
    let parts = [segment.room.as_str(), segment.info.name.as_str(), source, day.as_str()];
    let parts: Vec<String> = parts.into_iter().map(harmless).filter(|part| !part.is_empty()).collect();
    format!("{}.{extension}", parts.join(" - "))
}

// What a file system or a shell could take for something else does not go into a name.
pub(super) fn harmless(text: &str) -> String {
    let is_bad = |c: char| {
        c.is_control()
            || matches!(c, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' | '%')
            || matches!(u32::from(c), 0x200B..=0x200F | 0x202A..=0x202E | 0x2066..=0x2069 | 0xFEFF)
    };
    let text: String = text.chars().map(|c| if is_bad(c) { '_' } else { c }).take(60).collect();
    text.trim_matches(|c: char| c == '.' || c.is_whitespace()).to_owned()
}

/// How much of a range that begins at `start` is answered at once. A browser has six connections for all `<video>`s of a
/// page and each takes what it gets: the last of eight would show nothing until the first six are full. The front and
/// the first picture are in the small first part.
pub(super) fn part_bytes(start: u64) -> u64 {
    if start == 0 { 192 * 1024 } else { 512 * 1024 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn download_names_are_readable_and_harmless() {
        assert_eq!(harmless("../../a/b\0\u{202e}x"), "_.._a_b__x");
        assert_eq!(harmless(" . "), "");
    }
}
